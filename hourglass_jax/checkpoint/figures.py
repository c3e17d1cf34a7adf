"""The figures that a checkpoint was measured to have, in the folder `metrics` of its step."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from hourglass_jax.checkpoint import integrity
from hourglass_jax.runtime import digests, paths

_NAME = "metrics"


def check(folder: pathlib.Path, *, repair: bool) -> None:
    """Checks the figures of a step, if it has any.

    Args:
      folder: folder of the step.
      repair: remove what is left of `add` if it was stopped.

    Raises:
      OSError, ValueError, AttributeError or RecursionError: they are damaged.
    """
    path = folder / _NAME / _NAME
    if repair:
        _remove_cut_short(folder)
    for part in (_NAME, "_CHECKPOINT_METADATA"):
        integrity.check_digests(folder, part)
    if path.exists():
        figures = json.loads(path.read_text("utf-8"))
        if not all(isinstance(value, (int, float)) for value in figures.values()):
            raise ValueError("a figure is not a number")


def are_there(folder: pathlib.Path) -> bool:
    """Returns whether a step has figures."""
    return (folder / _NAME).is_dir()


def add(folder: pathlib.Path, figures: Mapping[Any, float]) -> None:
    """Adds figures to a step that was saved without them."""
    unfinished = folder.parent.parent / "figure.unfinished"
    paths.rmtree(unfinished)
    unfinished.mkdir()
    (unfinished / _NAME).write_text(json.dumps(figures), "utf-8")
    digests.write(unfinished)
    unfinished.rename(folder / _NAME)


def _remove_cut_short(folder: pathlib.Path) -> None:
    """Removes what is left of `add` if it was stopped in a bucket, where it takes two steps."""
    here, known = folder / _NAME, folder / digests.NAME
    if not paths.is_remote(folder) or not here.is_dir() or not known.is_file():
        return
    by_orbax = f"  {_NAME}/" in known.read_text("utf-8")
    if not by_orbax and not (here / digests.NAME).is_file():
        paths.rmtree(here)
