"""Checkpoints written before there were tasks: all of them are for this one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from hourglass_jax import rules
from hourglass_jax.rules import Anything, Fields, Number, field

# In place of a fingerprint that was made in another way, and cannot be compared with today's.
UNKNOWN_RECORDS = "of a former version"


# The fields of their metadata; what becomes a field of today is checked as such.
@dataclasses.dataclass(frozen=True)
class _Skeleton:
    joints: object = field(Anything())
    rest: Mapping[str, Any] = rules.others(Anything())


@dataclasses.dataclass(frozen=True)
class _Model:
    input_size: object = field(Anything())
    dtype: object = field(Anything())
    rest: Mapping[str, Any] = rules.others(Anything())


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Config:
    model: _Model
    eval: Mapping[str, Any] = field(Fields(), default_factory=dict)
    data: Mapping[str, Any] = field(Fields(), default_factory=dict)
    heatmap: Mapping[str, Any] = field(Fields(), default_factory=dict)
    ema_decay: float = field(Number(0, 1), default=0.0)
    rest: Mapping[str, Any] = rules.others(Anything())


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Metadata:
    format: object = field(Anything())
    step: object = field(Anything())
    config: _Config
    skeleton: _Skeleton
    normalisation: object = field(Anything())
    records: object = field(Anything())


FIELDS = tuple(f.name for f in dataclasses.fields(_Metadata))


def upgrade(metadata: dict[str, Any]) -> dict[str, Any]:
    """Converts the metadata of a checkpoint without a task to the current layout.

    The network and the inference settings were only in the config.

    Raises:
      UserError: a field is missing.
    """
    rules.section(_Metadata, metadata, root="metadata")
    config = metadata["config"]
    model = {"network": "stacked_hourglass", **config["model"]}
    evaluation = config.get("eval", {})
    resolution = config.get("data", {}).get("resolution", model["input_size"])
    settings = {
        "skeleton": metadata["skeleton"],
        **config.get("heatmap", {}),
        "decoder": evaluation.get("decode", "quarter"),
        "limits": {"resolution": resolution},
    }
    generic = ("network", "preset", "input_size", "training_size", "dtype", "remat")
    return {
        **{key: metadata[key] for key in ("format", "step", "normalisation")},
        "records": None if metadata["records"] is None else UNKNOWN_RECORDS,
        "config": {"task": "single_pose", **config, "model": model},
        "task": {"name": "single_pose", "settings": settings},
        "heads": {"heatmaps": metadata["skeleton"]["joints"]},
        "network": {
            "name": model["network"],
            "options": {name: value for name, value in model.items() if name not in generic},
            "input_size": model["input_size"],
            "dtype": model["dtype"],
        },
        "inference": {"flip_test": evaluation.get("flip_test", True)},
        "evaluated": "ema" if config.get("ema_decay") else "params",
    }
