"""Tasks by name. Each is a folder `tasks/<name>/`; a new one adds a line here."""

import importlib

from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Task

# "module:class", or a class.
TASKS: dict[str, str | type] = {
    "single_pose": "hourglass_jax.tasks.single_pose.task:SinglePose",
}


def task_class(name: str) -> type:
    """Returns the class of a task.

    Raises:
      UserError: there is no such task.
    """
    if name not in TASKS:
        raise UserError(f"task={name!r} is unknown; there are {', '.join(sorted(TASKS))}")
    found = TASKS[name]
    if isinstance(found, str):
        module, _, attribute = found.partition(":")
        found = getattr(importlib.import_module(module), attribute)
    return found


def sections() -> set[str]:
    """Returns the names of the config's sections that belong to one of the tasks."""
    return {name for task in TASKS for name in task_class(task).sections}


def from_settings(name: str, settings: dict) -> Task:
    """Rebuilds the task that a checkpoint was trained for.

    Raises:
      UserError: there is no such task.
    """
    return task_class(name).from_settings(settings)
