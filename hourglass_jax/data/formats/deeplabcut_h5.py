"""Reads DeepLabCut's tables in HDF5 through pandas, as the rows that its CSV has."""

import pathlib
from typing import Any

from hourglass_jax.data.formats.problems import text_of
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import extra

# Names of the columns' levels, and the first cells of the rows in CSV.
_LEVELS = ("scorer", "individuals", "bodyparts", "coords")


def rows(path: pathlib.Path) -> list[tuple[int, list[str]]]:
    """Returns the rows of a table with their numbers, the header first.

    Raises:
      UserError: pandas or PyTables is not installed, or the file holds another table.
    """
    table = _table(path)
    columns, index = table.columns, table.index
    if not {"scorer", "bodyparts", "coords"} <= set(columns.names):
        raise UserError(f"{path} has no columns scorer, bodyparts and coords, as DeepLabCut's have")
    names = [list(map(str, key)) if isinstance(key, tuple) else [str(key)] for key in index]
    width = max(map(len, names), default=1)
    head = [
        [level, *[""] * (width - 1), *map(str, columns.get_level_values(level))]
        for level in _LEVELS
        if level in columns.names
    ]
    # NaN becomes an empty cell, and repr the shortest text of the same number.
    numbers = table.to_numpy(float)
    body = [
        [*name, *("" if number != number else repr(float(number)) for number in row)]
        for name, row in zip(names, numbers, strict=True)
    ]
    return list(enumerate([*head, *body], start=1))


def _table(path: pathlib.Path) -> Any:
    """Returns the table as a DataFrame."""
    purpose = f"{path} is HDF5 (DeepLabCut also writes {path.stem}.csv), which"
    pandas = extra.library("pandas", purpose)
    extra.library("tables", purpose)
    try:
        table = pandas.read_hdf(path)
    except Exception as error:  # of many kinds, on damaged files
        raise UserError(f"{path} cannot be read as a table: {text_of(error)}") from None
    if not isinstance(table, pandas.DataFrame):
        raise UserError(f"{path} is not a table of DeepLabCut")
    return table
