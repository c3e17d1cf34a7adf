"""Draws people in scenes, as images with MPII's sixteen joints.

Every image comes from `numpy.random.default_rng([seed, index])` alone, so that images can be drawn
separately and in any order, bit for bit the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from hourglass_jax.data.synthetic_people.body import (
    ACTIVITIES,
    HEAD_TOP,
    LEFT,
    RIGHT,
    THORAX,
    UPPER_NECK,
    Part,
    articulate,
    rotation_x,
    rotation_y,
    rotation_z,
    sample_build,
    sample_pose,
)
from hourglass_jax.data.synthetic_people.figure import dress
from hourglass_jax.data.synthetic_people.head import measure_skull
from hourglass_jax.data.synthetic_people.mesh import Layer, Mesh, overlay, paint, probe, unit
from hourglass_jax.data.synthetic_people.outfit import sample_outfit
from hourglass_jax.data.synthetic_people.scenery import (
    draw_background,
    draw_occluder,
    expose,
)

FACINGS = {  # how often, mean yaw and its range to either side in degrees
    "camera": (0.40, 0, 25),
    "away": (0.30, 180, 25),
    "left": (0.15, -90, 30),
    "right": (0.15, 90, 30),
}
STANDING = ("standing", "at_ease")
LYING, NEIGHBOUR, OCCLUDER, TRUNCATED = 0.1, 0.25, 0.25, 1 / 6  # how often

# The parts whose surface shows a joint, joint by joint in MPII's order.
JOINT_PARTS = (
    (Part.RIGHT_SHANK,),
    (Part.RIGHT_THIGH, Part.RIGHT_SHANK, Part.SKIRT),
    (Part.RIGHT_THIGH, Part.TORSO, Part.SKIRT),
    (Part.LEFT_THIGH, Part.TORSO, Part.SKIRT),
    (Part.LEFT_THIGH, Part.LEFT_SHANK, Part.SKIRT),
    (Part.LEFT_SHANK,),
    (Part.TORSO, Part.RIGHT_THIGH, Part.LEFT_THIGH, Part.SKIRT),
    (Part.TORSO, Part.HEAD),
    (Part.TORSO, Part.HEAD),
    (Part.HEAD,),
    (Part.RIGHT_FOREARM,),
    (Part.RIGHT_UPPER_ARM, Part.RIGHT_FOREARM),
    (Part.RIGHT_UPPER_ARM, Part.TORSO),
    (Part.LEFT_UPPER_ARM, Part.TORSO),
    (Part.LEFT_UPPER_ARM, Part.LEFT_FOREARM),
    (Part.LEFT_FOREARM,),
)
FLESH = 0.115  # statures: a joint deeper than this under a surface is behind the body
HEAD_AND_SHOULDERS = [THORAX, UPPER_NECK, HEAD_TOP, RIGHT.arm[0], LEFT.arm[0]]


class Person(NamedTuple):
    """An image with one annotated person.

    `joints` are x, y in px, 0-based, a pixel's index being its centre; plausible also where not
    labelled. A joint is labelled if it lies inside the image, and visible if it is labelled and
    not behind another part of the body, an occluder or the neighbour. `head_box` is
    (x1, y1, x2, y2) around the skull. `facing` is where the person would look if upright.
    """

    image: UInt8[np.ndarray, "height width 3"]
    joints: Float32[np.ndarray, "16 2"]
    labelled: Bool[np.ndarray, "16"]
    visible: Bool[np.ndarray, "16"]
    head_box: Float32[np.ndarray, "4"]
    facing: str
    lying: bool
    has_neighbour: bool
    has_occluder: bool
    truncated: bool


class Plan(NamedTuple):
    """The content of an image, before anything is drawn."""

    facing: str
    yaw: float  # degrees: 0 looks at the camera, 90 to the image's right
    pitch: float  # degrees by which the camera looks down
    tilt: float  # degrees in the image plane, 0 upright
    lying: bool
    has_neighbour: bool
    has_occluder: bool
    truncated: bool


class Figure(NamedTuple):
    """A body seen by the camera, in statures: x right, y down, z to the viewer."""

    joints: Float[np.ndarray, "16 3"]
    mesh: Mesh
    skull: Float[np.ndarray, "corners 3"]

    def move(self, scale: float, offset) -> "Figure":
        """Returns the figure scaled to px and shifted by `offset` (x, y) px."""
        shift = np.array([*offset, 0.0])
        mesh = self.mesh._replace(corners=self.mesh.corners * scale + shift)
        return Figure(self.joints * scale + shift, mesh, self.skull * scale + shift)

    def box(self) -> Float[np.ndarray, "2 2"]:
        """Returns the least and the greatest x, y of the drawn body."""
        points = self.mesh.corners[..., :2].reshape(-1, 2)
        return np.stack([points.min(0), points.max(0)])


def sample_plan(rng: np.random.Generator) -> Plan:
    """Draws the content of an image, in the data set's proportions."""
    facing = list(FACINGS)[rng.choice(len(FACINGS), p=[share for share, _, _ in FACINGS.values()])]
    _, yaw, spread = FACINGS[facing]
    lying = bool(rng.random() < LYING)
    tilt = rng.choice([-1, 1]) * rng.uniform(70, 180) if lying else rng.triangular(-40, 0, 40)
    return Plan(
        facing=facing,
        yaw=yaw + rng.uniform(-spread, spread),
        pitch=rng.uniform(-4, 16),
        tilt=float(tilt),
        lying=lying,
        has_neighbour=bool(rng.random() < NEIGHBOUR),
        has_occluder=bool(rng.random() < OCCLUDER),
        truncated=bool(rng.random() < TRUNCATED),
    )


