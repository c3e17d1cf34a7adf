"""Reads DeepLabCut's tables in HDF5, as the rows that its CSV has.

pandas writes them, in two ways ("fixed" and "table"), and would run code that is hidden in a file.
Here nothing but numbers and texts is taken from it.
"""

import io
import pathlib
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from hourglass_jax.data.formats.coco_content import WRONG
from hourglass_jax.data.formats.problems import text_of
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import extra

# Names of the columns' levels, and the first cells of the rows in CSV.
_LEVELS = ("scorer", "individuals", "bodyparts", "coords")
_KIND = "pandas_type"


def rows(path: pathlib.Path) -> list[tuple[int, list[str]]]:
    """Returns the rows of a table with their numbers, the header first.

    Raises:
      UserError: h5py is not installed, or the file holds another table.
    """
    h5py = extra.library("h5py", f"{path} is HDF5, which")
    try:
        with h5py.File(path) as file:
            groups = [group for group in file.values() if _KIND in group.attrs]
            if not groups:
                raise ValueError("it holds no table of pandas")
            kind = _text(groups[0].attrs[_KIND])
            index, columns, numbers = (_fixed if kind == "frame" else _table)(groups[0])
            levels = _levels(columns)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read: {text_of(error)}") from None
    except (*WRONG, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} is HDF5, but not labels as DeepLabCut writes them ({text_of(error)}); name "
            f"the table in CSV, {path.stem}.csv"
        ) from None
    width = max(map(len, index), default=1)
    head = [
        [level, *[""] * (width - 1), *cells]
        for level, cells in zip(levels, zip(*columns, strict=True), strict=True)
    ]
    # NaN becomes an empty cell, and repr the shortest text of the same number.
    body = [
        [*name, *("" if np.isnan(number) else repr(float(number)) for number in row)]
        for name, row in zip(index, numbers, strict=True)
    ]
    return list(enumerate([*head, *body], start=1))


Content = tuple[list[list[str]], list[tuple[str, ...]], np.ndarray]


def _levels(columns: Sequence[tuple[str, ...]]) -> Sequence[str]:
    """Returns the names of the columns' levels, of which those of one animal lack the second."""
    if not columns or len(columns[0]) not in (3, 4):
        raise ValueError("its columns do not name scorer, bodyparts and coords")
    return _LEVELS if len(columns[0]) == 4 else (_LEVELS[0], *_LEVELS[2:])


def _fixed(group: Any) -> Content:
    """Returns index, columns and numbers of what pandas calls the fixed format."""
    columns = _axis(group, "axis0")
    numbers = np.full((len(group["block0_values"]), len(columns)), np.nan)
    places = {column: i for i, column in enumerate(columns)}
    for block in range(int(group.attrs["nblocks"])):
        own = [places[column] for column in _axis(group, f"block{block}_items")]
        numbers[:, own] = group[f"block{block}_values"][:]
    return [list(name) for name in _axis(group, "axis1")], columns, numbers


def _axis(group: Any, name: str) -> list[tuple[str, ...]]:
    """Returns the names along an axis; each level has its values, and their places."""
    if name in group:
        return [(_text(value),) for value in group[name][:]]
    levels = []
    for i in range(int(group.attrs[f"{name}_nlevels"])):
        values = [_text(value) for value in group[f"{name}_level{i}"][:]]
        levels.append([values[place] for place in group[f"{name}_label{i}"][:]])
    return list(zip(*levels, strict=True))


def _table(group: Any) -> Content:
    """Returns index, columns and numbers of what pandas calls the table format."""
    table = group["table"]
    names = [name for name in table.dtype.names if not name.startswith("values_block_")]
    index = [[_text(value) for value in row] for row in zip(*(table[n] for n in names))]  # noqa: B905
    columns, blocks = [], []
    for name in [name for name in table.dtype.names if name not in names]:
        columns += [tuple(map(str, key)) for key in _unpickled(table.attrs[f"{name}_kind"])]
        blocks.append(np.reshape(table[name], (len(table), -1)))
    return index, columns, np.concatenate(blocks, axis=1)


class _Texts(pickle.Unpickler):
    """Reads lists and tuples of texts and numbers, and nothing that runs."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _unpickled(value: Any) -> Any:
    content = bytes(value) if not isinstance(value, str) else value.encode("latin-1")
    return _Texts(io.BytesIO(content)).load()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
