"""A trained network from its checkpoint alone: for prediction, fine-tuning and export."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from hourglass_jax import nn, tasks
from hourglass_jax.checkpoint.metadata import Inference
from hourglass_jax.checkpoint.store import Checkpoints, read_metadata, read_state, steps_in
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Task

# Networks that come with the package, each one step's folder.
MODELS = pathlib.Path(__file__).parent.parent / "models"


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network and all that its checkpoint says.

    Attributes:
      model: the network.
      variables: {"params", "batch_stats"}, to predict with.
      task: that it was trained for.
      input_size: side of its input, px.
      inference: how it is to be read.
      where: the checkpoint.
    """

    model: Any
    variables: dict
    task: Task
    input_size: int
    inference: Inference
    where: pathlib.Path


def model_and_task(metadata: Mapping[str, Any]) -> tuple[Any, Task]:
    """Rebuilds the network and the task that a checkpoint's metadata describe."""
    task = tasks.from_settings(metadata["task"]["name"], metadata["task"]["settings"])
    network = metadata["network"]
    model = nn.make_network(
        network["name"],
        network["options"],
        task.heads,
        dtype=network["dtype"],
        normalisation=nn.Normalisation(tuple(metadata["normalisation"]["mean"])),
    )
    return model, task


def load(path: str | pathlib.Path, flag: str = "--checkpoint") -> Trained:
    """Reads a checkpoint by itself.

    Args:
      path: a workdir (its best step), its folder of checkpoints, one step's folder, or the name of
        a network that comes with the package.
      flag: that named the path, for messages.

    Raises:
      UserError: there is no checkpoint, or it cannot be read.
    """
    folder = locate(pathlib.Path(path), flag)
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
        inference=Inference(**metadata["inference"]),
        where=folder,
    )


def read_variables(folder: pathlib.Path, metadata: dict, like: dict) -> dict:
    """Restores the variables that predict: the averaged ones where the run kept any.

    Args:
      folder: one step's.
      metadata: beside it.
      like: {"params", "batch_stats"} as shapes with their sharding.
    """
    if metadata["evaluated"] == "ema":
        return read_state(folder, {"ema": like})["ema"]
    return read_state(folder, like)


def locate(path: pathlib.Path, flag: str) -> pathlib.Path:
    """Returns a step's folder: the one that is named, or that of a workdir's best step."""
    ours = sorted(folder.name for folder in MODELS.glob("*") if folder.is_dir())
    if str(path) in ours and not path.exists():
        return MODELS / path
    full = path.resolve()
    if (full / "state").is_dir() and (full / "metadata").is_dir():
        return full
    workdir = full.parent if full.name == "checkpoints" else full
    if steps_in(workdir / "checkpoints"):
        with Checkpoints(workdir, None, read_only=True) as checkpoints:
            return checkpoints.folder / str(checkpoints.best)
    what = "holds no checkpoint" if path.exists() else "does not exist"
    raise UserError(
        f"{flag}={path} {what}; give a run's workdir, such as runs/synthetic, one step's folder in "
        f"its checkpoints/, or a network that comes with the package: {', '.join(ours)}"
    )
