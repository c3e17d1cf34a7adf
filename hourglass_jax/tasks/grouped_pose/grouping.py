"""From peaks to people, in NumPy: joints with similar tags are one person's.

Newell, Huang and Deng, "Associative Embedding", NIPS 2017, section 3.3, as their program does it;
with "higher_hrnet" as Cheng et al., "HigherHRNet", CVPR 2020, do it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from hourglass_jax.tasks.grouped_pose import heatmaps as maps
from hourglass_jax.tasks.grouped_pose.options import HIGHER, NEWELL

# From the head down, as published; joints of other skeletons are put beside their neighbours.
_ORDER = (
    *("nose", "eye", "ear", "head_top", "upper_neck", "neck", "thorax", "shoulder"),
    *("pelvis", "hip", "elbow", "wrist", "knee", "ankle"),
)
_NEAR = 1.0  # tags that differ less are one person's
_NOBODY = 1e10  # cost of joining nobody


def order_of(joints: Sequence[str]) -> list[int]:
    """Returns the indices of joints in the order in which they are grouped."""
    parts = [joint.removeprefix("left_").removeprefix("right_") for joint in joints]
    ranks = [_ORDER.index(part) if part in _ORDER else len(_ORDER) for part in parts]
    return sorted(range(len(joints)), key=ranks.__getitem__)


@dataclasses.dataclass
class _Person:
    peaks: Int[np.ndarray, " joints"]  # -1 where there is none
    tags: list[Float[np.ndarray, " tags"]]


def group(
    values: Float[np.ndarray, "joints peaks"],
    tags: Float[np.ndarray, "joints peaks tags"],
    order: Sequence[int],
    *,
    limit: int = 30,
    threshold: float = 0.1,
    variant: str = NEWELL,
    published: bool = False,
) -> Int[np.ndarray, "people joints"]:
    """Assigns peaks to people, joint after joint.

    A peak joins the person whose mean tags are nearest, if they differ by less than 1, and else
    begins a person. Who gets which peak is decided for all peaks of a joint together, so that the
    sum of the distances, rounded to whole numbers, is smallest. Where there are more peaks than
    people, higher ones come first.

    Args:
      values: heatmaps' values of the peaks.
      tags: tags of the peaks.
      order: order of the joints.
      limit: number of people.
      threshold: value above which a peak is a joint.
      variant: "newell" passes over a joint once there are `limit` people, and measures the distance
        of tags by the root of the mean of squares; "higher_hrnet" then goes on with the first
        `limit`, and measures by the root of the sum.
      published: a peak that begins a person, and whose first tag equals that of the first peak of
        another person, replaces that person's joint and tags instead, as it does in both programs.

    Returns:
      The index of each person's peak of each joint, or -1, in the order in which they were begun.
    """
    people: list[_Person] = []
    by_tag: dict[float, _Person] = {}

    def begin(joint: int, peak: int) -> None:
        tag = tags[joint, peak]
        person = by_tag.get(float(tag[0])) if published else None
        if person is None:
            person = _Person(np.full(len(values), -1), [])
            by_tag[float(tag[0])] = person
            people.append(person)
        person.peaks[joint], person.tags = peak, [tag]

    for joint in order:
        peaks = np.flatnonzero(values[joint] > threshold)
        if not len(peaks) or (variant == NEWELL and len(people) >= limit):
            continue
        known, joined = people[:limit], {}
        if known:
            means = np.array([np.mean(person.tags, axis=0) for person in known])
            squares = (tags[joint, peaks][:, None] - means[None]) ** 2
            distance = np.sqrt(squares.sum(-1) if variant == HIGHER else squares.mean(-1))
            cost = np.round(distance) * 100 - values[joint, peaks, None]
            nobody = max(len(peaks) - len(known), 0)
            cost = np.pad(cost, ((0, 0), (0, nobody)), constant_values=_NOBODY)
            joined = {
                int(row): known[column]
                for row, column in zip(*linear_sum_assignment(cost), strict=True)
                if column < len(known) and distance[row, column] < _NEAR
            }
        for row, peak in enumerate(peaks.tolist()):
            if row in joined:
                joined[row].peaks[joint] = peak
                joined[row].tags.append(tags[joint, peak])
            else:
                begin(joint, peak)
    return np.array([person.peaks for person in people], int).reshape(-1, len(values))


def fill(
    heatmaps: Float[np.ndarray, "h w joints"],
    tag_maps: Float[np.ndarray, "h w tags joints"],
    tags: Float[np.ndarray, "joints tags"],
    missing: Sequence[int],
    decoder: str = "quarter",
) -> tuple[Float[np.ndarray, "missing 2"], Float[np.ndarray, " missing"]]:
    """Finds a person's missing joints, where heatmap - round(distance of the tags) is highest.

    Args:
      heatmaps: heatmaps of the image.
      tag_maps: tags of the image.
      tags: tags of the person's other joints.
      missing: joints to find.
      decoder: method of `heatmaps.steps`.

    Returns:
      x, y in px of the heatmap, and the heatmaps' values, at least 0.
    """
    mean, width = tags.mean(0), heatmaps.shape[1]
    places, values = np.zeros((len(missing), 2)), np.zeros(len(missing), np.float32)
    for i, joint in enumerate(missing):
        distance = np.sqrt(((tag_maps[..., joint] - mean[None, None]) ** 2).sum(-1))
        y, x = divmod(int((heatmaps[..., joint] - np.round(distance)).argmax()), width)
        steps = maps.steps(heatmaps, np.array(x), np.array(y), np.array(joint), decoder)
        places[i], values[i] = np.array([x, y]) + steps, max(heatmaps[y, x, joint], 0)
    return places, values
