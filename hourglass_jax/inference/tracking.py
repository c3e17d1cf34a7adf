"""Numbers of people and objects in a video, the same from frame to frame; smoothing of joints.

Both are computed from the entries of the earlier frames, in their order, so that a command that
was stopped gives the same numbers from its journal.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from hourglass_jax.inference.found import Poses
from hourglass_jax.inference.similarity import oks
from hourglass_jax.tasks.detection import boxes
from hourglass_jax.tasks.single_pose.drawing import SURE

# Number of frames for which a missing person is remembered.
MEMORY = 15
# Smallest likeness to somebody of the frames before.
_LEAST = 0.1
# Cut-off frequencies of the One Euro filter, per frame, of joints at rest and of their speeds, and
# what a speed of one box per frame adds.
_AT_REST, _OF_SPEED, _PER_SPEED = 0.04, 0.04, 15.0


@dataclasses.dataclass(eq=False)
class _Track:
    """Somebody in the frames before: the last entry, and where the joints were.

    Attributes:
      number: number in results and drawings.
      category: category in results.
      box: x, y, width, height.
      joints: joints as found, and their scores.
      velocity: px per frame of the box's centre.
      missed: frames since the last entry.
      filter: filter of the joints.
    """

    number: int
    category: int
    box: Float[np.ndarray, "4"]
    joints: Float[np.ndarray, "joints 2"]
    scores: Float[np.ndarray, " joints"]
    filter: "OneEuro"
    velocity: Float[np.ndarray, "2"] = dataclasses.field(default_factory=lambda: np.zeros(2))
    missed: int = 0

    def move(self, other: "_Track") -> None:
        """Takes up where the same person is now."""
        step = (other.box - self.box)[:2] + (other.box - self.box)[2:] / 2
        self.velocity = (self.velocity + step / (self.missed + 1)) / 2
        self.box, self.joints, self.scores, self.missed = other.box, other.joints, other.scores, 0


class Tracker:
    """Numbers the people or objects of a video: `tracker(entries)` for one frame after another.

    Entries are assigned to those of the frames before so that the sum of their likeness is largest:
    the mean of the boxes' IoU and, for people with joints, of the object keypoint similarity.
    Everybody is expected to go on with the same velocity. Objects keep their category.
    """

    def __init__(self, joints: Sequence[str], *, smooth: bool = False):
        """Makes a tracker for one video.

        Args:
          joints: names of the joints in entries; may be empty.
          smooth: whether to smooth joints over time.
        """
        self._joints, self._smooth = tuple(joints), smooth
        self._tracks: list[_Track] = []
        self._count = 0

    def __call__(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns a frame's entries with `track_id`, and with smoothed joints if requested."""
        from scipy.optimize import linear_sum_assignment  # slow to import; images do without

        now = [self._track(entry) for entry in entries]
        numbered: list[_Track | None] = [None] * len(now)
        alike = self._likeness(self._tracks, now)
        for i, j in zip(*linear_sum_assignment(-alike), strict=True):
            if alike[i, j] > _LEAST:
                numbered[j] = self._tracks[i]
        lost = [track for track in self._tracks if track not in numbered]
        found, tracks = [], []
        for entry, new, track in zip(entries, now, numbered, strict=True):
            elapsed = 1
            if track is None:
                track = dataclasses.replace(new, number=self._count)
                self._count += 1
            else:
                elapsed += track.missed
                track.move(new)
            entry = {**entry, "track_id": track.number}
            tracks.append(track)
            if self._smooth and self._joints:
                size = float(track.box[2:].max())
                joints = track.filter(track.joints, track.scores > SURE, size, elapsed)
                table = np.concatenate([joints, track.scores[:, None]], axis=1)
                entry["keypoints"] = np.round(table.ravel(), 4).tolist()
            found.append(entry)
        for track in lost:
            track.missed += 1
        self._tracks = tracks + [track for track in lost if track.missed <= MEMORY]
        return found

    def _track(self, entry: dict[str, Any]) -> _Track:
        table = np.reshape(entry.get("keypoints", ()), (-1, 3))
        box = np.array(entry["bbox"], float)
        category = entry["category_id"]
        return _Track(-1, category, box, table[:, :2], table[:, 2], OneEuro())

    def _likeness(
        self, before: Sequence[_Track], now: Sequence[_Track]
    ) -> Float[np.ndarray, "before now"]:
        if not before or not now:
            return np.zeros((len(before), len(now)))
        shifts = np.array([track.velocity * (track.missed + 1) for track in before])
        expected, found = self._poses(before, shifts), self._poses(now, np.zeros((len(now), 2)))
        sides = [boxes.from_sizes(poses.boxes) for poses in (expected, found)]
        alike = boxes.iou(*sides)
        if self._joints:
            alike = (alike + oks(expected, found)) / 2
        categories = [np.array([track.category for track in tracks]) for tracks in (before, now)]
        return np.where(categories[0][:, None] == categories[1][None], alike, 0.0)

    def _poses(self, tracks: Sequence[_Track], shifts: Float[np.ndarray, "tracks 2"]) -> Poses:
        joints = np.array([track.joints for track in tracks]) + shifts[:, None]
        sides = np.array([track.box for track in tracks])
        sides[:, :2] += shifts
        scores = np.array([track.scores for track in tracks])
        return Poses(joints, scores, self._joints, sides)


class OneEuro:
    """The One Euro filter (Casiez, Roussel and Vogel, CHI 2012) of a person's joints.

    A low-pass filter whose cut-off frequency rises with the speed: joints at rest do not tremble,
    and those that move do not lag. Speeds are measured in boxes per frame, so that the size of a
    person in the image does not matter.
    """

    def __init__(self):
        self._joints: np.ndarray | None = None

    def __call__(
        self,
        joints: Float[np.ndarray, "joints 2"],
        sure: Bool[np.ndarray, " joints"],
        size: float,
        elapsed: int = 1,
    ) -> Float[np.ndarray, "joints 2"]:
        """Returns the joints of the next frame, smoothed.

        Args:
          joints: joints as found, px.
          sure: joints that are confident; others are returned as they are, and begin again.
          size: side of the person's box, px.
          elapsed: frames since the last call.
        """
        if self._joints is None:
            self._joints, self._speeds, self._sure = joints, np.zeros_like(joints), sure
            return joints
        both = (sure & self._sure)[:, None]
        speeds = (joints - self._joints) / (elapsed * max(size, 1.0))
        share = _share(np.array(_OF_SPEED), elapsed)
        speeds = np.where(both, share * speeds + (1 - share) * self._speeds, 0.0)
        speed = np.linalg.norm(speeds, axis=-1, keepdims=True)
        share = np.where(both, _share(_AT_REST + _PER_SPEED * speed, elapsed), 1.0)
        self._joints = share * joints + (1 - share) * self._joints
        self._speeds, self._sure = speeds, sure
        return self._joints


def _share(cutoff: Float[np.ndarray, "..."], elapsed: int) -> Float[np.ndarray, "..."]:
    """Returns the share of a new value in that of a low-pass filter."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * elapsed))
