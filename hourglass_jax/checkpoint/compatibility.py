"""Which checkpoints this version reads, and whether one belongs to the run that goes on from it."""

import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from hourglass_jax.checkpoint.metadata import FORMAT
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.single_pose import legacy

# What may differ between the run that saved and the run that goes on: length, where and how often
# it logs and saves, how it evaluates, and where its records lie.
MAY_CHANGE = (
    *("num_steps", "num_epochs", "log_every_steps", "profile_steps", "eval", "checkpoint"),
    *("init_from", "data.data_dir"),
)
_KINDS = ("data.dataset", "model.network")


def upgrade(metadata: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    """Returns metadata in today's form.

    Raises:
      UserError: the checkpoint is of a format that this version does not know.
    """
    if metadata.get("format") != FORMAT:
        raise UserError(
            f"{folder} has format {metadata.get('format')!r}, and this version reads format "
            f"{FORMAT}; use the version that wrote it"
        )
    if "task" in metadata:
        return metadata
    return legacy.upgrade(metadata)


def trained_elsewhere(metadata: Mapping[str, Any]) -> bool:
    """Returns whether the network was trained by another program: its run is not known."""
    return metadata["records"] is None


def check(
    folder: pathlib.Path,
    saved: Mapping[str, Any],
    current: Mapping[str, Any],
    *,
    evaluate_only: bool = False,
    paths: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Refuses a checkpoint of another run.

    Args:
      folder: of the checkpoint, for messages.
      saved: the metadata beside it.
      current: the metadata that the present run would save.
      evaluate_only: compare what evaluation depends on, the network and the data, alone.
      paths: further fields of the config that may change, as they only say where files lie.
      defaults: a config of the fields that may be left out, as an older version may have done.

    Raises:
      UserError: names the first thing that differs.
    """
    if saved["task"]["name"] != current["task"]["name"]:
        raise _another_run(folder, "task", saved["task"]["name"], current["task"]["name"])
    if saved["heads"] != current["heads"]:
        raise _another_run(folder, "heads", saved["heads"], current["heads"])
    if trained_elsewhere(saved):
        if not evaluate_only:
            raise UserError(
                f"{folder} is a published network, and no run of this program can go on from it; "
                f"start one with --config.init_from={folder} and another --workdir"
            )
        return
    may_change = {*MAY_CHANGE, *paths}
    by_default, before, now = (
        _flatten(config, may_change)
        for config in (defaults or {}, saved["config"], current["config"])
    )
    before, now = by_default | before, by_default | now
    # Of another data set or network all fields differ.
    for key in sorted(before.keys() | now.keys(), key=lambda key: (key not in _KINDS, key)):
        concerns = not evaluate_only or key.partition(".")[0] in ("model", "data")
        if concerns and before.get(key) != now.get(key):
            raise _another_run(folder, f"config.{key}", before.get(key), now.get(key))
    if saved["records"] not in (current["records"], legacy.UNKNOWN_RECORDS):
        raise UserError(
            f"{folder} was trained on records {saved['records']}, and the data set's files have "
            f"changed: they now make {current['records']}; put the former files back, or take "
            f"another --workdir"
        )


def _another_run(folder: pathlib.Path, what: str, before: Any, now: Any) -> UserError:
    return UserError(
        f"{folder} was trained with {what}={before!r}, and this run has {now!r}; go on with the "
        f"former, or take another --workdir"
    )


def _flatten(tree: Mapping[str, Any], left_out: Collection[str], prefix: str = "") -> dict:
    flat = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if path in left_out:
            continue
        if isinstance(value, dict):
            flat |= _flatten(value, left_out, f"{path}.")
        else:
            flat[path] = list(value) if isinstance(value, tuple) else value
    return flat
