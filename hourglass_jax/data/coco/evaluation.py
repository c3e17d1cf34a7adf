"""COCO's own evaluation of keypoints, by pycocotools."""

import contextlib
import functools
import io
import logging
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pycocotools.coco
from jaxtyping import Float
from pycocotools.cocoeval import COCOeval

from hourglass_jax.data.base import Annotation
from hourglass_jax.data.formats import coco_json, values
from hourglass_jax.tasks.base import Found, Record
from hourglass_jax.tasks.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

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

        COCOeval gets ids that count from 1 and people alone: it takes the id 0 for no match, ids
        that occur twice for one, and reads fields that annotations of other categories lack.

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
            people, _ = self._truth
            results = people.loadRes(
                self._results(found, truth)  # pyright: ignore[reportArgumentType]  # not only files
            )
            evaluation = COCOeval(people, results, "keypoints")
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
    def _truth(self) -> tuple[pycocotools.coco.COCO, dict[str, int]]:
        """The people of the file with ids of ours, and the images' ids by those of the file."""
        images = coco_json.read(self._annotations, self._annotations.parent, outside=True).images
        images.sort(key=lambda image: values.in_order(image.id))
        ids = {image.id: i for i, image in enumerate(images, start=1)}
        people = [(ids[image.id], a) for image in images for a in image.annotations]
        unknown = sum(a.area is None for _, a in people)
        if unknown:
            logger.warning(
                "%s: %d annotations have no area; COCO's evaluation gets that of their boxes",
                *(self._annotations, unknown),
            )
        coco = pycocotools.coco.COCO()
        coco.dataset = {  # pyright: ignore[reportAttributeAccessIssue]  # of what it reads
            "images": [{"id": i} for i in ids.values()],
            "categories": [{"id": 1, "name": "person"}],
            "annotations": [
                _as_coco_has_it(a, id=i, image_id=image_id)
                for i, (image_id, a) in enumerate(people, start=1)
            ],
        }
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
        return coco, ids

    def _results(self, found: Found, truth: Sequence[Record]) -> list[dict[str, Any]]:
        """Returns the last stack's instances in COCO's results format."""
        _, ids = self._truth
        results = []
        for record, instances in zip(truth, found[-1], strict=True):
            for instance in instances:
                joints, scores = instance.joints, instance.joint_scores
                assert joints is not None and scores is not None
                detected = 1.0 if self._detections is None else self._detections[record["id"]]
                results.append(
                    {
                        "image_id": ids[record["id"].rpartition("/")[0]],
                        "category_id": 1,
                        "keypoints": np.c_[joints, scores].ravel().tolist(),
                        "score": float(scores.mean() * detected),
                    }
                )
        return results


def _as_coco_has_it(a: Annotation, *, id: int, image_id: int) -> dict[str, Any]:
    """Returns an annotation with all fields that COCOeval reads; the box stands for its area."""
    assert a.joints is not None and a.labelled is not None and a.visible is not None
    x, y, width, height = a.box or (*(a.center - a.reference / 2), a.reference, a.reference)
    flags = np.where(a.labelled, 1 + a.visible, 0)
    return {
        "id": id,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [float(x), float(y), width, height],
        "area": width * height if a.area is None else a.area,
        "iscrowd": int(a.crowd),
        "keypoints": np.c_[a.joints, flags].ravel().tolist(),
        "num_keypoints": int(a.labelled.sum()),
    }
