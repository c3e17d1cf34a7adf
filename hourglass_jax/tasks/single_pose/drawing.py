"""Drawing of skeletons and heatmaps. Left limbs are blue, right limbs orange, others green.

Limbs of people who have a number in a video have one colour each.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.image import draw, geometry
from hourglass_jax.tasks.instance import Instance
from hourglass_jax.tasks.single_pose import heatmap

LEFT, RIGHT, MIDDLE = (64, 156, 255), (255, 140, 26), (80, 220, 100)
# Joints with a lower score than `SURE` are not there. With one below `LIKELY` they are more often
# wrong than right (both networks of poses in the package, on Image Parse), and are not drawn.
SURE, LIKELY = 0.1, 0.4
# Fractional bits of coordinates for OpenCV: sixteenths of a pixel.
_SHIFT = 4


def draw_skeleton(
    image: UInt8[np.ndarray, "height width 3"],
    joints: Float[np.ndarray, "joints 2"],
    shown: Bool[np.ndarray, " joints"],
    skeleton: Skeleton,
) -> UInt8[np.ndarray, "height width 3"]:
    """Returns a copy of the image with joints drawn; see `draw_onto`."""
    image = np.array(image, order="C")
    draw_onto(image, joints, shown, skeleton)
    return image


def draw_people(
    image: UInt8[np.ndarray, "height width 3"],
    found: Sequence[Instance],
    skeleton: Skeleton,
    least: float = LIKELY,
) -> UInt8[np.ndarray, "height width 3"]:
    """Returns a copy of the image with the joints of people whose score is above `least`."""
    image = np.array(image, order="C")  # one copy for all people
    for person in found:
        assert person.joints is not None and person.joint_scores is not None
        draw_onto(image, person.joints, person.joint_scores > least, skeleton, person.number)
    return image


def draw_onto(
    image: UInt8[np.ndarray, "height width 3"],
    joints: Float[np.ndarray, "joints 2"],
    shown: Bool[np.ndarray, " joints"],
    skeleton: Skeleton,
    number: int | None = None,
) -> None:
    """Draws joints, and the limbs between them, into an image.

    Args:
      image: RGB image, contiguous and writable.
      joints: x, y in px of the image.
      shown: joints to draw; a limb is drawn if both of its ends are.
      skeleton: names of the joints, and limbs.
      number: number of the person, for the limbs' colour; None for colours by side.
    """
    # OpenCV's line drawing overflows far outside the image.
    limit = 4 * max(image.shape)
    places = np.clip(np.nan_to_num(joints), -limit, limit)
    points = [tuple(p) for p in np.round(places * 2**_SHIFT).astype(int).tolist()]
    size = np.ptp(places[shown], axis=0).max() if shown.any() else 0
    width = max(round(min(max(image.shape) / 160, size / 30)), 1)  # thin on small people
    for a, b in skeleton.limbs:
        i, j = skeleton.index(a), skeleton.index(b)
        if shown[i] and shown[j]:
            colour = limb_colour(a, b) if number is None else draw.colour(number)
            cv2.line(image, points[i], points[j], colour, width, cv2.LINE_AA, _SHIFT)
    for i in np.flatnonzero(shown):
        radius, colour = (width + 1) * 2**_SHIFT, joint_colour(skeleton.joints[i])
        cv2.circle(image, points[i], radius, colour, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(image, points[i], radius, (20, 20, 20), 1, cv2.LINE_AA, _SHIFT)


def joint_colour(joint: str) -> tuple[int, int, int]:
    """Returns the RGB colour of a joint of this name."""
    return LEFT if joint.startswith("left") else RIGHT if joint.startswith("right") else MIDDLE


def limb_colour(first: str, second: str) -> tuple[int, int, int]:
    """Returns the RGB colour of the limb between two joints."""
    return joint_colour(first if joint_colour(second) == MIDDLE else second)


def draw_targets(
    image: UInt8[np.ndarray, "height width 3"],
    heatmaps: Float[np.ndarray, "h w joints"],
    skeleton: Skeleton,
    stride: int,
) -> UInt8[np.ndarray, "newheight newwidth 3"]:
    """Returns the network's input twice: with joints, and below it with heatmaps.

    The joints are decoded from the heatmaps, so that the drawing shows the actual targets.
    """
    joints_heatmap, _ = heatmap.decode(heatmaps, "refined")
    joints_input = geometry.heatmap_to_crop(np.asarray(joints_heatmap), stride)
    image, enlarged = draw.enlarge(image)
    shown = heatmaps.max((0, 1)) > 0
    above = draw_skeleton(image, geometry.apply(enlarged, joints_input), shown, skeleton)
    return np.concatenate([above, draw.overlay_heatmaps(image, heatmaps)])
