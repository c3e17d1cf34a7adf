"""What a checkpoint says about its state, beside the state itself.

`format` and `step`; `config`, as it was run; `task` and `network`, from which both are rebuilt;
`heads`, the names of the output channels; `normalisation` of the network's input; `inference`, how
the network is to be read; `evaluated`, which part of the state predicts; and `records`, the
fingerprint of what it was trained on, None for a network that was trained by another program.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Inference:
    """How a network is to be read; prediction repeats it unless asked otherwise.

    Attributes:
      flip_test: average over the image and its mirror image.
      scales: of the object in the input, to average over.
      box_margin: side of the input in sides of the object's box.
    """

    flip_test: bool = True
    scales: Sequence[float] = (1.0,)
    box_margin: float = 1.25


def describe(
    *,
    config: Mapping[str, Any],
    task,
    network: Mapping[str, Any],
    normalisation,
    inference: Inference,
    records: str | None,
    averaged: bool,
) -> dict[str, Any]:
    """Returns the metadata of a state, as it is read back.

    Args:
      config: as it was run.
      task: a `tasks.base.Task`.
      network: its name, its options, "input_size" and "dtype".
      normalisation: an `nn` Normalisation.
      inference: how it is to be read.
      records: the fingerprint of what it is trained on.
      averaged: whether the averages of the parameters are what predicts.
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
