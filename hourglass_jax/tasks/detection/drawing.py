"""Drawing of boxes with their categories and scores, of joints, and of targets."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.image import draw
from hourglass_jax.tasks.detection import boxes
from hourglass_jax.tasks.instance import Instance
from hourglass_jax.tasks.single_pose import drawing as poses


def draw_boxes(
    image: UInt8[np.ndarray, "height width 3"],
    found: Sequence[Instance],
    categories: Sequence[str],
    skeleton: Skeleton,
) -> UInt8[np.ndarray, "height width 3"]:
    """Returns a copy of the image with boxes, the best one on top.

    Args:
      image: RGB image.
      found: boxes, px of the image; the score is written unless it is 1, as of annotations.
      categories: names of the categories.
      skeleton: joints of the instances, if they have any.
    """
    image = np.array(image, order="C")  # a copy: OpenCV draws in place
    width = max(round(_side(image) / 300), 1)
    limit = 4 * max(image.shape)  # OpenCV's line drawing overflows far outside the image
    for one in sorted(found, key=lambda one: one.score):
        if one.box is None:
            continue
        colour = draw.colour(one.category if one.number is None else one.number)
        corners = np.clip(boxes.from_sizes(np.asarray(one.box, float)), -limit, limit)
        x1, y1, x2, y2 = np.round(corners).astype(int).tolist()
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA)
        number = "" if one.number is None else f" {one.number}"
        score = f" {one.score:.2f}" if one.score < 1 else ""
        text = f"{categories[one.category]}{number}{score}"
        _write(image, text, (x1, y1), colour)
        if one.joints is not None and one.joint_scores is not None:
            shown = one.joint_scores > poses.SURE
            poses.draw_onto(image, one.joints, shown, skeleton, one.number)
    return image


def _side(image: np.ndarray) -> int:
    """Returns the side that lines and letters go by: the longer one, but not of a panorama."""
    return min(max(image.shape[:2]), 2 * min(image.shape[:2]))


def _write(image: np.ndarray, text: str, corner: tuple[int, int], colour) -> None:
    """Writes into a filled box above a corner, or below it at the image's top."""
    scale = _side(image) / 1600 + 0.25
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x = max(corner[0], 0)
    y = max(corner[1], height + base)
    cv2.rectangle(image, (x, y - height - base), (x + width, y), colour, -1)
    ink = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
    place = (x, y - base // 2 - 1)
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 1, cv2.LINE_AA)


def draw_targets(
    image: UInt8[np.ndarray, "height width 3"],
    targets: Mapping[str, np.ndarray],
    heatmaps: Float[np.ndarray, "h w channels"],
    categories: Sequence[str],
    skeleton: Skeleton,
    stride: float,
) -> UInt8[np.ndarray, "newheight newwidth 3"]:
    """Returns the network's input twice: with boxes and joints, and below it with heatmaps."""
    image, affine = draw.enlarge(image)
    columns = [boxes.to_sizes(targets["boxes"] * stride), targets["categories"]]
    if skeleton.joints:
        columns += [targets["joints"] * stride - 0.5, targets["joint_mask"].astype(np.float32)]
    rows = zip(*(column[targets["mask"]] for column in columns), strict=True)
    found = [Instance(1.0, box, *others).mapped(affine) for box, *others in rows]
    above = draw_boxes(image, found, categories, skeleton)
    return np.concatenate([above, draw.overlay_heatmaps(image, heatmaps)])
