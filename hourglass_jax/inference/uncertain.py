"""Which frames are worth labelling next: where a network is least sure, and apart from one another.

The confidence in a person is a product of three numbers from 0 to 1: the score of the pose (least
confidence: Lewis and Gale, SIGIR 1994), the agreement of the stacks, which refine one another's
poses (their mean similarity to the last, as in query by committee: Seung et al., COLT 1992), and
in videos the similarity to the mean of the same person's poses one frame before and after. The
last one tells jumps, as DeepLabCut's extraction of outlier frames does (Nath et al., Nature
Protocols 2019), and is 1 for steady motion. Similarity is COCO's object keypoint similarity, and
that of boxes is their IoU. The uncertainty of a frame is 1 minus the lowest confidence in it.

Frames are chosen one by one, each the one with the largest product of its uncertainty and its
distance to the nearest frame chosen before: farthest-first traversal (Gonzalez 1985; for active
learning, Sener and Savarese, ICLR 2018), weighted by the uncertainty.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from hourglass_jax.inference.entries import Entries
from hourglass_jax.inference.found import Poses
from hourglass_jax.inference.similarity import oks
from hourglass_jax.tasks.detection import boxes as rectangles

# Frames of one video that are chosen are more than this many frames apart.
APART = 5
# Side of the thumbnails that are compared, px.
_SIDE = 16


class Signs(NamedTuple):
    """What speaks for the least certain person in a frame, each from 0 to 1.

    Attributes:
      score: score of the pose, or of the box; 0 for somebody who is missing between two frames.
      stacks: agreement of the stacks; 1 if they were not compared.
      time: similarity to the frames before and after; 1 if they do not show the person.
    """

    score: float
    stacks: float = 1.0
    time: float = 1.0

    @property
    def uncertainty(self) -> float:
        return 1 - self.score * self.stacks * self.time


# Whether somebody was missed where nobody is found is not known.
NOBODY = Signs(0.5)


def signs(frames: Sequence[Entries], joints: Sequence[str]) -> list[Signs]:
    """Returns the signs of each frame of a video, or of an image as the only frame.

    Args:
      frames: what was found in each frame. Those without `track_id` are the same people in every
        frame, in the same order.
      joints: names of the joints; none for boxes.
    """
    by_number = [
        {entry.get("track_id", i): entry for i, entry in enumerate(entries)} for entries in frames
    ]
    last_seen = {number: i for i, found in enumerate(by_number) for number in found}
    nothing: dict[Any, dict[str, Any]] = {}
    current: set[Any] = set()  # those who were seen, and will be seen again or are there
    each = []
    for i, now in enumerate(by_number):
        before = by_number[i - 1] if i else nothing
        after = by_number[i + 1] if i + 1 < len(by_number) else nothing
        steady = [number for number in now if number in before and number in after]
        alike = dict(zip(steady, _likeness(steady, before, now, after, joints), strict=True))
        people = [
            Signs(min(entry["score"], 1.0), entry.get("agreement", 1.0), alike.get(number, 1.0))
            for number, entry in now.items()
        ]
        current = {number for number in current | set(now) if last_seen[number] >= i}
        people += [Signs(0.0) for _ in current - set(now)]
        each.append(max(people, key=lambda person: person.uncertainty, default=NOBODY))
    return each


def _likeness(
    numbers: Sequence[Any], before: Any, now: Any, after: Any, joints: Sequence[str]
) -> list[float]:
    """Returns the likeness of people to the mean of the frames before and after."""
    if not numbers:
        return []
    first, found, last = (
        _poses([frame[number] for number in numbers], joints) for frame in (before, now, after)
    )
    expected = Poses(
        (first.joints + last.joints) / 2,
        np.minimum(first.scores, last.scores),
        found.names,
        (first.boxes + last.boxes) / 2,
    )
    if joints:
        return np.diagonal(oks(found, expected)).tolist()
    sides = [rectangles.from_sizes(poses.boxes) for poses in (found, expected)]
    return np.diagonal(rectangles.iou(*sides)).tolist()


def _poses(entries: Sequence[dict[str, Any]], joints: Sequence[str]) -> Poses:
    tables = [np.reshape(entry.get("keypoints", ()), (-1, 3)) for entry in entries]
    table = np.array(tables, float).reshape(len(entries), len(joints), 3)
    sides = np.array([entry["bbox"] for entry in entries], float)
    return Poses(table[..., :2], table[..., 2], tuple(joints), sides)


def candidates(uncertainty: Sequence[Sequence[float]], largest: int) -> list[tuple[int, int]]:
    """Returns (video, frame) of the most uncertain frames, those of one video `APART`.

    Args:
      uncertainty: of each frame of each video; an image is a video of one frame.
      largest: largest number of candidates.
    """
    numbered = [(-u, i, j) for i, video in enumerate(uncertainty) for j, u in enumerate(video)]
    taken: set[tuple[int, int]] = set()
    kept: list[tuple[int, int]] = []
    for _, video, frame in sorted(numbered):
        if len(kept) == largest:
            break
        if (video, frame) not in taken:
            kept.append((video, frame))
            taken.update((video, frame + step) for step in range(-APART, APART + 1))
    return kept


def thumbnail(image: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, " values"]:
    """Returns what frames are compared by: the image in 16 x 16 px, in [0, 1]."""
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return small.ravel().astype(np.float32) / 255


def choose(
    uncertainty: Float[np.ndarray, " frames"],
    thumbnails: Float[np.ndarray, "frames values"],
    count: int,
) -> list[int]:
    """Returns the frames to label, the first one first.

    They are fewer than `count` if all others are certain, or look exactly like one of them.
    """
    chosen: list[int] = []
    nearest = np.ones(len(uncertainty))
    while len(chosen) < min(count, len(uncertainty)):
        gain = uncertainty * nearest
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        distance = np.sqrt(((thumbnails - thumbnails[best]) ** 2).mean(-1))
        nearest = np.minimum(nearest, distance) if chosen else distance
        chosen.append(best)
    return chosen
