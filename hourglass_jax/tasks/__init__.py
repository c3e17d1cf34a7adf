"""Tasks by name. Each is a folder `tasks/<name>/`; a new task adds a line to `TASKS`."""

import importlib

from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Task

# "module:class", imported on first use, or the class itself.
TASKS: dict[str, str | type] = {
    "detection": "hourglass_jax.tasks.detection.task:Detection",
    "grouped_pose": "hourglass_jax.tasks.grouped_pose.task:GroupedPose",
    "single_pose": "hourglass_jax.tasks.single_pose.task:SinglePose",
}


def task_class(name: str) -> type:
    """Returns the class of a task; raises UserError for a name that is not in `TASKS`."""
    if name not in TASKS:
        known = ", ".join(sorted(TASKS))
        raise UserError(f"unknown task config.task={name!r}; it must be one of {known}")
    task = TASKS[name]
    if not isinstance(task, str):
        return task
    module, _, attribute = task.partition(":")
    return getattr(importlib.import_module(module), attribute)


def from_settings(name: str, settings: dict) -> Task:
    """Rebuilds the task that a checkpoint was trained for.

    Args:
      name: name of the task.
      settings: `Task.settings`, as the checkpoint carries them.

    Raises:
      UserError: the task is unknown.
    """
    return task_class(name).from_settings(settings)
