"""Whether a checkpoint belongs to the run that would go on from it, or evaluate it."""

import pathlib
from collections.abc import Sequence
from typing import Any

from hourglass_jax.errors import UserError

# What may differ between the run that saved and the run that goes on: length, where and how often
# it logs and saves, how it evaluates, and where files lie (their content has a fingerprint).
MAY_CHANGE = (
    *("num_steps", "num_epochs", "log_every_steps", "profile_steps", "eval", "checkpoint"),
    "init_from",
    *("data.manual_dir", "data.data_dir", "data.train_json", "data.validation_json"),
    *("data.image_dir", "data.validation_image_dir", "data.detections"),
)


def check(
    folder: pathlib.Path, saved: dict, current: dict, parts: Sequence[str] | None = None
) -> None:
    """Refuses a checkpoint of another run.

    Args:
      folder: of the checkpoint, for messages.
      saved: the metadata beside it.
      current: the metadata that the present run would save.
      parts: of the config that must agree, e.g. "model"; None: all that may not change.

    Raises:
      UserError: names the first thing that differs.
    """
    if saved["skeleton"] != current["skeleton"]:
        raise _another_run(folder, "skeleton", saved["skeleton"], current["skeleton"])
    if saved["records"] is None:  # trained elsewhere: of its run nothing else is known
        if parts is None:
            raise UserError(
                f"{folder} is a published network, which no run goes on from; begin one with "
                f"--config.init_from={folder} and another --workdir"
            )
        return
    before, now = _flatten(saved["config"]), _flatten(current["config"])
    for key in sorted(before.keys() | now.keys()):
        concerns = parts is None or key.partition(".")[0] in parts
        if concerns and before.get(key) != now.get(key):
            raise _another_run(folder, f"config.{key}", before.get(key), now.get(key))
    if saved["records"] != current["records"]:
        raise UserError(
            f"{folder} was trained on records {saved['records']}, and the data set's files, which "
            f"have changed, now make {current['records']}; put the former files back, or take "
            f"another --workdir"
        )


def _another_run(folder: pathlib.Path, what: str, before: Any, now: Any) -> UserError:
    return UserError(
        f"{folder} was trained with {what}={before!r}, and this run has {now!r}; go on with the "
        f"former, or take another --workdir"
    )


def _flatten(tree: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if path in MAY_CHANGE:
            continue
        flat |= _flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat
