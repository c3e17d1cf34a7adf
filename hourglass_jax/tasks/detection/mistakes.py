"""Errors of predicted boxes by kind, and how much average precision each kind costs.

Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020. A box is
correct if its IoU with an object of its category is at least 0.5 and no better box has found the
object. An incorrect box is of the first kind that applies:

- badly placed: it overlaps an object of its category, with an IoU of 0.1 to 0.5;
- wrong category: its IoU with an object of another category is at least 0.5;
- doubled: the object that it covers is found already;
- background: its IoU with every object is at most 0.1;
- both: it is badly placed and of the wrong category.

An object is missed if no box finds it, nor would by a better place or another category.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from hourglass_jax.tasks.base import Instance, Record
from hourglass_jax.tasks.detection import boxes

KINDS = ("badly placed", "wrong category", "doubled", "background", "both")
MISSED = "missed"
SURE = 0.3  # boxes with lower scores are not counted one by one
_PLACED, _CATEGORY, _DOUBLED, _BACKGROUND, _BOTH = range(len(KINDS))
_CORRECT, _IGNORED = -1, -2
_SAME, _NEAR = 0.5, 0.1
_RECALLS = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True, eq=False)
class Sorted:
    """The boxes of an image, by decreasing score.

    Attributes:
      scores: scores of the boxes.
      categories: categories of the boxes.
      kinds: index of the kind of error; -1 if correct, -2 if the box lies in a crowd.
      objects: object that the box finds, or would find if it were better; -1 if none.
      overlaps: IoU with that object.
      truth: categories of the objects.
      missed: whether an object is missed.
    """

    scores: Float[np.ndarray, " boxes"]
    categories: Int[np.ndarray, " boxes"]
    kinds: Int[np.ndarray, " boxes"]
    objects: Int[np.ndarray, " boxes"]
    overlaps: Float[np.ndarray, " boxes"]
    truth: Int[np.ndarray, " objects"]
    missed: Bool[np.ndarray, " objects"]


def of(found: Sequence[list[Instance]], truth: Sequence[Record]) -> list[Sorted]:
    """Sorts the predicted boxes of each image."""
    return [_sort(found_here, record) for found_here, record in zip(found, truth, strict=True)]


def _sort(found: list[Instance], record: Record) -> Sorted:
    found = sorted(found, key=lambda one: -one.score)
    scores = np.array([one.score for one in found])
    categories = np.array([one.category for one in found], np.int64)
    sizes = np.array([one.box for one in found], np.float64).reshape(-1, 4)
    predicted = boxes.clipped(boxes.from_sizes(sizes), *record["size_source"].tolist())
    annotated = boxes.from_sizes(record["boxes_source"].astype(np.float64))
    crowd = record["crowd"]
    truth = record["categories"][~crowd]
    iou = boxes.iou(predicted, annotated[~crowd])
    same = categories[:, None] == truth

    kinds = np.full(len(found), _BACKGROUND)
    objects = np.full(len(found), -1)
    used = np.zeros(len(truth), bool)
    for i in np.flatnonzero((same & (iou >= _SAME)).any(1)):
        free = np.where(same[i] & ~used, iou[i], 0)
        if free.max() >= _SAME:
            objects[i] = free.argmax()
            kinds[i] = _CORRECT
            used[objects[i]] = True

    in_crowd = boxes.iou(predicted, annotated[crowd], np.ones(crowd.sum(), bool))
    in_crowd = (in_crowd >= _SAME) & (categories[:, None] == record["categories"][crowd])
    kinds[(kinds != _CORRECT) & in_crowd.any(1)] = _IGNORED
    for i in np.flatnonzero((kinds == _BACKGROUND) & (iou.max(1, initial=0) > 0)):
        own, other = np.where(same[i], iou[i], 0), np.where(same[i], 0, iou[i])
        if _NEAR <= own.max() < _SAME:
            kinds[i], objects[i] = _PLACED, own.argmax()
        elif other.max() >= _SAME:
            kinds[i], objects[i] = _CATEGORY, other.argmax()
        elif own.max() >= _SAME:
            kinds[i] = _DOUBLED
        elif iou[i].max() > _NEAR:
            kinds[i] = _BOTH
    missed = ~used
    missed[objects[(kinds == _PLACED) | (kinds == _CATEGORY)]] = False
    rows = np.arange(len(found))
    overlaps = iou[rows, objects] if len(truth) else np.zeros(len(found))
    return Sorted(scores, categories, kinds, objects, overlaps, truth, missed)


def counts(images: Sequence[Sorted]) -> dict[str, int]:
    """Returns the number of errors of each kind, among boxes with a score of at least `SURE`."""
    kinds = np.concatenate([one.kinds[one.scores >= SURE] for one in images])
    numbers = {name: int((kinds == i).sum()) for i, name in enumerate(KINDS)}
    return numbers | {MISSED: sum(int(one.missed.sum()) for one in images)}


def gains(images: Sequence[Sorted]) -> dict[str, float]:
    """Returns by how much AP50 would rise if the errors of one kind were corrected.

    Boxes at a bad place or of the wrong category become correct, unless a better box finds the
    object; other wrong boxes are left out, and missed objects are not counted.
    """
    now = _average_precision(images)
    fixed = {name: _average_precision(images, fix=kind) for kind, name in enumerate(KINDS)}
    fixed[MISSED] = _average_precision(images, forgive_missed=True)
    return {name: value - now for name, value in fixed.items()}


def error(image: Sorted) -> float:
    """Returns 1 minus an image's panoptic quality; NaN without any object or sure box.

    The quality is the sum of the IoUs of found objects, divided by the mean of the numbers of boxes
    and objects (Kirillov et al., "Panoptic Segmentation", CVPR 2019).
    """
    sure = (image.scores >= SURE) & (image.kinds != _IGNORED)
    total = sure.sum() + len(image.truth)
    if not total:
        return float("nan")
    return 1 - 2 * float(image.overlaps[sure & (image.kinds == _CORRECT)].sum()) / total


def _average_precision(
    images: Sequence[Sorted], fix: int | None = None, forgive_missed: bool = False
) -> float:
    """Returns the mean over categories of the precision at 101 recalls, with an IoU of 0.5."""
    parts = []
    for image in images:
        kept, correct = image.kinds != _IGNORED, image.kinds == _CORRECT
        categories = image.categories
        if fix is not None:
            wrong = image.kinds == fix
            better = _first_of_each(np.where(wrong, image.objects, -1), image.objects[correct])
            kept, correct = kept & (~wrong | better), correct | better
            if better.any():
                categories = np.where(better, image.truth[image.objects], categories)
        parts.append((image.scores[kept], categories[kept], correct[kept]))
    scores, categories, correct = (np.concatenate(column) for column in zip(*parts, strict=True))
    truth = np.concatenate([image.truth for image in images])
    missed = np.concatenate([image.missed for image in images]) & forgive_missed
    order = np.argsort(-scores, kind="stable")
    categories, correct = categories[order], correct[order]
    values = []
    for category in np.unique(truth):
        total = (~missed & (truth == category)).sum()
        if not total:  # nothing is left to find
            values.append(1.0)
            continue
        hits = np.cumsum(correct[categories == category])
        precision = hits / np.arange(1, len(hits) + 1)
        precision = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        values.append(precision[np.searchsorted(hits / total, _RECALLS)].mean())
    return float(np.mean(values)) if values else float("nan")


def _first_of_each(
    objects: Int[np.ndarray, " boxes"], taken: Int[np.ndarray, " found"]
) -> Bool[np.ndarray, " boxes"]:
    """Returns where an object (not -1) occurs for the first time, without those taken."""
    first = np.zeros(len(objects), bool)
    first[np.unique(objects, return_index=True)[1]] = True
    return first & (objects >= 0) & ~np.isin(objects, taken)
