"""A check that the loss is finite, one step late so as not to wait for devices."""

import math
from typing import Any

import numpy as np

from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.errors import RunError


class NonFiniteLossError(RunError):
    """The loss or the parameters became infinite or NaN."""


class FiniteCheck:
    """Keeps the metrics of the last step until they are checked."""

    def __init__(self, checkpoints: Checkpoints):
        self._checkpoints, self._pending = checkpoints, None

    def later(self, metrics: dict[str, Any], step: int) -> None:
        """Checks the previous metrics, and keeps those of the update to `step`."""
        self.check()
        self._pending = (metrics, step)

    def check(self) -> None:
        """Raises NonFiniteLossError if the kept loss or parameter norm is not finite."""
        if self._pending is None:
            return
        (metrics, step), self._pending = self._pending, None
        # The loss was computed before the update: parameters may be affected first.
        if math.isfinite(metrics["loss"]) and math.isfinite(metrics["parameter_norm"]):
            return
        losses = ", ".join(f"{loss:g}" for loss in np.asarray(metrics["loss_per_stack"]))
        latest = self._checkpoints.latest
        raise NonFiniteLossError(
            f"the loss or the parameters at step {step} are not finite (loss by stack: {losses}); "
            f"the last good checkpoint in {self._checkpoints.folder}: "
            f"{'none' if latest is None else f'step {latest}'}; lower "
            f"config.optimizer.learning_rate"
        )
