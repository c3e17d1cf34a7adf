"""Tables of figures, which a metric makes for logs and reports."""

import dataclasses
import math
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of figures.

    Attributes:
      title: title, and heading of the first column.
      head: headings of the other columns.
      rows: cells of each row: texts, counts (int), or fractions (float). Fractions are shown as
        percentages, NaN as "-".
      notes: lines below the table.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]
    notes: Sequence[str] = ()

    def cells(self, digits: int = 2) -> list[list[str]]:
        """Returns the rows as texts, percentages with so many digits behind the point."""
        return [[_text(cell, digits) for cell in row] for row in self.rows]

    def __str__(self):
        rows = [[self.title, *self.head], *self.cells()]
        first = max(len(row[0]) for row in rows) + 2
        lines = [f"{row[0]:{first}}" + "".join(f"{c:>10}" for c in row[1:]) for row in rows]
        return "\n".join([*lines, *self.notes])


def _text(cell: str | int | float, digits: int) -> str:
    if isinstance(cell, (str, int)):
        return str(cell)
    return "-" if math.isnan(cell) else f"{100 * cell:.{digits}f}"
