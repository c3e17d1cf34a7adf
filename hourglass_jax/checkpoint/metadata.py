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
from collections.abc import Mapping, Sequence
from typing import Any

from hourglass_jax.nn import Normalisation
from hourglass_jax.tasks.base import Task

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Inference:
    """Default options of prediction with a network.

    Attributes:
      flip_test: average over the image and its mirror image.
      scales: magnifications of the object to average over.
      box_margin: side of the input as a multiple of the side of the object's box.
    """

    flip_test: bool = True
    scales: Sequence[float] = (1.0,)
    box_margin: float = 1.25


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