def _sample_figure(
    rng: np.random.Generator,
    yaw: float,
    pitch: float,
    tilt: float,
    activities: Sequence[str] = tuple(ACTIVITIES),
) -> Figure:
    build, pose, outfit = sample_build(rng), sample_pose(rng, activities), sample_outfit(rng)
    skeleton = articulate(build, pose)
    skull = measure_skull(skeleton, build)
    mesh = dress(skeleton, build, pose, skull, outfit)
    # In images y points down.
    camera = np.diag([1, -1, 1]) @ rotation_z(tilt) @ rotation_x(pitch) @ rotation_y(yaw)
    head = skull.shell(outfit.skin, skull.profile).corners.reshape(-1, 3)
    return Figure(
        skeleton.joints @ camera.T,
        mesh._replace(corners=mesh.corners @ camera.T),
        head @ camera.T,
    )


def sample_planned(rng: np.random.Generator, plan: Plan) -> Figure:
    """Draws the person of a plan."""
    # People seen from the side stand: legs that move would show their side by depth alone.
    activities = STANDING if plan.facing in ("left", "right") else tuple(ACTIVITIES)
    return _sample_figure(rng, plan.yaw, plan.pitch, plan.tilt, activities)


def is_inside(
    points: Float[np.ndarray, "points 2"], height: int, width: int
) -> Bool[np.ndarray, " points"]:
    """Returns which points lie in the image."""
    inside = (points > -0.5) & (points < [width - 0.5, height - 0.5])
    return inside[:, 0] & inside[:, 1]


def _frame(
    rng: np.random.Generator, figure: Figure, height: int, width: int
) -> tuple[Figure, float]:
    """Places a figure near the middle of the image; returns it and its stature in px."""
    low, high = figure.box()
    size = np.maximum(high - low, 0.75)  # people who crouch do not fill the image
    share = rng.uniform(0.56, 0.84)
    scale = share * min(height / size[1], width / size[0])
    free = (np.array([width, height]) - scale * (high - low)) / 2 - 2
    jitter = rng.uniform(-1, 1, 2) * np.minimum(free, 0.08 * height)
    middle = np.array([width, height]) / 2 + jitter
    return figure.move(scale, middle - scale * (low + high) / 2), scale


def _truncate(
    rng: np.random.Generator, figure: Figure, scale: float, height: int, width: int
) -> tuple[Figure, float]:
    """Moves a figure, mostly feet first, until the border cuts off a part of it."""
    size = np.array([width, height])
    feet = figure.joints[[0, 5], :2].mean(0) - figure.joints[HEAD_TOP, :2]
    for _ in range(100):
        closer = rng.uniform(1.0, 1.4)
        shift = 0.25 * feet / np.linalg.norm(feet) + rng.normal(0, 0.2, 2)
        offset = size * (shift + (1 - closer) / 2)
        joints, skull = (
            is_inside(points[:, :2] * closer + offset, height, width)
            for points in (figure.joints, figure.skull)
        )
        if skull.all() and joints[HEAD_AND_SHOULDERS].all() and 11 <= joints.sum() < 16:
            return figure.move(closer, offset), scale * closer
    return figure, scale


