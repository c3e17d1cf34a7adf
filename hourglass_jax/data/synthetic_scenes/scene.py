"""Draws scenes of one to eight people who cover each other and are cut off by the border.

Every scene comes from `numpy.random.default_rng([seed, index])` alone, so that scenes can be drawn
separately and in any order, bit for bit the same.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from hourglass_jax.data.synthetic_people.drawing import is_inside, sample_light
from hourglass_jax.data.synthetic_people.scenery import (
    cover,
    draw_background,
    draw_obstacle,
    expose,
)
from hourglass_jax.data.synthetic_scenes.cutout import Cutout, joints_inside, lay, sample_cutout

MOST = 8  # people
SIDE = 280  # px of a square with as many pixels as a scene
STATURES = (0.15, 0.9)  # smallest and largest, in sides of that square
FEWEST_JOINTS = 3  # of a person inside the image
LEAST_SHOWN = 0.3  # of a person's pixels, after the border and all that is in front
WHOLE, BESIDE, OBSTACLE = 0.8, 0.3, 0.3  # how often
_TRIES = 30


class ScenePerson(NamedTuple):
    """An annotated person; px, 0-based, a pixel's index being its centre.

    A joint is labelled if it lies inside the image, and visible if it is labelled and not behind
    another part of the body, another person or an obstacle. `box` (x, y, width, height, from the
    image's corner) encloses the pixels that show the person, as COCO's boxes do, `head_box`
    (x1, y1, x2, y2) the skull.
    """

    joints: Float32[np.ndarray, "16 2"]
    labelled: Bool[np.ndarray, "16"]
    visible: Bool[np.ndarray, "16"]
    box: tuple[int, int, int, int]
    head_box: Float32[np.ndarray, "4"]


class Scene(NamedTuple):
    """An image and its people, the farthest first.

    `owner` says who shows at each pixel: i for `people[i - 1]`, 0 for anything else. Where somebody
    nearer shows at a joint that is not visible, that person covers it.
    """

    image: UInt8[np.ndarray, "height width 3"]
    people: list[ScenePerson]
    owner: UInt8[np.ndarray, "height width"]


def draw_scene(seed: int, index: int) -> Scene:
    """Draws scene `index` of the data set `seed`."""
    rng = np.random.default_rng([seed, index])
    aspect = np.exp(rng.uniform(np.log(2 / 3), np.log(3 / 2)) / 2)
    size = (round(SIDE * aspect), round(SIDE / aspect))
    low, high = np.log(STATURES)
    # The nearer somebody is, the larger.
    statures = SIDE * np.exp(np.sort(rng.uniform(low, high, rng.integers(1, MOST + 1))))
    pitch, light = rng.uniform(-4, 16), sample_light(rng)
    image = draw_background(rng, size[1], size[0])
    owner = np.zeros(size[::-1], np.uint8)
    obstacle_before = rng.integers(1, len(statures) + 1) if rng.random() < OBSTACLE else None
    placed: list[tuple[Cutout, tuple[int, int]]] = []
    for i, stature in enumerate(statures):
        cutout = sample_cutout(rng, stature, pitch, light)
        place = _place(rng, cutout, placed, owner)
        if place is not None:
            placed.append((cutout, place))
            lay(cutout, place, len(placed), owner, image)
        if i + 1 == obstacle_before:
            _add_obstacle(rng, image, owner, placed)
    people = [
        _annotated(cutout, place, owner, i) for i, (cutout, place) in enumerate(placed, start=1)
    ]
    return Scene(expose(rng, image), people, owner)


def _place(
    rng: np.random.Generator,
    cutout: Cutout,
    placed: list[tuple[Cutout, tuple[int, int]]],
    owner: UInt8[np.ndarray, "height width"],
) -> tuple[int, int] | None:
    """Returns where to lay a person, so that everybody still shows; None if no place is found."""
    size = np.array(owner.shape[::-1])
    mine, room = np.array(cutout.size), size - cutout.size
    for _ in range(_TRIES):
        if placed and rng.random() < BESIDE:
            other, corner = placed[rng.integers(len(placed))]
            feet = np.array(corner) + np.array(other.size) * [0.5, 1.0] - mine * [0.5, 1.0]
            side = rng.choice([-1, 1]) * rng.uniform(0.4, 1.1) * (mine[0] + other.size[0]) / 2
            corner = feet + np.array([side, rng.normal(0, 0.05) * mine[1]])
        elif rng.random() < WHOLE and (room > 0).all():
            corner = rng.uniform(0, 1, 2) * room
        else:
            corner = rng.uniform(0, 1, 2) * size - mine / 2
        x, y = np.round(corner).astype(int).tolist()
        if joints_inside(cutout, (x, y), (size[0], size[1])) < FEWEST_JOINTS:
            continue
        trial = owner.copy()
        lay(cutout, (x, y), len(placed) + 1, trial)
        if _everybody_shows([*placed, (cutout, (x, y))], trial):
            return x, y
    return None


def _everybody_shows(
    placed: list[tuple[Cutout, tuple[int, int]]], owner: UInt8[np.ndarray, "height width"]
) -> bool:
    shown = np.bincount(owner.ravel(), minlength=len(placed) + 1)[1:]
    painted = [np.count_nonzero(cutout.solid) for cutout, _ in placed]
    return bool((shown >= LEAST_SHOWN * np.array(painted)).all())


def _add_obstacle(rng, image, owner, placed) -> None:
    """Draws an obstacle that leaves something of everybody to see, in place."""
    for _ in range(_TRIES):
        centre = rng.uniform(0, 1, 2) * owner.shape[::-1]
        mask = draw_obstacle(rng, owner.shape, centre, rng.uniform(0.1, 0.35) * SIDE)
        left = np.where(mask >= 128, 0, owner)
        if _everybody_shows(placed, left):
            cover(rng, image, mask)
            owner[:] = left
            return


def _annotated(
    cutout: Cutout, place: tuple[int, int], owner: UInt8[np.ndarray, "height width"], number: int
) -> ScenePerson:
    height, width = owner.shape
    joints, skull = cutout.joints + place, cutout.skull + place
    labelled = is_inside(joints, height, width)
    column, row = np.round(joints).astype(int).clip(0, [width - 1, height - 1]).T
    rows, columns = np.nonzero(owner == number)
    left, top = int(columns.min()), int(rows.min())
    return ScenePerson(
        joints=joints.astype(np.float32),
        labelled=labelled,
        visible=labelled & cutout.turned_here & (owner[row, column] == number),
        box=(left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top),
        head_box=np.concatenate([skull.min(0), skull.max(0)]).astype(np.float32),
    )
