"""Checkpoints written before there were tasks: all of them are for this one."""

from typing import Any

# In place of a fingerprint that was made in another way, and cannot be compared with today's.
UNKNOWN_RECORDS = "of a former version"


def upgrade(metadata: dict[str, Any]) -> dict[str, Any]:
    """Converts the metadata of a checkpoint without a task to the current layout.

    The network and the inference settings were only in the config.
    """
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
    generic = ("network", "input_size", "dtype", "remat")
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
