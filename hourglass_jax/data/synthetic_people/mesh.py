"""Coloured surfaces made of four-cornered faces, and the painter that draws them."""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, Int32, UInt8

from hourglass_jax.data.synthetic_people.body import Part

SUPERSAMPLING = 2
FRACTION_BITS = 4  # of the corners handed to OpenCV
DECAL_BIAS = 0.05  # how far a decal is drawn before its true depth, in units of the mesh


class Mesh(NamedTuple):
    """A surface: faces with their corners, colours (RGB, 0 to 255) and body parts."""

    corners: Float[np.ndarray, "faces 4 3"]
    colour: Float[np.ndarray, "faces 3"]
    part: Int[np.ndarray, " faces"]
    bias: Float[np.ndarray, " faces"]  # added to the depth when faces are sorted


class Layer(NamedTuple):
    """A drawn mesh; colours are multiplied by their coverage (alpha), `face` is supersampled."""

    rgba: UInt8[np.ndarray, "height width 4"]
    face: Int32[np.ndarray, "fine_height fine_width"]  # the face on top; 0 where there is none
    part: UInt8[np.ndarray, " faces+1"]
    depth: Float[np.ndarray, " faces+1"]  # px, larger is nearer


def unit(vector: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Returns the vector scaled to length one."""
    return vector / np.sqrt(vector @ vector)


def cross(a: Float[np.ndarray, "3"], b: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Returns the cross product; many times faster on single vectors than NumPy's."""
    (a0, a1, a2), (b0, b1, b2) = a.tolist(), b.tolist()
    return np.array([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0])


def select(mesh: Mesh, faces) -> Mesh:
    """Returns some of a mesh's faces, by mask or by index."""
    return Mesh(*(field[faces] for field in mesh))


def join(meshes: list[Mesh]) -> Mesh:
    """Returns one mesh of all the faces."""
    return Mesh(*map(np.concatenate, zip(*meshes, strict=True)))


def tube(
    start: Float[np.ndarray, "3"],
    end: Float[np.ndarray, "3"],
    profile: Float[np.ndarray, "rings 3"],
    forward: Float[np.ndarray, "3"],
    colour: Float[np.ndarray, "#rings #sides 3"],
    part: Part,
    sides: int = 12,
) -> Mesh:
    """Returns a surface of elliptic rings along an axis.

    `profile` has, for each ring, its place on the axis (0 at the start, 1 at the end), its
    half-width and its half-depth; depth is measured along `forward`, width across it. The faces
    come ring by ring, each ring from the direction of width (angle 0) towards `forward`.
    """
    along = unit(end - start)
    wide = unit(cross(along, forward))
    deep = cross(wide, along)
    place, half_width, half_depth = profile.T[:, :, None, None]
    angle = np.arange(sides)[:, None] * (2 * np.pi / sides)
    across, ahead = np.cos(angle) * wide, np.sin(angle) * deep
    rings = start + place * (end - start) + half_width * across + half_depth * ahead
    after = np.arange(1, sides + 1) % sides
    corners = np.stack([rings[:-1], rings[1:], rings[1:, after], rings[:-1, after]], 2)
    corners = corners.reshape(-1, 4, 3)
    colours = np.broadcast_to(colour, (len(profile) - 1, sides, 3)).reshape(-1, 3)
    faces = len(corners)
    return Mesh(corners, colours.astype(float), np.full(faces, part), np.zeros(faces))


def tube_cells(
    profile: Float[np.ndarray, "rings 3"], sides: int = 12
) -> tuple[Float[np.ndarray, "rings-1 1"], Float[np.ndarray, "1 sides"]]:
    """Returns the middle of each face of a tube: its place on the axis and its angle in radians."""
    place = (profile[1:, :1] + profile[:-1, :1]) / 2
    return place, (np.arange(sides)[None] + 0.5) * (2 * np.pi / sides)


def refine(profile: list[tuple[float, float, float]], rings: int) -> Float[np.ndarray, "rings 3"]:
    """Resamples a profile to more rings, keeping its first and last."""
    knots = np.array(profile, float)
    at = np.interp(np.linspace(0, 1, rings), np.linspace(0, 1, len(knots)), np.arange(len(knots)))
    return np.stack([np.interp(at, np.arange(len(knots)), column) for column in knots.T], 1)


def decal(outline: Float[np.ndarray, "corners 3"], colour, part: Part, level: int = 1) -> Mesh:
    """Returns a flat convex patch that lies on a surface; higher levels cover lower ones."""
    n = len(outline)
    fan = [[0, i, min(i + 1, n - 1), min(i + 2, n - 1)] for i in range(1, n - 1, 2)]
    faces = len(fan)
    return Mesh(
        outline[np.array(fan)],
        np.tile(np.asarray(colour, float), (faces, 1)),
        np.full(faces, part),
        np.full(faces, DECAL_BIAS * (1 + 0.1 * level)),
    )


class Front(NamedTuple):
    """The front of a tube, to pin decals to.

    Outlines are in (half-widths across, place along the tube), counter-clockwise.
    """

    profile: Float[np.ndarray, "rings 3"]
    start: Float[np.ndarray, "3"]
    length: float
    axes: Float[np.ndarray, "3 3"]  # columns: left, along the tube, forward
    part: Part

    def points(self, outline) -> Float[np.ndarray, "points 3"]:
        """Returns points just above the surface."""
        across, place = np.asarray(outline, float).T
        knots, half_widths, half_depths = self.profile.T
        left = across * np.interp(place, knots, half_widths)
        ahead = np.interp(place, knots, half_depths) * np.sqrt(1 - across**2) + 0.004
        return self.start + np.stack([left, place * self.length, ahead], 1) @ self.axes.T

    def patch(self, outline, colour, level: int = 1) -> Mesh:
        """Returns a flat convex decal."""
        return decal(self.points(outline), colour, self.part, level)

    def spot(self, across, place, half_width, half_height, colour, level: int = 1) -> Mesh:
        """Returns an octagonal decal around a point."""
        angle = (np.arange(8) + 0.5) * (np.pi / 4)
        outline = [across + half_width * np.cos(angle), place + half_height * np.sin(angle)]
        return self.patch(np.stack(outline, 1), colour, level)


def paint(mesh: Mesh, scale: float, light: Float[np.ndarray, "3"], shape: tuple[int, int]) -> Layer:
    """Draws a mesh whose corners are in px of the image (x right, y down, z to the viewer).

    `scale` is px per unit of the mesh before it was projected, `light` the unit direction to the
    light, `shape` the image's height and width.
    """
    first = mesh.corners[:, 1] - mesh.corners[:, 3]
    second = mesh.corners[:, 2] - mesh.corners[:, 0]
    normal = np.cross(second, first)  # outwards: y points down here
    towards = np.flatnonzero(normal[:, 2] > 0)
    nearness = mesh.corners[towards, :, 2].mean(1) + mesh.bias[towards] * scale
    order = towards[np.argsort(nearness, kind="stable")]
    mesh, normal = select(mesh, order), normal[order]
    depth = mesh.corners[:, :, 2].mean(1)

    index = np.zeros((shape[0] * SUPERSAMPLING, shape[1] * SUPERSAMPLING), np.int32)
    fine = mesh.corners[:, :, :2] * SUPERSAMPLING + (SUPERSAMPLING - 1) / 2
    for i, face in enumerate(np.round(fine * 2**FRACTION_BITS).astype(np.int32), 1):
        cv2.fillConvexPoly(index, face, i, cv2.LINE_8, FRACTION_BITS)

    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    shade = 0.55 + 0.5 * (normal @ light).clip(-0.3, 1)
    # Row 0 of each table stands for "no face".
    colour = np.zeros((len(order) + 1, 4), np.uint8)
    colour[1:, :3] = (mesh.colour * shade[:, None]).clip(0, 255)
    colour[1:, 3] = 255
    fine_rgba = colour.view(np.uint32)[:, 0].take(index).view(np.uint8).reshape(*index.shape, 4)
    return Layer(
        rgba=cv2.resize(fine_rgba, shape[::-1], interpolation=cv2.INTER_AREA),
        face=index,
        part=np.concatenate([[Part.NOTHING], mesh.part]).astype(np.uint8),
        depth=np.concatenate([[-np.inf], depth]),
    )


def overlay(image: Float[np.ndarray, "height width 3"], layer: Layer) -> None:
    """Lays a drawn mesh over the image, in place."""
    x, y, width, height = cv2.boundingRect(layer.rgba[..., 3])
    if width == 0:  # all of it lies outside the image
        return
    window = np.s_[y : y + height, x : x + width]
    *colour, alpha = cv2.split(layer.rgba[window].astype(np.float32))
    image[window] *= cv2.merge([1 - alpha / 255] * 3)
    image[window] += cv2.merge(colour)


def probe(
    layer: Layer, points: Float[np.ndarray, "points 2"]
) -> tuple[UInt8[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Returns part and depth on top at points in px; nothing outside the image."""
    x, y = np.round(points * SUPERSAMPLING + (SUPERSAMPLING - 1) / 2).astype(int).T
    height, width = layer.face.shape
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    face = np.where(inside, layer.face[y.clip(0, height - 1), x.clip(0, width - 1)], 0)
    return layer.part[face], layer.depth[face]
