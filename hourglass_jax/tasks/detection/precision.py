"""Average precision and recall of boxes and of joints, as COCO's evaluation computes them.

pycocotools gets the records' annotations and unrounded results, whereas the published programs
round boxes and scores to two decimals.
"""

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.tasks.base import Found, Instance, Metric, Record
from hourglass_jax.tasks.detection import boxes, mistakes
from hourglass_jax.tasks.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pycocotools.cocoeval import COCOeval

# Figures of COCOeval.summarize, in its order.
_BOXES = ("AP", "AP50", "AP75", "AP/small", "AP/medium", "AP/large", "AR/1", "AR/10", "AR",
          "AR/small", "AR/medium", "AR/large")  # fmt: skip
_JOINTS = ("AP", "AP50", "AP75", "AP/medium", "AP/large", "AR", "AR50", "AR75", "AR/medium",
           "AR/large")  # fmt: skip
# COCO's standard deviations of annotated joints, relative to the square root of a person's area;
# joints of MPII that COCO lacks have those of their neighbours.
SIGMAS = {
    **{"nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072},
    **{"wrist": 0.062, "hip": 0.107, "knee": 0.087, "ankle": 0.089},
    **{"pelvis": 0.107, "thorax": 0.079, "upper_neck": 0.079, "neck": 0.079, "head_top": 0.079},
}
_OTHER_SIGMA = 0.079
# People with a lower score do not count as found in the error of an image.
_SURE = 0.1
# Share of a box that a person covers, where the area is not annotated.
PERSON_IN_BOX = 0.53


def sigmas(joints: Sequence[str]) -> Float[np.ndarray, " joints"]:
    """Returns the standard deviation of each joint in the object keypoint similarity."""
    names = [joint.removeprefix("left_").removeprefix("right_") for joint in joints]
    return np.array([SIGMAS.get(name, _OTHER_SIGMA) for name in names])


class _Evaluation:
    """Evaluates the last stack's instances, once for the same predictions."""

    def __init__(self):
        self._last: tuple[Found, Any] | None = None

    def of(self, found: Found, truth: Sequence[Record]) -> Any:
        if self._last is None or self._last[0] is not found:
            self._last = found, self._evaluate(found, truth)
        return self._last[1]

    def _evaluate(self, found: Found, truth: Sequence[Record]) -> Any:
        raise NotImplementedError


class BoxPrecision(_Evaluation, Metric):
    """Average precision over the IoU of boxes, and a sorting of the errors.

    Figures are "AP", "AP50", "AP75" and "AR", those of small, medium and large objects, such as
    "AP/small", "AP/<category>" where there are several, and "errors/<kind>": see `mistakes.gains`.
    """

    def __init__(self, categories: Sequence[str]):
        super().__init__()
        self._categories = categories

    @property
    def headline(self) -> str:
        return "AP"

    def _evaluate(
        self, found: Found, truth: Sequence[Record]
    ) -> tuple["COCOeval", list[mistakes.Sorted]]:
        evaluation = evaluate(
            annotations(truth, self._categories), results(found[-1], truth), "bbox"
        )
        return evaluation, mistakes.of(found[-1], truth)

    def __call__(self, found: Found, truth: Sequence[Record]) -> dict[str, float]:
        evaluation, errors = self.of(found, truth)
        figures = _named(evaluation, _BOXES)
        if len(self._categories) > 1:
            figures |= {f"AP/{name}": ap for name, ap in self._by_category(evaluation).items()}
        gains = mistakes.gains(errors)
        return figures | {f"errors/{name}": gain for name, gain in gains.items()}

    def _by_category(self, evaluation: "COCOeval") -> dict[str, float]:
        # Axes: IoU, recall, category, size (the first is any), largest number of boxes.
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        return {
            name: float(np.mean(values)) if (values := precision[:, :, i]).min() >= 0 else math.nan
            for i, name in enumerate(self._categories)
        }

    def table(self, found: Found, truth: Sequence[Record]) -> Table:
        figures, sizes = self(found, truth), ("small", "medium", "large")
        rows: list[list[str | int | float]] = [
            ["precision", *(figures[f"AP{at}"] for at in ("", "50", "75"))],
            ["recall", figures["AR"], "", ""],
        ]
        for row, name in zip(rows, ("AP", "AR"), strict=True):
            row += [figures[f"{name}/{size}"] for size in sizes]
        counts = mistakes.counts(self.of(found, truth)[1])
        gains = ", ".join(
            f"{name} {100 * figures[f'errors/{name}']:.1f} ({counts[name]})" for name in counts
        )
        notes = [
            f"AP50 that each kind of error costs (their number, at scores of at least "
            f"{mistakes.SURE}): {gains}",
        ]
        return Table("boxes", ["average", "at 0.5", "at 0.75", *sizes], rows, notes)

    def errors(self, found: Found, truth: Sequence[Record]) -> Float[np.ndarray, " records"]:
        return np.array([mistakes.error(one) for one in self.of(found, truth)[1]])

    def plots(self, found: Found, truth: Sequence[Record]) -> Mapping[str, "Figure"]:
        from hourglass_jax.tasks.detection import plots  # needs matplotlib

        evaluation, _ = self.of(found, truth)
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        known = precision[:, :, (precision >= 0).all((0, 1))]
        if not known.size:
            return {}
        by_iou = dict(zip(evaluation.params.iouThrs, known.mean(-1), strict=True))
        return {"Precision by recall": plots.precision_by_recall(evaluation.params.recThrs, by_iou)}


class JointPrecision(_Evaluation, Metric):
    """Average precision over the object keypoint similarity: "OKS AP", "OKS AP50", ..."""

    def __init__(self, categories: Sequence[str], skeleton: Skeleton):
        super().__init__()
        self._categories, self._skeleton = categories, skeleton

    @property
    def headline(self) -> str:
        return "OKS AP"

    def _evaluate(self, found: Found, truth: Sequence[Record]) -> "COCOeval":
        spread = sigmas(self._skeleton.joints)
        return evaluate(
            annotations(truth, self._categories), results(found[-1], truth), "keypoints", spread
        )

    def __call__(self, found: Found, truth: Sequence[Record]) -> dict[str, float]:
        figures = _named(self.of(found, truth), _JOINTS)
        return {f"OKS {name}": value for name, value in figures.items()}

    def table(self, found: Found, truth: Sequence[Record]) -> Table:
        values = list(self(found, truth).values())
        rows = [["precision", *values[:5]], ["recall", *values[5:]]]
        return Table("joints", ["average", "at 0.5", "at 0.75", "medium", "large"], rows)

    def errors(self, found: Found, truth: Sequence[Record]) -> Float[np.ndarray, " records"]:
        """Returns 1 minus an image's panoptic quality over OKS; see `mistakes.error`."""
        evaluation = self.of(found, truth)
        errors = np.full(len(truth), np.nan)
        # Of all sizes, which come first; None where nothing is found nor annotated.
        for seen in evaluation.evalImgs[: len(truth)]:
            if seen is not None:
                errors[seen["image_id"] - 1] = _pose_error(evaluation, seen)
        return errors


def _pose_error(evaluation: Any, seen: Mapping[str, Any]) -> float:
    """Returns 1 minus the panoptic quality of an image, from its evaluation at an OKS of 0.5."""
    image = seen["image_id"], seen["category_id"]
    sure = (np.array(seen["dtScores"]) >= _SURE) & ~seen["dtIgnore"][0].astype(bool)
    total = sure.sum() + (1 - np.array(seen["gtIgnore"])).sum()
    if not total:
        return math.nan
    columns = {truth["id"]: i for i, truth in enumerate(evaluation._gts[image])}
    matches = [(row, columns[id]) for row, id in enumerate(seen["dtMatches"][0]) if id]
    similar = sum(evaluation.ious[image][match] for match in matches if sure[match[0]])
    return 1 - 2 * float(similar) / float(total)


def evaluate(
    annotations: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    kind: Literal["bbox", "keypoints"],
    sigmas: Float[np.ndarray, " joints"] | None = None,
) -> "COCOeval":
    """Runs COCO's evaluation.

    Args:
      annotations: content of a file in COCO's format; ids of annotations begin at 1.
      results: entries in COCO's results format, with images by `image_id`.
      kind: "bbox" or "keypoints".
      sigmas: standard deviations of the joints.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: Any = COCO()  # the stubs want all fields of COCO's own files
    found: Any = COCO()
    truth.dataset = dict(annotations)
    entries = [{"iscrowd": 0, **entry, "id": i + 1} for i, entry in enumerate(results)]
    found.dataset = {**annotations, "annotations": entries}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        truth.createIndex()
        found.createIndex()
        evaluation = COCOeval(truth, found, kind)
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def annotations(truth: Sequence[Record], categories: Sequence[str]) -> dict[str, Any]:
    """Returns the records' annotations in COCO's format; images and categories count from 1."""
    entries = []
    for image, record in enumerate(truth):
        for i, box in enumerate(record["boxes_source"].astype(np.float64)):
            area = float(record["areas"][i])
            entry = {
                "id": len(entries) + 1,
                "image_id": image + 1,
                "category_id": int(record["categories"][i]) + 1,
                "bbox": box.tolist(),
                "area": float(box[2] * box[3]) if math.isnan(area) else area,
                "iscrowd": int(record["crowd"][i]),
            }
            if "labelled" in record:
                labelled = record["labelled"][i]
                joints = record["joints_source"][i].astype(np.float64)
                if math.isnan(area):
                    entry["area"] *= PERSON_IN_BOX
                entry["keypoints"] = np.c_[joints, 2 * labelled].ravel().tolist()
                entry["num_keypoints"] = int(labelled.sum())
            entries.append(entry)
    return {
        "images": [{"id": image + 1} for image in range(len(truth))],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(categories)],
        "annotations": entries,
    }


def results(found: Sequence[list[Instance]], truth: Sequence[Record]) -> list[dict[str, Any]]:
    """Returns instances in COCO's results format, clipped to their images."""
    entries = []
    for image, (record, instances) in enumerate(zip(truth, found, strict=True)):
        for one in instances:
            assert one.box is not None  # `finish` makes boxes
            x, y, width, height = clip(one.box, record).tolist()
            entry = {
                "image_id": image + 1,
                "category_id": one.category + 1,
                "bbox": [x, y, width, height],
                "area": width * height,
                "score": one.score,
            }
            if one.joints is not None and one.joint_scores is not None:
                entry["keypoints"] = np.c_[one.joints, one.joint_scores].ravel().tolist()
            entries.append(entry)
    return entries


def named_results(
    found: Sequence[list[Instance]], truth: Sequence[Record], category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Returns `results` with the data set's ids of images and categories."""
    entries = results(found, truth)
    for entry in entries:
        name = truth[entry["image_id"] - 1]["id"]
        entry["image_id"] = int(name) if name.isdecimal() else name
        entry["category_id"] = category_ids[entry["category_id"] - 1]
    return entries


def clip(box: Float[np.ndarray, "4"], record: Record) -> Float[np.ndarray, "4"]:
    """Cuts a box (x, y, width, height) at the borders of the record's source image."""
    width, height = record["size_source"].tolist()
    return boxes.to_sizes(boxes.clipped(boxes.from_sizes(np.asarray(box)), width, height))


def _named(evaluation: "COCOeval", names: Sequence[str]) -> dict[str, float]:
    # -1 stands for "nothing of that size".
    values = [float(value) if value >= 0 else math.nan for value in evaluation.stats]
    return dict(zip(names, values, strict=True))
