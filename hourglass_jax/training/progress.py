"""Progress of training: a bar in terminals and log lines elsewhere, with speed and time left."""

import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

import rich.console
import rich.progress

logger = logging.getLogger(__name__)


class Progress:
    """Counts steps and measures speed, without the time spent in `paused`."""

    def __init__(
        self, first: int, total: int, batch_size: int, devices: int = 1, *, silent: bool = False
    ):
        self._step, self._total, self._batch_size = first, total, batch_size
        self._devices = devices
        self._reset()
        console = rich.console.Console()
        self._bar = None
        if console.is_terminal and not silent:
            self._bar = rich.progress.Progress(
                *rich.progress.Progress.get_default_columns(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TextColumn("{task.fields[message]}"),
                console=console,
            )
            self._task = self._bar.add_task("train", total=total, completed=first, message="")

    def __enter__(self) -> "Progress":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *unused) -> None:
        if self._bar:
            self._bar.stop()

    def start(self) -> None:
        """Counts the first step, and starts to measure speed after it."""
        self._step += 1
        self._reset()

    def _reset(self) -> None:
        self._since, self._steps, self._waited, self._idle = time.perf_counter(), 0, 0.0, 0.0

    def advance(self, waited: float) -> None:
        """Counts one step; `waited` is the time spent waiting for its batch, in seconds."""
        self._step += 1
        self._steps += 1
        self._waited += waited
        if self._bar:
            self._bar.update(self._task, completed=self._step)

    @contextlib.contextmanager
    def paused(self):
        """Excludes the time within the context from the speed."""
        start = time.perf_counter()
        yield
        self._idle += time.perf_counter() - start

    def rates(self) -> dict[str, float]:
        """Returns images/s in total and per device, and seconds per step, since the last call.

        Seconds per step are split into waiting for data and everything else.
        """
        seconds = max(time.perf_counter() - self._since - self._idle, 1e-9)
        self._speed = self._steps * self._batch_size / seconds
        steps = max(self._steps, 1)
        rates = {
            "images_per_second": self._speed,
            "images_per_second_per_device": self._speed / self._devices,
            "seconds_waiting_for_data": self._waited,
            "seconds_per_step_waiting": self._waited / steps,
            "seconds_per_step_computing": (seconds - self._waited) / steps,
        }
        self._reset()
        return rates

    def show(self, logged: Mapping[str, Any]) -> None:
        """Shows loss, ratio to the plateau, speed and time left for a logged step."""
        step, ratio = logged["step"], logged["ratio_to_plateau"][-1]
        message = f"loss {logged['loss']:.2e}, {ratio:.3f} of the plateau"
        if self._speed:
            message += f", {self._speed:.1f} images/s"
        if self._bar:
            self._bar.update(self._task, message=message)
        else:
            if self._speed:
                left = (self._total - step) * self._batch_size / self._speed
                message += f", {round(left) // 60}:{round(left) % 60:02d} left"
            logger.info("step %d/%d: %s", step, self._total, message)
