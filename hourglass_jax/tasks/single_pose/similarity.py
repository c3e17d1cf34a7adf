"""The mean object keypoint similarity (OKS) of poses in people's true boxes."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hourglass_jax.data.base import Annotation, Source
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.tasks.base import Found, Metric, Record
from hourglass_jax.tasks.detection.precision import PERSON_IN_BOX, sigmas
from hourglass_jax.tasks.single_pose.measure import People
from hourglass_jax.tasks.table import Table

# People who count: with as many labelled joints, and a box whose longer side has as many px.
FEWEST_JOINTS, SMALLEST = 5, 48


class MeanSimilarity(Metric):
    """The mean of COCO's OKS over people with five joints and 48 px, each by its own true box.

    A person's OKS is the mean of exp(-d^2 / (2 area (2 sigma)^2)) over the labelled joints. Where
    the area is not annotated, it is 0.53 of the box. "OKS>0.5" and "OKS>0.75" are the shares of
    people above that.
    """

    def __init__(self, source: Source, split: str, skeleton: Skeleton):
        """Makes the metric; areas are looked up in the source when figures are computed."""
        self._source, self._split = source, split
        self._spread = (2 * sigmas(skeleton.joints)) ** 2

    @property
    def headline(self) -> str:
        return "OKS"

    def __call__(self, found: Found, truth: Sequence[Record]) -> dict[str, float]:
        alike = self.similarities(found, truth)
        alike = alike[~np.isnan(alike)]
        shares = {f"OKS>{limit}": alike > limit for limit in (0.5, 0.75)}
        return {
            name: float(np.mean(values)) if len(values) else math.nan
            for name, values in {"OKS": alike, **shares}.items()
        }

    def similarities(self, found: Found, truth: Sequence[Record]) -> Float[np.ndarray, " records"]:
        """Returns each person's OKS; NaN for those who do not count."""
        people, areas = People.of(found, truth), self._areas()
        area = np.array([areas.get(record["id"], math.nan) for record in truth])
        squared = ((people.joints[:, -1] - people.truth) ** 2).sum(-1)
        alike = np.exp(-squared / (2 * area[:, None] * self._spread))
        count = people.labelled.sum(1)
        mean = (alike * people.labelled).sum(1) / np.maximum(count, 1)
        return np.where(count >= FEWEST_JOINTS, mean, math.nan)

    def _areas(self) -> dict[str, float]:
        """Returns the areas of those who are large enough, by their ids."""
        people = [a for image in self._source.images(self._split) for a in image.annotations]
        return {a.id: _area(a) for a in people if a.box and max(a.box[2:]) >= SMALLEST}

    def table(self, found: Found, truth: Sequence[Record]) -> Table:
        figures = self(found, truth)
        count = int((~np.isnan(self.similarities(found, truth))).sum())
        row = ["people", *figures.values(), count]
        return Table("OKS", ["mean", "above 0.5", "above 0.75", "people"], [row])

    def errors(self, found: Found, truth: Sequence[Record]) -> Float[np.ndarray, " records"]:
        return 1 - self.similarities(found, truth)


def _area(a: Annotation) -> float:
    assert a.box is not None
    return a.area if a.area else PERSON_IN_BOX * a.box[2] * a.box[3]
