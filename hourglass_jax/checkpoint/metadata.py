"""The metadata that a checkpoint saves with its state.

- `format` and `step`
- `config`: the config of the run
- `task` and `network`: names and settings from which both are rebuilt
- `heads`: names of the output channels
- `normalisation`: normalisation of the network's input
- `inference`: default options of prediction
- `evaluated`: the part of the state that predicts, "params" or "ema"
- `records`: fingerprint of the training data; None for a network trained by another program
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hourglass_jax import nn, rules, tasks
from hourglass_jax.config import DTYPES
from hourglass_jax.errors import UserError
from hourglass_jax.nn import Normalisation
from hourglass_jax.rules import SWITCH, Each, Fields, Number, OneOf, Scales, Text, Whole, field
from hourglass_jax.tasks.base import Task

FORMAT = 1
_SIDE = Whole(1, 2**14)  # px


@dataclasses.dataclass(frozen=True)
class Inference:
    """Default options of prediction with a network.

    Attributes:
      flip_test: average over the image and its mirror image.
      scales: magnifications of the object to average over, or sizes of whole images.
      box_margin: side of the input as a multiple of the side of the object's box.
    """

    flip_test: bool = field(SWITCH, default=True)
    scales: Sequence[float] = field(Scales(), default=(1.0,))
    box_margin: float = field(Number(0.01, 100), default=1.25)


class _Fingerprint(Text):
    def accepts(self, value: Any) -> bool:
        return value is None or super().accepts(value)


@dataclasses.dataclass(frozen=True)
class _Task:
    name: str = field(Text())
    settings: Mapping[str, Any] = field(Fields())


@dataclasses.dataclass(frozen=True)
class _Network:
    name: str = field(Text())
    options: Mapping[str, Any] = field(Fields())
    input_size: int = field(_SIDE)
    dtype: str = field(OneOf(DTYPES))


@dataclasses.dataclass(frozen=True)
class _Normalisation:
    mean: Sequence[float] = field(Each(Number(-1000, 1000), 3))
    std: Sequence[float] = field(Each(Number(0, 1000, above=True), 3), default=(1.0, 1.0, 1.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Metadata:
    format: int = field(Whole(FORMAT, FORMAT))
    step: int = field(Whole(0))
    config: Mapping[str, Any] = field(Fields())
    task: _Task
    heads: Mapping[str, Any] = field(Fields())
    network: _Network
    normalisation: _Normalisation
    inference: Inference
    evaluated: str = field(OneOf(("params", "ema")))
    records: str | None = field(_Fingerprint())


FIELDS = tuple(f.name for f in dataclasses.fields(_Metadata))


def describe(
    *,
    config: Mapping[str, Any],
    task: Task,
    network: Mapping[str, Any],
    normalisation: Normalisation,
    inference: Inference,
    records: str | None,
    averaged: bool,
) -> dict[str, Any]:
    """Returns the metadata of a state, in the same form as when read from a checkpoint.

    Args:
      config: config of the run.
      task: task of the network.
      network: "name", "options", "input_size" and "dtype" of the network.
      normalisation: normalisation of the network's input.
      inference: default options of prediction.
      records: fingerprint of the training data; see above.
      averaged: whether the averaged parameters predict.
    """
    metadata = {
        "format": FORMAT,
        "config": config,
        "task": {"name": task.name, "settings": task.settings},
        "heads": {name: head.channels for name, head in task.heads.items()},
        "network": network,
        "normalisation": dataclasses.asdict(normalisation),
        "inference": dataclasses.asdict(inference),
        "evaluated": "ema" if averaged else "params",
        "records": records,
    }
    return json.loads(json.dumps(metadata))  # tuples become lists


def check(metadata: Mapping[str, Any]) -> None:
    """Raises UserError for metadata from which no network can be used; names the field."""
    rules.section(_Metadata, metadata, root="metadata")
    model, task = model_and_task(metadata)
    heads = {name: list(head.channels) for name, head in task.heads.items()}
    if metadata["heads"] != heads:
        raise UserError("metadata.heads are not those of its task")
    side = metadata["network"]["input_size"]
    if tuple(model.valid_size(side, side)) != (side, side):
        raise UserError(f"metadata.network.input_size={side} is not a size that the network takes")
    # A side that is no multiple of the stride is rounded up, which lowers the task's stride.
    if math.ceil(getattr(task, "stride", model.stride)) != model.stride:
        raise UserError(f"the task's stride is not {model.stride}, that of the network")


def model_and_task(metadata: Mapping[str, Any]) -> tuple[Any, Task]:
    """Rebuilds the network and the task from a checkpoint's metadata."""
    task = tasks.from_settings(metadata["task"]["name"], metadata["task"]["settings"])
    network = metadata["network"]
    model = nn.make_network(
        network["name"],
        network["options"],
        task.heads,
        dtype=network["dtype"],
        normalisation=Normalisation(
            **{name: tuple(values) for name, values in metadata["normalisation"].items()}
        ),
    )
    return model, task
