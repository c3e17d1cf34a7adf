"""CenterNet: boxes as centres with a size, and people's joints as offsets from centres.

Zhou, Wang and Krähenbühl, "Objects as Points", 2019. Joints have heatmaps, too; see `joints.py`.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from hourglass_jax.tasks.base import Head
from hourglass_jax.tasks.detection import heatmaps, joints, losses
from hourglass_jax.tasks.detection.corners import START

WEIGHTS = {"wh": 0.1, "reg": 1.0, "hps": 1.0, "hm_hp": 1.0, "hp_offset": 1.0}


@dataclasses.dataclass(frozen=True)
class Centres:
    """Heads, losses and decoding of CenterNet.

    Attributes:
      categories: names of the categories.
      joints: names of the joints; empty for boxes alone.
      published: compute losses as the published program does; see `task.Options`.
      reach: how far around an object's cell other cells learn its size and its joints, too.
    """

    categories: tuple[str, ...]
    joints: tuple[str, ...] = ()
    published: bool = False
    reach: int = 0

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
            cells, channels, flat = (heatmaps.joined(x) for x in (cells, channels, mask))
            totals["joint_peaks"] = heatmaps.count(cells, channels, flat, height, width)
            totals["joints"] = jnp.sum(mask, dtype=jnp.float32)
        return totals

    def heatmaps(
        self, targets: Mapping[str, Array], dtype=jnp.float32
    ) -> dict[str, Float[Array, "batch height width channels"]]:
        """Draws the targets of the heads that are heatmaps."""
        height, width = targets["background"].shape[1:]

        def drawn(positions, channels, mask, count):
            cells, _ = heatmaps.split(positions, height, width)
            shape = (height, width, count)
            return heatmaps.draw(cells, channels, mask, targets["radii"], shape, dtype)

        centres, mask = _centres(targets)[:, :, None], targets["mask"][..., None]
        hm = drawn(centres, targets["categories"][..., None], mask, len(self.categories))
        if not self.joints:
            return {"hm": hm}
        joints = (targets["joints"], _channels(targets), targets["joint_mask"])
        return {"hm": hm, "hm_hp": drawn(*joints, len(self.joints))}

    def losses(
        self,
        maps: Mapping[str, Float[Array, "batch stacks height width channels"]],
        targets: Mapping[str, Array],
        totals: Mapping[str, Float[Array, ""]],
    ) -> dict[str, Float[Array, " stacks"]]:
        mask, drawn = targets["mask"], self.heatmaps(targets, maps["hm"].dtype)
        height, width = maps["hm"].shape[2:4]

        def focal(name, count):
            total = losses.focal(
                maps[name], drawn[name], targets["background"], clipped=self.published
            )
            return losses.mean_over(total, count)

        def l1(name, cells, values, mask, count):
            cells, values, mask = (heatmaps.joined(x) for x in (cells, values, mask))
            total = losses.l1(heatmaps.gather(maps[name], cells[:, None]), values, mask)
            # The denominator counts x and y.
            return losses.mean_over(total, 2 * count, published=self.published)

        centres = _centres(targets)
        cells, _ = heatmaps.split(centres, height, width)
        cells, inside = heatmaps.around(cells, self.reach, height, width)
        seen, near = mask[..., None] & inside, inside.shape[-1]
        objects = near * totals["objects"]
        sizes = jnp.broadcast_to(_sizes(targets)[:, :, None], cells.shape)
        terms = {
            "hm": focal("hm", totals["peaks"]),
            "wh": l1("wh", cells, sizes, seen, objects),
            "reg": l1("reg", cells, centres[:, :, None] - cells, seen, objects),
        }
        if self.joints:
            labelled = targets["joint_mask"]
            ends = targets["joints"][:, :, None] - cells[:, :, :, None]
            both = jnp.repeat(labelled, 2, axis=-1)[:, :, None] & inside[..., None]
            ends = ends.reshape(both.shape)
            terms["hps"] = l1("hps", cells, ends, both, near * totals["joints"])
            terms["hm_hp"] = focal("hm_hp", totals["joint_peaks"])
            cells, offsets = heatmaps.split(targets["joints"], height, width)
            terms["hp_offset"] = l1("hp_offset", cells, offsets, labelled, totals["joints"])
        return {name: WEIGHTS.get(name, 1.0) * term for name, term in terms.items()}

    def decode(
        self, maps: Mapping[str, Float[Array, "batch height width channels"]], top_k: int
    ) -> dict[str, Array]:
        return decode(maps, top_k, published=self.published)


def _centres(targets: Mapping[str, Array]) -> Float[Array, "batch objects 2"]:
    return (targets["boxes"][..., :2] + targets["boxes"][..., 2:]) / 2


def _sizes(targets: Mapping[str, Array]) -> Float[Array, "batch objects 2"]:
    return targets["boxes"][..., 2:] - targets["boxes"][..., :2]


def _channels(targets: Mapping[str, Array]) -> Int[Array, "batch objects joints"]:
    mask = targets["joint_mask"]
    return jnp.broadcast_to(jnp.arange(mask.shape[-1]).reshape(1, 1, -1), mask.shape)


def decode(
    maps: Mapping[str, Float[Array, "batch height width channels"]],
    top_k: int,
    *,
    published: bool = True,
) -> dict[str, Array]:
    """Reads boxes, and joints if there are heads for them, at the highest centres.

    Args:
      maps: outputs of one stack by head. Without `reg` and `hp_offset`, points lie in the middle of
        their cells; without `hm_hp`, joints are the ends of the offsets from the centre's cell.
      top_k: number of boxes, and of peaks of each joint.
      published: place joints by `joints.snapped` and not by `joints.blended`, and score people by
        their centres alone. Otherwise, if all objects are people (there is one category), a
        person's score is the geometric mean of the centre's score and the joints' mean score.

    Returns:
      boxes: [B, top_k, 4], x1, y1, x2, y2 in cells.
      scores: [B, top_k], in decreasing order.
      categories: [B, top_k].
      joints: [B, top_k, J, 2], x, y in cells.
      joint_scores: [B, top_k, J].
    """
    scores, cells, categories = heatmaps.peaks(maps["hm"], top_k)
    centres = joints.placed(cells, maps.get("reg"))
    half = heatmaps.gather(maps["wh"], cells) / 2
    boxes = jnp.concatenate([centres - half, centres + half], axis=-1)
    found = {"boxes": boxes, "scores": scores, "categories": categories}
    if "hps" in maps:
        offsets = heatmaps.gather(maps["hps"], cells)
        ends = cells[:, :, None] + offsets.reshape(*offsets.shape[:2], -1, 2)
        found["joints"], found["joint_scores"] = ends, jnp.ones_like(ends[..., 0])
        if "hm_hp" in maps:
            place = joints.snapped if published else joints.blended
            found["joints"], found["joint_scores"] = place(maps, ends, boxes, top_k)
            if not published and maps["hm"].shape[-1] == 1:
                scores = jnp.sqrt(scores * found["joint_scores"].mean(-1))
                found = _by_score(found | {"scores": scores})
    return found


def _by_score(found: Mapping[str, Array]) -> dict[str, Array]:
    """Sorts boxes by decreasing score."""
    _, order = jax.lax.top_k(found["scores"], found["scores"].shape[1])
    return {
        name: jnp.take_along_axis(x, order.reshape(*order.shape, *[1] * (x.ndim - 2)), axis=1)
        for name, x in found.items()
    }
