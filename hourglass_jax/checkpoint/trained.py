"""Loading of trained networks from checkpoints, for prediction, fine-tuning and export."""

import dataclasses
import pathlib
from typing import Any

import jax

from hourglass_jax import nn, rules, tasks
from hourglass_jax.checkpoint.integrity import steps_in
from hourglass_jax.checkpoint.metadata import Inference, model_and_task
from hourglass_jax.checkpoint.store import Checkpoints, read_metadata, read_state
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import disk, paths
from hourglass_jax.tasks.base import Task

# Networks that come with the package, each in the form of one step's folder.
MODELS = pathlib.Path(__file__).parent.parent / "models"


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network with the settings from its checkpoint.

    Attributes:
      model: the network.
      variables: the variables that predict, {"params", "batch_stats"}.
      task: task that the network was trained for.
      input_size: side of the network's input, px.
      inference: default options of prediction.
      where: folder of the checkpoint.
    """

    model: Any
    variables: dict
    task: Task
    input_size: int
    inference: Inference
    where: pathlib.Path


def load(path: str | pathlib.Path, flag: str = "--checkpoint") -> Trained:
    """Loads a trained network from a checkpoint.

    Args:
      path: a workdir or its folder of checkpoints (for the best step), the folder of one step, or
        the name of a network that comes with the package.
      flag: flag or field that gave the path, for messages.

    Raises:
      UserError: there is no checkpoint, or it cannot be read.
    """
    folder = locate(paths.path(path, flag), flag)
    metadata = read_metadata(folder)
    model, task = model_and_task(metadata)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), nn.variable_shapes(model)
    )
    return Trained(
        model=model,
        variables=read_variables(folder, metadata, like),
        task=task,
        input_size=metadata["network"]["input_size"],
        inference=rules.section(Inference, metadata["inference"], root="metadata"),
        where=folder,
    )


def task_of(path: str | pathlib.Path, flag: str = "--checkpoint") -> Task:
    """Returns the task of a trained network, without its variables; see `load`."""
    saved = read_metadata(locate(paths.path(path, flag), flag))["task"]
    return tasks.from_settings(saved["name"], saved["settings"])


def read_variables(folder: pathlib.Path, metadata: dict, like: dict) -> dict:
    """Restores the variables that predict: the averaged ones if there are any.

    Args:
      folder: folder of one step.
      metadata: metadata in that folder.
      like: shapes with sharding of {"params", "batch_stats"}.
    """
    if metadata["evaluated"] == "ema":
        return read_state(folder, {"ema": like})["ema"]
    return read_state(folder, like)


def locate(path: pathlib.Path, flag: str) -> pathlib.Path:
    """Returns the folder of one step that a path stands for; see `load`."""
    included = sorted(folder.name for folder in MODELS.glob("*") if folder.is_dir())
    if str(path) in included and not path.exists():
        return MODELS / path
    full = path.resolve()
    disk.check_utf8(full, f"{flag}={path}")
    if any((full / part).is_dir() for part in ("state", "metadata")):  # one of them may be lost
        return full
    workdir = full.parent if full.name == "checkpoints" else full
    if steps_in(workdir / "checkpoints"):
        with Checkpoints(workdir, None, read_only=True) as checkpoints:
            return checkpoints.folder / str(checkpoints.best)
    problem = "holds no checkpoint" if path.exists() else "does not exist"
    raise UserError(
        f"{flag}={path} {problem}; give a run's workdir, such as runs/synthetic, the folder of a "
        f"step in its checkpoints/, or a network that comes with the package: {', '.join(included)}"
    )
