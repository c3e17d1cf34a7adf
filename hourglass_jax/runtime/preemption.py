"""SIGTERM, which a preempted machine gets: save and leave, to be started again."""

import contextlib
import signal
import sys

import jax
from jax.experimental import multihost_utils

STOPPED = 75  # exit status: stopped by SIGTERM and saved; start again to go on


class StopSignal:
    """While it is entered, SIGTERM ends the process with `STOPPED`; in the loop, after saving."""

    def __init__(self):
        self._requested = False
        self._in_loop = False

    def __enter__(self) -> "StopSignal":
        # Several processes have to stop at one step: JAX listens to the signal then, and agrees on
        # a step with the others.
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
        """Within it the signal is only noted."""
        self._in_loop = True
        yield
        self._in_loop = False

    def requested_by_any(self, step: int) -> bool:
        """Whether to stop at this step; all processes are told the same."""
        if self._agrees:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._requested
