"""People's joints from two sources: offsets from the centre, and peaks of the joints' heatmaps.

The offsets tell people apart, and the peaks are precise.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from hourglass_jax.tasks.detection import heatmaps

Maps = Mapping[str, Float[Array, "batch height width channels"]]
Joints = Float[Array, "batch objects joints 2"]
Scores = Float[Array, "batch objects joints"]

# A peak counts the less the farther it is from the offset's end: by a Gaussian whose standard
# deviation is this share of the box's longer side.
SPREAD = 0.15
# The offset's end counts as much as a peak of this score that lies there.
END_SCORE = 0.1
SMALL = 1e-6  # square cells; boxes may be empty
# In the published program, a peak replaces the offset's end if its score is higher, and its
# distance below a share of the box's longer side.
PEAK_SCORE = 0.1
NEAR = 0.3
FAR = -10_000.0  # cells


def placed(cells, offsets: Float[Array, "batch height width 2"] | None):
    """Returns points in cells: at the predicted offsets, or in the middle without them."""
    return cells + (0.5 if offsets is None else heatmaps.gather(offsets, cells))


def blended(
    maps: Maps, ends: Joints, boxes: Float[Array, "batch objects 4"], top_k: int
) -> tuple[Joints, Scores]:
    """Returns the weighted mean of each offset's end and one peak of the joint's heatmap.

    The peak is the one with the highest weight, its score times a Gaussian of its distance.

    Args:
      maps: outputs with `hm_hp`, and maybe `hp_offset`.
      ends: ends of the offsets, in cells.
      boxes: x1, y1, x2, y2 in cells.
      top_k: number of peaks of each joint to read.

    Returns:
      Joints in cells, and the weights of the peaks as scores.
    """
    peaks, scores = _peaks(maps, top_k)
    side = (boxes[..., 2:] - boxes[..., :2]).max(-1)[..., None, None]
    squares = ((peaks - ends[:, :, :, None]) ** 2).sum(-1)
    weights = scores * jnp.exp(-squares / (2 * (SPREAD * side) ** 2 + SMALL))
    best = weights.argmax(-1)[..., None]
    weight = jnp.take_along_axis(weights, best, axis=-1)
    peak = jnp.take_along_axis(peaks, best[..., None], axis=-2)[..., 0, :]
    return (weight * peak + END_SCORE * ends) / (weight + END_SCORE), weight[..., 0]


def snapped(
    maps: Maps, ends: Joints, boxes: Float[Array, "batch objects 4"], top_k: int
) -> tuple[Joints, Scores]:
    """Moves the ends to the nearest peaks that are in the box and near, as published.

    Arguments and results are those of `blended`, but scores are those of the peaks, or of the
    joint's cell where it was not moved.
    """
    hm = maps["hm_hp"]
    batch, height, width, count = hm.shape
    peaks, scores = _peaks(maps, top_k)
    candidates = jnp.where((scores > PEAK_SCORE)[..., None], peaks, FAR)
    # Axes: batch, object, joint, candidate.
    distances = jnp.sqrt(((candidates - ends[:, :, :, None]) ** 2).sum(-1))
    nearest = distances.argmin(-1)[..., None]
    distance = jnp.take_along_axis(distances, nearest, axis=-1)[..., 0]
    score = jnp.take_along_axis(scores, nearest, axis=-1)[..., 0]
    place = jnp.take_along_axis(candidates, nearest[..., None], axis=-2)[..., 0, :]
    low, high = boxes[:, :, None, :2], boxes[:, :, None, 2:]
    moved = _all(place >= low) & _all(place <= high) & (score > PEAK_SCORE)
    moved &= distance <= NEAR * (high - low).max(-1)
    places, _ = heatmaps.split(ends, height, width)
    index = jnp.arange(count).reshape(1, 1, -1)
    rows = jnp.arange(batch).reshape(-1, 1, 1)
    there = 1 / (1 + jnp.exp(-hm[rows, places[..., 1], places[..., 0], index]))
    return jnp.where(moved[..., None], place, ends), jnp.where(moved, score, there)


def _peaks(
    maps: Maps, top_k: int
) -> tuple[Float[Array, "batch 1 joints peaks 2"], Float[Array, "batch 1 joints peaks"]]:
    """Returns the positions and scores of each joint's peaks."""
    hm = maps["hm_hp"]
    batch, height, width, count = hm.shape
    # A joint's peaks are those of an image with one channel: [batch * joints, height, width, 1].
    alone = jnp.moveaxis(hm, -1, 1).reshape(batch * count, height, width, 1)
    scores, cells, _ = heatmaps.peaks(alone, top_k)
    positions = placed(cells.reshape(batch, -1, 2), maps.get("hp_offset"))
    return positions.reshape(batch, 1, count, -1, 2), scores.reshape(batch, 1, count, -1)


def _all(condition: Bool[Array, "*batch 2"]) -> Bool[Array, "*batch"]:
    return condition.all(-1)
