"""CornerNet: boxes as pairs of a top-left and a bottom-right corner.

Each corner has a heatmap per category, an offset within its cell, and an embedding that is similar
for the two corners of an object. Law and Deng, "CornerNet", ECCV 2018.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hourglass_jax.tasks.base import Head
from hourglass_jax.tasks.detection import heatmaps, losses

# sigmoid(-2.19) = 0.1: at the start, most cells are believed to be background.
START = -2.19
TAG_DISTANCE = 0.5
TAG_WEIGHT = 0.1
_CORNERS = {"tl": "top_left", "br": "bottom_right"}
TINY = 1e-30  # instead of a division by 0
PAIRS_PER_CORNER = 10  # 1,000 of 100 corners each


@dataclasses.dataclass(frozen=True)
class Corners:
    """Heads, losses and decoding of CornerNet.

    Attributes:
      categories: names of the categories.
      published: compute losses and scores as the published program does; see `task.Options`.
      tag_weight: weight of the losses of embeddings, pull and push.
    """

    categories: tuple[str, ...]
    published: bool = False
    tag_weight: float = TAG_WEIGHT

    @property
    def heads(self) -> dict[str, Head]:
        heads = {}
        for corner, features in _CORNERS.items():
            heads[f"{corner}_heat"] = Head(self.categories, START, features)
            heads[f"{corner}_tag"] = Head(("embedding",), None, features)
            heads[f"{corner}_offset"] = Head(("x", "y"), None, features)
        return heads

    def totals(self, targets: Mapping[str, Array]) -> dict[str, Float[Array, ""]]:
        height, width = targets["background"].shape[1:]
        totals = {
            f"{corner}_peaks": heatmaps.count(
                heatmaps.split(positions, height, width)[0],
                targets["categories"],
                targets["mask"],
                height,
                width,
            )
            for corner, positions in _positions(targets).items()
        }
        totals["objects"] = jnp.sum(targets["mask"], dtype=jnp.float32)
        totals["images"] = jnp.float32(len(targets["mask"]))
        return totals

    def heatmaps(
        self, targets: Mapping[str, Array], dtype=jnp.float32
    ) -> dict[str, Float[Array, "batch height width categories"]]:
        """Draws the targets of the heads that are heatmaps."""
        height, width = targets["background"].shape[1:]
        return {
            f"{corner}_heat": heatmaps.draw(
                heatmaps.split(positions, height, width)[0][:, :, None],
                targets["categories"][..., None],
                targets["mask"][..., None],
                targets["radii"],
                (height, width, len(self.categories)),
                dtype,
            )
            for corner, positions in _positions(targets).items()
        }

    def losses(
        self,
        maps: Mapping[str, Float[Array, "batch stacks height width channels"]],
        targets: Mapping[str, Array],
        totals: Mapping[str, Float[Array, ""]],
    ) -> dict[str, Float[Array, " stacks"]]:
        terms, tags, offset_errors = {}, {}, []
        mask, drawn = targets["mask"], self.heatmaps(targets, maps["tl_heat"].dtype)
        for corner, positions in _positions(targets).items():
            heat = maps[f"{corner}_heat"]
            cells, offsets = heatmaps.split(positions, *drawn[f"{corner}_heat"].shape[1:3])
            focal = losses.focal(
                heat, drawn[f"{corner}_heat"], targets["background"], clipped=self.published
            )
            terms[f"{corner}_heat"] = losses.mean_over(focal, totals[f"{corner}_peaks"])
            tags[corner] = heatmaps.gather(maps[f"{corner}_tag"], cells[:, None])[..., 0]
            predicted = heatmaps.gather(maps[f"{corner}_offset"], cells[:, None])
            offset_errors.append(losses.l1(predicted, offsets, mask, smooth=True))
        offset = losses.mean_over(
            offset_errors[0] + offset_errors[1], totals["objects"], published=self.published
        )
        pull, push = losses.pull_push(tags["tl"], tags["br"], mask, published=self.published)
        if not self.published:  # sums over a device's images, which grow with their number
            pull, push = pull / totals["images"], push / totals["images"]
        tags_terms = {"pull": self.tag_weight * pull, "push": self.tag_weight * push}
        return terms | tags_terms | {"offset": offset}

    def decode(
        self, maps: Mapping[str, Float[Array, "batch height width channels"]], top_k: int
    ) -> dict[str, Array]:
        return decode(maps, top_k, PAIRS_PER_CORNER * top_k, product=not self.published)


def _positions(targets: Mapping[str, Array]) -> dict[str, Float[Array, "batch objects 2"]]:
    return {"tl": targets["boxes"][..., :2], "br": targets["boxes"][..., 2:]}


def decode(
    maps: Mapping[str, Float[Array, "batch height width channels"]],
    top_k: int,
    pairs: int,
    *,
    tag_distance: float = TAG_DISTANCE,
    border: bool = True,
    product: bool = False,
) -> dict[str, Array]:
    """Pairs the highest top-left corners with the highest bottom-right ones.

    Args:
      maps: outputs of one stack by head.
      top_k: number of corners of each kind, over all categories.
      pairs: number of boxes to return.
      tag_distance: largest distance between the embeddings of a pair.
      border: whether corners may lie in the outermost cells.
      product: score pairs by p = s1 s2 exp(-d), of their corners' scores and the distance of their
        embeddings, so that no certain corner makes up for an uncertain one, and by the ratios of p
        to the largest p of either corner, since a corner belongs to one object; False is the
        published mean of the scores.

    Returns:
      boxes: [B, pairs, 4], x1, y1, x2, y2 in cells.
      scores: [B, pairs], in decreasing order of valid pairs.
      corner_scores: [B, pairs, 2].
      categories: [B, pairs].
      valid: [B, pairs], False where there are fewer pairs.
    """
    found = {}
    for corner in _CORNERS:
        scores, cells, categories = heatmaps.peaks(maps[f"{corner}_heat"], top_k)
        positions = cells + heatmaps.gather(maps[f"{corner}_offset"], cells)
        tags = heatmaps.gather(maps[f"{corner}_tag"], cells)[..., 0]
        height, width = maps[f"{corner}_heat"].shape[1:3]
        last = jnp.array([width - 1, height - 1]).reshape(1, 1, 2)
        inner = ((cells > 0) & (cells < last)).all(-1)
        found[corner] = (scores, positions, tags, categories, inner)
    # Axes of pairs: batch, top-left corner, bottom-right corner.
    scores1, xy1, tags1, categories1, inner1 = (x[:, :, None] for x in found["tl"])
    scores2, xy2, tags2, categories2, inner2 = (x[:, None] for x in found["br"])
    distances = jnp.abs(tags1 - tags2)
    valid = (categories1 == categories2) & (distances <= tag_distance) & (xy2 >= xy1).all(-1)
    if not border:
        valid &= inner1 & inner2
    if product:
        scores = jnp.where(valid, scores1 * scores2 * jnp.exp(-distances), 0)
        largest = scores.max(1, keepdims=True) * scores.max(2, keepdims=True)
        scores *= scores**2 / jnp.maximum(largest, TINY)
    else:
        scores = (scores1 + scores2) / 2
    shape = scores.shape

    def flat(x):
        return jnp.broadcast_to(x, (*shape, *x.shape[3:])).reshape(shape[0], -1, *x.shape[3:])

    best, index = jax.lax.top_k(
        flat(jnp.where(valid, scores, -1.0)), min(pairs, shape[1] * shape[2])
    )

    def chosen(x):
        x = flat(x)
        return jnp.take_along_axis(x, index.reshape(*index.shape, *[1] * (x.ndim - 2)), axis=1)

    return {
        "boxes": jnp.concatenate([chosen(xy1), chosen(xy2)], axis=-1),
        "scores": best,
        "corner_scores": jnp.stack([chosen(scores1), chosen(scores2)], axis=-1),
        "categories": chosen(categories1),
        "valid": best >= 0,
    }
