"""Profiling of some training steps."""

import logging
import pathlib

import jax

from hourglass_jax.runtime import mirror

logger = logging.getLogger(__name__)


class Profiler:
    """Profiles training steps, after ten steps of warm-up or fewer in short runs.

    As a context manager it writes the profile however the run ends.
    """

    def __init__(self, folder: pathlib.Path, first: int, last: int, count: int):
        """Chooses the steps to profile.

        Args:
          folder: folder to write to, for TensorBoard.
          first: first step of the run.
          last: last step of the run.
          count: number of steps to profile; may be 0.
        """
        self._folder, self._count = folder, count
        self._start = max(min(first + 10, last - count), first + 1)
        self._running = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *unused) -> None:
        self._stop()

    def before(self, step: int) -> None:
        """Starts or stops profiling; to be called before each step."""
        if self._count and step == self._start:
            self._mirror = mirror.Mirror(self._folder)
            jax.profiler.start_trace(str(self._mirror.local))
            self._running = True
        elif step == self._start + self._count:
            self._stop()

    def _stop(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
            self._mirror.close()
            logger.info("profile of %d steps: %s", self._count, self._folder)
