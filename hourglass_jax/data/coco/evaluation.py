"""COCO's own evaluation of keypoints, by pycocotools."""

import contextlib
import functools
import io
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pycocotools.coco
from jaxtyping import Float
from pycocotools.cocoeval import COCOeval

from hourglass_jax.tasks.base import Found, Record
from hourglass_jax.tasks.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Figures of COCOeval.summarize for keypoints, in its order.
FIGURES = ("AP", "AP50", "AP75", "AP_medium", "AP_large", "AR", "AR50", "AR75", "AR_medium",
           "AR_large")  # fmt: skip


class KeypointPrecision:
    """Average precision and recall over the object keypoint similarity, as COCOeval computes them.

    A person's score is the mean of the joints' scores, times the detection's where boxes come from
    a detector. Figures are NaN where nobody is of their size.
    """

    headline = "AP"

    def __init__(self, annotations: pathlib.Path, detections: Mapping[str, float] | None = None):
        """Makes the metric.

        Args:
          annotations: official file of the split.
          detections: scores of detected boxes by record id; None where boxes are annotated.
        """
        self._annotations = annotations
        self._detections = detections
        self._last: tuple[Found, dict[str, float]] | None = None

    def __call__(self, found: Found, truth: Sequence[Record]) -> dict[str, float]:
        # The figures, the log's table and the report's are of one evaluation, which takes minutes.
        if self._last is None or self._last[0] is not found:
            self._last = found, self._evaluate(found, truth)
        return self._last[1]

    def _evaluate(self, found: Found, truth: Sequence[Record]) -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
            results = self._truth.loadRes(
                self._results(found, truth)  # pyright: ignore[reportArgumentType]  # not only files
            )
            evaluation = COCOeval(self._truth, results, "keypoints")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        # -1 stands for "nobody of that size".
        values = [float(value) if value >= 0 else math.nan for value in evaluation.stats]
        return dict(zip(FIGURES, values, strict=True))

    def table(self, found: Found, truth: Sequence[Record]) -> Table:
        figures = self(found, truth)
        rows = [
            ("precision", *(figures[name] for name in FIGURES[:5])),
            ("recall", *(figures[name] for name in FIGURES[5:])),
        ]
        return Table("COCO's evaluation", ("average", "at 0.5", "at 0.75", "medium", "large"), rows)

    def errors(self, found: Found, truth: Sequence[Record]) -> Float[np.ndarray, " records"]:
        return np.full(len(truth), np.nan)

    def plots(self, found: Found, truth: Sequence[Record]) -> Mapping[str, "Figure"]:
        return {}

    @functools.cached_property
    def _truth(self) -> pycocotools.coco.COCO:
        with contextlib.redirect_stdout(io.StringIO()):
            return pycocotools.coco.COCO(str(self._annotations))

    def _results(self, found: Found, truth: Sequence[Record]) -> list[dict[str, Any]]:
        """Returns the last stack's instances in COCO's results format."""
        categories = self._truth.dataset["categories"]
        category = next(c["id"] for c in categories if c.get("keypoints"))
        results = []
        for record, instances in zip(truth, found[-1], strict=True):
            for instance in instances:
                joints, scores = instance.joints, instance.joint_scores
                assert joints is not None and scores is not None
                detected = 1.0 if self._detections is None else self._detections[record["id"]]
                results.append(
                    {
                        "image_id": int(record["id"].partition("/")[0]),
                        "category_id": category,
                        "keypoints": np.c_[joints, scores].ravel().tolist(),
                        "score": float(scores.mean() * detected),
                    }
                )
        return results
