"""Boxes of several views of an image, in one frame and without doubles."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.detection import boxes, suppression
from hourglass_jax.tasks.instance import Instance

Candidates = Mapping[str, np.ndarray]

# Boxes' longer sides, as shares of the side of training's inputs, that are found well. With these
# limits and without: of drawn people at three sizes, OKS AP is 0.406 and 0.392, and corners' AP
# 0.569 and 0.534; in photographs at two sizes, AP50 is 0.527 and 0.490.
LEAST, MOST = 1 / 4, 3 / 4


def pool(
    views: Sequence[tuple[Candidates, Affine]],
    *,
    stride: float,
    flip_order: Int[np.ndarray, " joints"],
    limit: int,
    method: str,
    side: int = 0,
    published: bool = False,
) -> list[Instance]:
    """Returns the best boxes of one image.

    Overlapping boxes are suppressed where there are several views, or pairs of corners. Of several
    views, corners are averaged by votes. Of several scales, each one gives the boxes that have
    about the sizes of training there (Singh and Davis, "SNIP", CVPR 2018, section 5).

    Args:
      views: for each view, its candidates, in cells, and the map from its input to the frame.
      stride: input px per cell.
      flip_order: for each joint, the joint that takes its place in a mirrored view.
      limit: largest number of boxes.
      method: method of suppression.
      side: side of training's inputs, px; 0 if it is not known, and boxes of all sizes count.
      published: average corners only of views that differ in scale, and use boxes of all sizes, as
        CornerNet does.
    """
    if side and not published:
        views = _well_sized(views, stride, side)
    parts = [_placed(found, affine, stride, flip_order) for found, affine in views]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    of_pairs = "corner_scores" in found
    several = {geometry.scale_of(affine) for _, affine in views} if published else views
    # People's scores are geometric means of two: twice sigma is sigma for the product of both.
    people = "joints" in found and not published
    if of_pairs or len(views) > 1:
        kept = suppression.suppress(
            found["boxes"],
            found["scores"],
            found["categories"],
            method=method,
            sigma=suppression.SIGMA * (2 if people else 1),
            limit=limit,
            votes=found["corner_scores"] if of_pairs and len(several) > 1 else None,
        )
        rows, scores, corners = kept
    else:
        rows = np.argsort(-found["scores"], kind="stable")[:limit]
        scores, corners = found["scores"][rows], found["boxes"][rows]
    sizes = boxes.to_sizes(corners)
    categories = found["categories"][rows].tolist()
    joints = found["joints"][rows] if "joints" in found else [None] * len(rows)
    joint_scores = found["joint_scores"][rows] if "joints" in found else joints
    return [
        Instance(*values)
        for values in zip(scores.tolist(), sizes, categories, joints, joint_scores, strict=True)
    ]


def _well_sized(
    views: Sequence[tuple[Candidates, Affine]], stride: float, side: int
) -> list[tuple[Candidates, Affine]]:
    """Returns the views without boxes that another scale shows at a better size."""
    scales = [geometry.scale_of(affine) for _, affine in views]  # px of the frame per input px
    chosen = []
    for (found, affine), scale in zip(views, scales, strict=True):
        longer = stride * (found["boxes"][:, 2:] - found["boxes"][:, :2]).max(1)
        small = (longer < LEAST * side) & (scale > min(scales))
        large = (longer > MOST * side) & (scale < max(scales))
        chosen.append(({**found, "scores": np.where(small | large, 0, found["scores"])}, affine))
    return chosen


def _placed(
    candidates: Candidates, affine: Affine, stride: float, flip_order
) -> dict[str, np.ndarray]:
    """Returns the candidates that have a score, with boxes and joints in the frame."""
    rows = candidates["scores"] > 0
    found = {name: array[rows] for name, array in candidates.items() if name != "valid"}
    found["scores"] = found["scores"].astype(np.float64)
    found["boxes"] = boxes.moved(found["boxes"].astype(np.float64) * stride, affine)
    if "joints" in found:
        joints = geometry.apply(affine, found["joints"].astype(np.float64) * stride - 0.5)
        if geometry.mirrors(affine):
            joints = joints[:, flip_order]
            found["joint_scores"] = found["joint_scores"][:, flip_order]
        found["joints"] = joints
    return found
