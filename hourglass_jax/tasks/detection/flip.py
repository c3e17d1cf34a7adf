"""The flip test of CenterNet's outputs: one set of outputs from an image and its mirror image."""

from collections.abc import Mapping, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Maps = Mapping[str, Float[Array, "batch height width channels"]]


def merge(
    views: Sequence[tuple[Maps, bool]],
    flip_order: Int[np.ndarray, " joints"] | Sequence[int],
    *,
    published: bool = False,
) -> dict[str, Float[Array, "batch height width channels"]]:
    """Averages probabilities, sizes and ends of joints; offsets are those of the first view.

    Args:
      views: for each view, its outputs by head, and whether it is mirrored.
      flip_order: for each joint, the joint that takes its place in a mirrored view.
      published: mirror ends of joints from the left edge of the centre's cell to its left edge, as
        the published program does, instead of to its right edge.
    """
    merged = dict(views[0][0])
    upright = [_upright(maps, flip_order, published) if flip else maps for maps, flip in views]
    for name in merged:
        several = [maps[name] for maps in upright]
        if name in ("hm", "hm_hp"):
            merged[name] = _mean_of_probabilities(jnp.stack(several))
        elif name in ("wh", "hps"):
            merged[name] = cast(Array, sum(several)) / len(several)
    return merged


def _upright(maps: Maps, flip_order, published: bool) -> dict[str, Array]:
    """Returns the outputs that a mirrored view's outputs mean for the image."""
    flipped = {name: jnp.flip(x, axis=2) for name, x in maps.items()}
    if "hps" in flipped:
        ends = flipped["hps"].reshape(*flipped["hps"].shape[:3], -1, 2)[..., flip_order, :]
        x, y = ends[..., 0], ends[..., 1]
        ends = jnp.stack([(0 if published else 1) - x, y], axis=-1)
        flipped["hps"] = ends.reshape(flipped["hps"].shape)
    if "hm_hp" in flipped:
        flipped["hm_hp"] = flipped["hm_hp"][..., flip_order]
    return flipped


def _mean_of_probabilities(logits: Float[Array, "views ..."]) -> Float[Array, "..."]:
    """Returns the logits of the mean of sigmoid(logits), without overflow."""
    positive = jax.nn.logsumexp(jax.nn.log_sigmoid(logits), axis=0)
    return positive - jax.nn.logsumexp(jax.nn.log_sigmoid(-logits), axis=0)
