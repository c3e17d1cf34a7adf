"""Figures of several data sets in one split, each by its own measure."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from hourglass_jax.data.base import Source
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.tasks.base import Found, Metric, Record
from hourglass_jax.tasks.single_pose.measure import JointsFound
from hourglass_jax.tasks.single_pose.similarity import MeanSimilarity
from hourglass_jax.tasks.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PartsFound(Metric):
    """The figures of each part as "<part>/<figure>", and "mean of parts", that of their headlines.

    Parts whose people have boxes as annotated are measured by OKS, others by PCK with the tolerance
    and the reference of their own.
    """

    def __init__(self, parts: Mapping[str, Source], skeleton: Skeleton):
        """Makes the metric of parts, by the beginnings of their ids."""
        self._metrics: dict[str, Metric] = {
            name: MeanSimilarity(part, part.select, skeleton)
            if part.categories
            else JointsFound(skeleton, part.tolerance)
            for name, part in parts.items()
        }

    @property
    def headline(self) -> str:
        return "mean of parts"

    def __call__(self, found: Found, truth: Sequence[Record]) -> dict[str, float]:
        figures, headlines = {}, []
        for name, metric in self._metrics.items():
            own_found, own = _of_part(name, found, truth)
            values = metric(own_found, own) if own else {metric.headline: math.nan}
            figures |= {f"{name}/{key}": value for key, value in values.items()}
            headlines.append(values[metric.headline])
        return {self.headline: float(np.mean(headlines)), **figures}

    def table(self, found: Found, truth: Sequence[Record]) -> Table:
        figures, notes = self(found, truth), []
        rows = []
        for name, metric in self._metrics.items():
            own_found, own = _of_part(name, found, truth)
            rows.append([f"{name}, {metric.headline}", figures[f"{name}/{metric.headline}"]])
            notes += ["", f"{name}:", *str(metric.table(own_found, own)).split("\n")] if own else []
        return Table(self.headline, ["%"], [*rows, ["mean", figures[self.headline]]], notes)

    def errors(self, found: Found, truth: Sequence[Record]) -> Float[np.ndarray, " records"]:
        errors = np.full(len(truth), math.nan)
        for name, metric in self._metrics.items():
            own_found, own = _of_part(name, found, truth)
            if own:
                errors[_rows(name, truth)] = metric.errors(own_found, own)
        return errors

    def plots(self, found: Found, truth: Sequence[Record]) -> Mapping[str, "Figure"]:
        plots = {}
        for name, metric in self._metrics.items():
            own_found, own = _of_part(name, found, truth)
            if own:
                made = metric.plots(own_found, own)
                plots |= {f"{name}: {title}": figure for title, figure in made.items()}
        return plots


def _rows(part: str, truth: Sequence[Record]) -> list[int]:
    return [i for i, record in enumerate(truth) if record["id"].startswith(f"{part}/")]


def _of_part(part: str, found: Found, truth: Sequence[Record]) -> tuple[Found, list[Record]]:
    """Returns a part's predictions, and its records with ids as its data set has them."""
    rows = _rows(part, truth)
    own = [{**truth[i], "id": truth[i]["id"].removeprefix(f"{part}/")} for i in rows]
    return [[stack[i] for i in rows] for stack in found], own
