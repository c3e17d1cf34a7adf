"""How alike two poses are, by COCO's object keypoint similarity (OKS)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from hourglass_jax.inference.found import Poses
from hourglass_jax.tasks.detection.precision import PERSON_IN_BOX, sigmas
from hourglass_jax.tasks.single_pose.drawing import SURE

# Poses that are as alike as this show the same person. Of people who stand behind one another they
# are less alike, as long as some joints are apart.
SAME = 0.7


def oks(first: Poses, second: Poses) -> Float[np.ndarray, "m n"]:
    """Returns the similarity of each pose to each other one, from 0 to 1.

    It is the mean of exp(-d^2 / (2 area (2 sigma)^2)) over the joints that are confident in both
    poses, where d is the distance of a joint, and 0 without such joints. The area is the mean of
    both people's, estimated from their boxes.
    """
    spread = (2 * sigmas(first.names)) ** 2
    squared = ((first.joints[:, None] - second.joints[None]) ** 2).sum(-1)
    areas = [PERSON_IN_BOX * poses.boxes[:, 2:].prod(-1) for poses in (first, second)]
    area = np.maximum((areas[0][:, None] + areas[1][None]) / 2, 1.0)
    alike = np.exp(-squared / (2 * area[..., None] * spread.reshape(1, 1, -1)))
    sure = (first.scores > SURE)[:, None] & (second.scores > SURE)[None]
    return (alike * sure).sum(-1) / np.maximum(sure.sum(-1), 1)


def agreement(earlier: Sequence[Poses], last: Poses) -> Float[np.ndarray, " people"]:
    """Returns the mean similarity of each person's poses after earlier stacks to the last one.

    It is 1 where there is no earlier stack.
    """
    alike = [np.diagonal(oks(poses, last)) for poses in earlier]
    return np.mean(alike, axis=0) if alike else np.ones(len(last.joints))


def distinct(poses: Poses) -> Poses:
    """Returns the poses of one image, the best first, without those of people shown before."""
    order = np.argsort([-score for score in poses.person_scores], kind="stable")
    alike = oks(poses, poses)
    kept: list[int] = []
    for i in order.tolist():
        if not kept or alike[i, kept].max() < SAME:
            kept.append(i)
    return poses[kept]
