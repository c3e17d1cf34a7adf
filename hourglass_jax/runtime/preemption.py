"""Handles SIGTERM, which preempted machines get: the run saves and ends, to be started again."""

import contextlib
import signal
import sys

import jax
from jax.experimental import multihost_utils

STOPPED = 75  # exit status: stopped by SIGTERM and saved; start again to resume


class StopSignal:
    """Context in which SIGTERM ends the process with `STOPPED`; in the loop only after saving."""

    def __init__(self):
        self._requested = False
        self._in_loop = False

    def __enter__(self) -> "StopSignal":
        # Several processes have to stop at the same step: JAX then handles the signal, and
        # agrees on a step with the others.
        self._agrees = jax.process_count() > 1
        if not self._agrees:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *unused) -> None:
        if not self._agrees:
            signal.signal(signal.SIGTERM, self._before)

    def _note(self, *unused):
        self._requested = True
        if not self._in_loop:
            sys.exit(STOPPED)

    @contextlib.contextmanager
    def in_loop(self):
        """Returns a context in which the signal is only noted."""
        self._in_loop = True
        yield
        self._in_loop = False

    def requested_by_any(self, step: int) -> bool:
        """Returns whether to stop at this step; the same in all processes."""
        if self._agrees:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._requested
