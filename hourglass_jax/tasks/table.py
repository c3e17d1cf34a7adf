"""Figures as a table: for the log, and for the report."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Table:
    """Figures for people: a title and a head over columns, rows, and notes below.

    Cells are texts, counts (int) or shares (float), which are shown as percentages, NaN as "-".
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    notes: Sequence[str] = ()

    def cells(self) -> list[list[str]]:
        """Returns the rows as texts."""
        return [[_text(cell) for cell in row] for row in self.rows]

    def __str__(self):
        rows = [[self.title, *self.head], *self.cells()]
        first = max(len(row[0]) for row in rows) + 2
        lines = [f"{row[0]:{first}}" + "".join(f"{c:>10}" for c in row[1:]) for row in rows]
        return "\n".join([*lines, *self.notes])


def _text(cell: str | int | float) -> str:
    if isinstance(cell, (str, int)):
        return str(cell)
    return "-" if np.isnan(cell) else f"{100 * cell:.2f}"
