"""A profile of some training steps, on request."""

import logging
import pathlib

import jax

logger = logging.getLogger(__name__)


class Profiler:
    """Profiles `count` of the steps from `first` to `last` into a folder, for TensorBoard.

    They begin after ten, which warm up, or earlier where not so many are left. Whatever ends the
    run, what was profiled is written.
    """

    def __init__(self, folder: pathlib.Path, first: int, last: int, count: int):
        self._folder, self._count = folder, count
        self._start = max(min(first + 10, last - count), first + 1)
        self._running = False

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, *unused) -> None:
        self._stop()

    def before(self, step: int) -> None:
        if self._count and step == self._start:
            jax.profiler.start_trace(str(self._folder))
            self._running = True
        elif step == self._start + self._count:
            self._stop()

    def _stop(self) -> None:
        if self._running:
            jax.profiler.stop_trace()
            self._running = False
            logger.info("profile of %d steps: %s", self._count, self._folder)
