"""CenterNet: boxes as centres with a size, and people's joints as offsets from centres.

Zhou, Wang and Krähenbühl, "Objects as Points", 2019. Joints have heatmaps, too: the offsets group
them into people, and their heatmaps place them precisely.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from hourglass_jax.tasks.base import Head
from hourglass_jax.tasks.detection import heatmaps, losses
from hourglass_jax.tasks.detection.corners import START

WEIGHTS = {"wh": 0.1, "reg": 1.0, "hps": 1.0, "hm_hp": 1.0, "hp_offset": 1.0}
# A joint's peak replaces the offset's end if its score is higher, and its distance below a share of
# the box's longer side.
_PEAK_SCORE = 0.1
_NEAR = 0.3
_FAR = -10_000.0  # cells


@dataclasses.dataclass(frozen=True)
class Centres:
    """Heads, losses and decoding of CenterNet.

    Attributes:
      categories: names of the categories.
      joints: names of the joints; empty for boxes alone.
      published: compute losses as the published program does; see `task.Options`.
    """

    categories: tuple[str, ...]
    joints: tuple[str, ...] = ()
    published: bool = False

    @property
    def heads(self) -> dict[str, Head]:
        heads = {
            "hm": Head(self.categories, START),
            "wh": Head(("width", "height")),
            "reg": Head(("x", "y")),
        }
        if self.joints:
            heads["hps"] = Head(tuple(f"{joint}/{axis}" for joint in self.joints for axis in "xy"))
            heads["hm_hp"] = Head(self.joints, START)
            heads["hp_offset"] = Head(("x", "y"))
        return heads

    def totals(self, targets: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
        height, width = targets["background"].shape[1:]
        cells, _ = heatmaps.split(_centres(targets), height, width)
        totals = {
            "peaks": heatmaps.count(cells, targets["categories"], targets["mask"], height, width),
            "objects": jnp.sum(targets["mask"], dtype=jnp.float32),
        }
        if self.joints:
            mask, channels = targets["joint_mask"], _channels(targets)
            cells, _ = heatmaps.split(targets["joints"], height, width)
            cells, channels, flat = (_objects_joined(x) for x in (cells, channels, mask))
            totals["joint_peaks"] = heatmaps.count(cells, channels, flat, height, width)
            totals["joints"] = jnp.sum(mask, dtype=jnp.float32)
        return totals

    def losses(
        self,
        maps: Mapping[str, Float[Array, "batch stacks height width channels"]],
        targets: Mapping[str, Array],
        totals: Mapping[str, Float[Array, ""]],
    ) -> dict[str, Float[Array, " stacks"]]:
        mask, radii, background = targets["mask"], targets["radii"], targets["background"]

        def focal(logits, cells, channels, mask):
            drawn = heatmaps.draw(cells, channels, mask, radii, logits.shape[2:], logits.dtype)
            return losses.focal(logits, drawn, background, clipped=self.published)

        def l1(name, cells, values, mask):
            return losses.l1(heatmaps.gather(maps[name], cells[:, None]), values, mask)

        def mean(total, count, values=1):
            # The published denominator counts values.
            return losses.mean_over(total, values * count, published=self.published)

        cells, offsets = heatmaps.split(_centres(targets), *maps["hm"].shape[2:4])
        hm = focal(maps["hm"], cells[:, :, None], targets["categories"][..., None], mask[..., None])
        terms = {
            "hm": losses.mean_over(hm, totals["peaks"]),
            "wh": mean(l1("wh", cells, _sizes(targets), mask), totals["objects"], 2),
            "reg": mean(l1("reg", cells, offsets, mask), totals["objects"], 2),
        }
        if self.joints:
            labelled, channels = targets["joint_mask"], _channels(targets)
            ends = (targets["joints"] - cells[:, :, None]).reshape(*mask.shape, -1)
            both = jnp.repeat(labelled, 2, axis=-1)
            terms["hps"] = mean(l1("hps", cells, ends, both), totals["joints"], 2)
            cells, offsets = heatmaps.split(targets["joints"], *maps["hm"].shape[2:4])
            hm_hp = focal(maps["hm_hp"], cells, channels, labelled)
            terms["hm_hp"] = losses.mean_over(hm_hp, totals["joint_peaks"])
            cells, offsets, flat = (_objects_joined(x) for x in (cells, offsets, labelled))
            offset = l1("hp_offset", cells, offsets, flat)
            terms["hp_offset"] = mean(offset, totals["joints"], 2)
        return {name: WEIGHTS.get(name, 1.0) * term for name, term in terms.items()}

    def decode(
        self, maps: Mapping[str, Float[Array, "batch height width channels"]], top_k: int
    ) -> dict[str, Array]:
        return decode(maps, top_k)


def _centres(targets: Mapping[str, Array]) -> Float[Array, "batch objects 2"]:
    return (targets["boxes"][..., :2] + targets["boxes"][..., 2:]) / 2


def _sizes(targets: Mapping[str, Array]) -> Float[Array, "batch objects 2"]:
    return targets["boxes"][..., 2:] - targets["boxes"][..., :2]


def _channels(targets: Mapping[str, Array]) -> Int[Array, "batch objects joints"]:
    mask = targets["joint_mask"]
    return jnp.broadcast_to(jnp.arange(mask.shape[-1]).reshape(1, 1, -1), mask.shape)


def _objects_joined(x: Array) -> Array:
    """Returns [batch, objects, joints, ...] as [batch, objects * joints, ...]."""
    return x.reshape(len(x), -1, *x.shape[3:])


def decode(
    maps: Mapping[str, Float[Array, "batch height width channels"]], top_k: int
) -> dict[str, Array]:
    """Reads boxes, and joints if there are heads for them, at the highest centres.

    Args:
      maps: outputs of one stack by head. Without `reg` and `hp_offset`, points lie in the middle of
        their cells; without `hm_hp`, joints are the ends of the offsets from the centre's cell.
      top_k: number of boxes, and of peaks of each joint.

    Returns:
      boxes: [B, top_k, 4], x1, y1, x2, y2 in cells.
      scores: [B, top_k], in decreasing order.
      categories: [B, top_k].
      joints: [B, top_k, J, 2], x, y in cells.
      joint_scores: [B, top_k, J].
    """
    scores, cells, categories = heatmaps.peaks(maps["hm"], top_k)
    centres = _placed(cells, maps.get("reg"))
    half = heatmaps.gather(maps["wh"], cells) / 2
    boxes = jnp.concatenate([centres - half, centres + half], axis=-1)
    found = {"boxes": boxes, "scores": scores, "categories": categories}
    if "hps" in maps:
        ends = heatmaps.gather(maps["hps"], cells)
        joints = cells[:, :, None] + ends.reshape(*ends.shape[:2], -1, 2)
        found["joints"], found["joint_scores"] = joints, jnp.ones_like(joints[..., 0])
        if "hm_hp" in maps:
            found["joints"], found["joint_scores"] = _snapped(maps, joints, boxes, top_k)
    return found


def _placed(cells, offsets: Float[Array, "batch height width 2"] | None):
    return cells + (0.5 if offsets is None else heatmaps.gather(offsets, cells))


def _snapped(
    maps: Mapping[str, Float[Array, "batch height width channels"]],
    joints: Float[Array, "batch objects joints 2"],
    boxes: Float[Array, "batch objects 4"],
    top_k: int,
) -> tuple[Float[Array, "batch objects joints 2"], Float[Array, "batch objects joints"]]:
    """Moves each joint to the nearest peak of its heatmap, if that lies in the box and is near.

    Returns:
      Joints, and their scores: those of the peaks, or of the joint's cell where it was not moved.
    """
    hm = maps["hm_hp"]
    batch, height, width, count = hm.shape
    # A joint's peaks are those of an image with one channel: [batch * joints, height, width, 1].
    alone = jnp.moveaxis(hm, -1, 1).reshape(batch * count, height, width, 1)
    scores, cells, _ = heatmaps.peaks(alone, top_k)
    scores = scores.reshape(batch, 1, count, -1)
    cells = cells.reshape(batch, -1, 2)  # of all joints
    candidates = _placed(cells, maps.get("hp_offset")).reshape(batch, 1, count, -1, 2)
    candidates = jnp.where((scores > _PEAK_SCORE)[..., None], candidates, _FAR)
    # Axes: batch, object, joint, candidate.
    distances = jnp.sqrt(((candidates - joints[:, :, :, None]) ** 2).sum(-1))
    nearest = distances.argmin(-1)[..., None]
    distance = jnp.take_along_axis(distances, nearest, axis=-1)[..., 0]
    score = jnp.take_along_axis(scores, nearest, axis=-1)[..., 0]
    place = jnp.take_along_axis(candidates, nearest[..., None], axis=-2)[..., 0, :]
    low, high = boxes[:, :, None, :2], boxes[:, :, None, 2:]
    moved = _all(place >= low) & _all(place <= high) & (score > _PEAK_SCORE)
    moved &= distance <= _NEAR * (high - low).max(-1)
    places, _ = heatmaps.split(joints, height, width)
    index = jnp.arange(count).reshape(1, 1, -1)
    rows = jnp.arange(batch).reshape(-1, 1, 1)
    there = 1 / (1 + jnp.exp(-hm[rows, places[..., 1], places[..., 0], index]))
    return jnp.where(moved[..., None], place, joints), jnp.where(moved, score, there)


def _all(condition: Bool[Array, "*batch 2"]) -> Bool[Array, "*batch"]:
    return condition.all(-1)
