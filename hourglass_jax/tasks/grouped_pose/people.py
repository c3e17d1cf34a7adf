"""The people of an image: from grouped peaks to instances."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.image import draw, geometry
from hourglass_jax.image.geometry import Affine
from hourglass_jax.tasks.grouped_pose import grouping
from hourglass_jax.tasks.instance import Instance
from hourglass_jax.tasks.single_pose import drawing


class People(NamedTuple):
    """People in an image.

    Attributes:
      joints: x, y in px of the heatmap; of any value where not found.
      values: the heatmaps' values; 0 where not found.
      tags: tags of each joint; 0 where not found.
      found: whether a joint was grouped from a peak.
      scores: mean of the values over all joints, before any was filled in.
    """

    joints: Float[np.ndarray, "people joints 2"]
    values: Float[np.ndarray, "people joints"]
    tags: Float[np.ndarray, "people joints tags"]
    found: Int[np.ndarray, "people joints"]
    scores: Float[np.ndarray, " people"]


def gathered(
    candidates: Mapping[str, np.ndarray], members: Int[np.ndarray, "people joints"]
) -> People:
    """Returns the people whose peaks `grouping.group` has chosen among `heatmaps.peaks`."""
    found = members >= 0
    every = np.arange(members.shape[1])[None].repeat(len(members), 0)
    peak = every, np.where(found, members, 0)
    values = np.where(found, candidates["values"][peak], 0)
    return People(
        joints=candidates["cells"][peak] + candidates["steps"][peak].astype(np.float64),
        values=values,
        tags=np.where(found[..., None], candidates["tags"][peak], 0),
        found=found,
        scores=values.mean(-1) if len(values) else np.zeros(0, np.float32),
    )


def complete(
    people: People, candidates: Mapping[str, np.ndarray], decoder: str = "quarter"
) -> People:
    """Returns the people with their missing joints filled in where a heatmap is above 0.

    A filled joint's value is the heatmap's, so that low ones can be left out of drawings.
    """
    joints, values = people.joints.copy(), people.values.copy()
    for i, found in enumerate(people.found):
        missing = np.flatnonzero(~found)
        joints[i, missing], values[i, missing] = grouping.fill(
            candidates["heatmaps"],
            candidates["tag_maps"],
            people.tags[i, found],
            missing.tolist(),
            decoder,
        )
    return people._replace(joints=joints, values=values)


def instance(people: People, index: int, to_frame: Affine) -> Instance:
    """Returns a person, in a frame that px of the heatmap are mapped to.

    A joint without any evidence lies in the middle of the others, as published, with score 0. The
    box is the one around the joints.
    """
    joints, scores = geometry.apply(to_frame, people.joints[index]), people.values[index]
    known = joints[scores > 0]
    joints = np.where(scores[:, None] > 0, joints, known.mean(0)[None])
    corner = known.min(0)
    box = np.concatenate([corner, known.max(0) - corner + 1]) - [0.5, 0.5, 0, 0]
    return Instance(float(people.scores[index]), box, joints=joints, joint_scores=scores)


def draw_targets(
    image: UInt8[np.ndarray, "height width 3"],
    people: Sequence[Instance],
    heatmaps: Float[np.ndarray, "h w joints"],
    skeleton: Skeleton,
) -> UInt8[np.ndarray, "newheight newwidth 3"]:
    """Returns the network's input twice: with everybody's joints, and below it with heatmaps."""
    image, enlarged = draw.enlarge(image)
    above = drawing.draw_people(
        image, [one.mapped(enlarged) for one in people], skeleton, drawing.SURE
    )
    return np.concatenate([above, draw.overlay_heatmaps(image, heatmaps)])
