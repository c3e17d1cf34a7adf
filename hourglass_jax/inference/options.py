"""Options of estimators, checked before a network is compiled."""

from collections.abc import Sequence
from typing import Any

from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Task


def checked(
    model: Any,
    task: Task,
    *,
    scales: Sequence[float],
    decode: str | None,
    num_stacks: int | None,
    batch_size: int,
) -> tuple[Any, Task]:
    """Returns the network with the stacks to run, and the task with the decoding to use.

    Args:
      model: the network.
      task: its task.
      scales: see `PoseEstimator`, as for the others.

    Raises:
      UserError: an option has an invalid value.
    """
    all_stacks = getattr(model, "num_stacks", 1)  # not every network has a choice
    stacks = all_stacks if num_stacks is None else num_stacks
    if not 1 <= stacks <= all_stacks:
        raise UserError(
            f"num_stacks={num_stacks}: this network has {all_stacks}; choose 1 to {all_stacks}"
        )
    if not scales or not all(0.1 <= s <= 10 for s in scales):
        raise UserError(
            f"scales={scales!r} must be numbers from 0.1 to 10, such as (0.8, 1.0, 1.2)"
        )
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} must be at least 1")
    if not task.joints:
        raise UserError(f"a network for the task {task.name!r} does not predict joints")
    if decode is not None:
        if "decoder" not in task.settings:
            raise UserError(f"decode={decode!r}: the task {task.name!r} has only one decoder")
        try:
            task = task.from_settings({**task.settings, "decoder": decode})
        except UserError as error:
            text = str(error).replace("metadata.task.settings.decoder", "decode")
            raise UserError(text) from None
    return model if stacks == all_stacks else model.clone(num_stacks=stacks), task
