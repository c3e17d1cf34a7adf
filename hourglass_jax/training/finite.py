"""The check that the loss is finite, one step late so that no device is waited for."""

import math
from typing import Any

import numpy as np

from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.errors import RunError


class NonFiniteLossError(RunError):
    """The loss became infinite or not a number."""


class FiniteCheck:
    """Holds the metrics of the last step until they are checked."""

    def __init__(self, checkpoints: Checkpoints):
        self._checkpoints, self._pending = checkpoints, None

    def later(self, metrics: dict[str, Any], step: int) -> None:
        """Checks the metrics before these, and keeps these, of the update that made `step`."""
        self.check()
        self._pending = (metrics, step)

    def check(self) -> None:
        """Raises NonFiniteLossError if the metrics that are kept are not finite."""
        if self._pending is None:
            return
        (metrics, step), self._pending = self._pending, None
        # The loss was computed before the update: parameters may be the first to go.
        if math.isfinite(metrics["loss"]) and math.isfinite(metrics["parameter_norm"]):
            return
        losses = ", ".join(f"{loss:g}" for loss in np.asarray(metrics["loss_per_stack"]))
        latest = self._checkpoints.latest
        raise NonFiniteLossError(
            f"the loss or the parameters at step {step} are not finite (loss by stack: {losses}); "
            f"the last good checkpoint in {self._checkpoints.folder} is "
            f"{'none yet' if latest is None else f'step {latest}'}; lower "
            f"optimizer.learning_rate"
        )
