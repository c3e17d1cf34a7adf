"""Checks that this version reads a checkpoint, and that a run may continue from it."""

import pathlib
from collections.abc import Collection, Mapping
from typing import Any

from hourglass_jax.checkpoint import metadata as metadata_lib
from hourglass_jax.checkpoint.integrity import damaged
from hourglass_jax.checkpoint.metadata import FORMAT
from hourglass_jax.data import fingerprint
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.single_pose import legacy

# Config fields that may change when a run continues: its length, where and how often it logs and
# saves, how it evaluates, and the location of its records.
MAY_CHANGE = (
    *("num_steps", "num_epochs", "log_every_steps", "profile_steps", "eval", "checkpoint"),
    *("log_to", "init_from", "data.data_dir"),
)
_KINDS = ("data.dataset", "model.network")


def upgrade(metadata: dict[str, Any], folder: pathlib.Path) -> dict[str, Any]:
    """Converts metadata to the current layout, and checks them.

    Raises:
      DamagedError: a field is missing or has a value that is not allowed.
      UserError: this version does not read the checkpoint's format.
    """
    if metadata.get("format") != FORMAT:
        raise UserError(
            f"{folder} has format {repr(metadata.get('format'))[:100]}, but this version reads "
            f"format {FORMAT}; use the version that wrote it"
        )
    former = "task" not in metadata
    known = legacy.FIELDS if former else metadata_lib.FIELDS
    unknown = sorted(metadata.keys() - set(known))
    if unknown:
        raise UserError(
            f"{folder} has the metadata field {unknown[0][:100]!r}, which this version does not "
            f"know; use the version that wrote it"
        )
    try:
        if former:
            metadata = legacy.upgrade(metadata)
        metadata_lib.check(metadata)
    except UserError as error:
        raise damaged(folder, error) from None
    return metadata


def trained_elsewhere(metadata: Mapping[str, Any]) -> bool:
    """Returns whether the network was trained by another program, so that its data are unknown."""
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
      folder: folder of the checkpoint, for messages.
      saved: metadata of the checkpoint.
      current: metadata that the current run would save.
      evaluate_only: compare only the network and the data, on which evaluation depends.
      paths: further config fields that may change, because they only locate files.
      defaults: default values of fields that the config of an older version may lack.

    Raises:
      UserError: names the first difference.
    """
    if saved["task"]["name"] != current["task"]["name"]:
        raise _another_run(folder, "task", saved["task"]["name"], current["task"]["name"])
    if saved["heads"] != current["heads"]:
        raise _another_run(folder, "heads", saved["heads"], current["heads"])
    if trained_elsewhere(saved):
        if not evaluate_only:
            raise UserError(
                f"{folder} is a published network, from which no run can continue; start a new one "
                f"with --config.init_from={folder} and another --workdir"
            )
        return
    may_change = {*MAY_CHANGE, *paths}
    by_default, before, now = (
        _flatten(config, may_change)
        for config in (defaults or {}, saved["config"], current["config"])
    )
    before, now = by_default | before, by_default | now
    # Name another data set or network first, since then all of its fields differ.
    for key in sorted(before.keys() | now.keys(), key=lambda key: (key not in _KINDS, key)):
        matters = not evaluate_only or key.partition(".")[0] in ("model", "data")
        if matters and before.get(key) != now.get(key):
            raise _another_run(folder, f"config.{key}", before.get(key), now.get(key))
    known = saved["records"] != legacy.UNKNOWN_RECORDS
    if known and not fingerprint.same_data(saved["records"], current["records"]):
        raise UserError(
            f"{folder} was trained on records {saved['records']}, but the data set's files have "
            f"changed and now give records {current['records']}; restore the files, or choose "
            f"another --workdir"
        )


def _another_run(folder: pathlib.Path, what: str, before: Any, now: Any) -> UserError:
    return UserError(
        f"{folder} was trained with {what}={before!r}, but this run has {now!r}; change it back, "
        f"or choose another --workdir"
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