def _add_neighbour(
    rng: np.random.Generator, plan: Plan, figure: Figure, scale: float, size: tuple[int, int]
) -> Figure:
    """Returns another person beside the figure, on the side with more room; boxes may overlap.

    `size` is the image's width and height.
    """
    other = _sample_figure(rng, rng.uniform(0, 360), plan.pitch, rng.normal(0, 10))
    other = other.move(scale * rng.uniform(0.75, 1.0), (0, 0))
    (low, high), (other_low, other_high) = figure.box(), other.box()
    # The middle of a body that is cut off may lie outside the image.
    middle = ((low + high) / 2).clip(0.25 * np.array(size), 0.75 * np.array(size))
    shift = middle - (other_low + other_high) / 2 + rng.uniform(-0.08, 0.08, 2) * scale
    axis = int(np.argmin(high - low))  # beside, not in line with the body
    before, after = low[axis], size[axis] - high[axis]
    overlap = rng.uniform(0.0, 0.35) * min((high - low)[axis], (other_high - other_low)[axis])
    overlap = max(overlap, 0.15 * scale - max(before, after))  # enough of it is in the image
    if after > before:
        shift[axis] = high[axis] - overlap - other_low[axis]
    else:
        shift[axis] = low[axis] + overlap - other_high[axis]
    return other.move(1, shift)


def sample_light(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """Draws the direction to the light, which mostly comes from above."""
    return unit(np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.1), rng.uniform(0.3, 1)]))


def own_visible(figure: Figure, layer: Layer, scale: float) -> Bool[np.ndarray, "16"]:
    """Returns which joints lie under their own part of the body; none outside the image."""
    part, depth = probe(layer, figure.joints[:, :2])
    own = np.array([part[i] in parts for i, parts in enumerate(JOINT_PARTS)])
    return own & (depth - figure.joints[:, 2] < FLESH * scale)


def draw_person(seed: int, index: int) -> Person:
    """Draws image `index` of the data set `seed`."""
    rng = np.random.default_rng([seed, index])
    plan = sample_plan(rng)
    height, width = rng.integers(224, 289, 2)
    figure = sample_planned(rng, plan)
    figure, scale = _frame(rng, figure, height, width)
    if plan.truncated:
        figure, scale = _truncate(rng, figure, scale, height, width)
    points, skull = figure.joints[:, :2], figure.skull[:, :2]
    head_box = np.concatenate([skull.min(0), skull.max(0)])
    labelled = is_inside(points, height, width)

    light = sample_light(rng)
    image = draw_background(rng, height, width)
    layers = [paint(figure.mesh, scale, light, (height, width))]
    visible = own_visible(figure, layers[0], scale)
    if plan.has_neighbour:
        other = _add_neighbour(rng, plan, figure, scale, (width, height))
        layer = paint(other.mesh, scale, light, (height, width))
        hidden = probe(layer, points)[0] != Part.NOTHING
        # A neighbour in front must not hide which person is annotated.
        if hidden.sum() <= 3 and not hidden[[UPPER_NECK, HEAD_TOP]].any() and rng.random() < 0.5:
            layers.append(layer)
            visible &= ~hidden
        else:
            layers.insert(0, layer)
    for layer in layers:
        overlay(image, layer)
    if plan.has_occluder:
        face = (head_box[:2] + head_box[2:]) / 2
        visible &= ~draw_occluder(rng, image, points, np.stack([points[UPPER_NECK], face]), scale)
    return Person(
        image=expose(rng, image),
        joints=points.astype(np.float32),
        labelled=labelled,
        visible=visible,
        head_box=head_box.astype(np.float32),
        facing=plan.facing,
        lying=plan.lying,
        has_neighbour=plan.has_neighbour,
        has_occluder=plan.has_occluder,
        truncated=not labelled.all(),
    )
