"""Losses on heatmaps, embeddings and offsets, as sums over a share of a batch.

Law and Deng, "CornerNet", ECCV 2018, sections 3.2 and 3.3; Zhou, Wang and Krähenbühl, "Objects as
Points", 2019, section 3. The published programs divide by counts of one GPU's images; here the
caller divides by counts of the whole batch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# The published programs add it to denominators, and clip probabilities to [it, 1 - it].
EPSILON = 1e-4


def focal(
    logits: Float[Array, "batch stacks height width channels"],
    heatmaps: Float[Array, "batch height width channels"],
    background: Bool[Array, "batch height width"] | None = None,
    *,
    clipped: bool = False,
) -> Float[Array, " stacks"]:
    """Returns the focal loss of heatmaps y with p = sigmoid(logits), to be divided by the peaks.

    -(1 - p)^2 log p where y = 1, and else -(1 - y)^4 p^2 log(1 - p).

    Args:
      logits: predicted heatmaps of each stack, before the sigmoid.
      heatmaps: targets.
      background: cells where y < 1 counts; None means all.
      clipped: clip p to [1e-4, 1 - 1e-4] as the published programs do, without a gradient beyond.
    """
    if clipped:
        limit = jnp.log((1 - EPSILON) / EPSILON).astype(logits.dtype)
        logits = jnp.clip(logits, -limit, limit)
    y = heatmaps[:, None]
    p = jax.nn.sigmoid(logits)
    at_peaks = (1 - p) ** 2 * jax.nn.log_sigmoid(logits)
    elsewhere = (1 - y) ** 4 * p**2 * jax.nn.log_sigmoid(-logits)
    if background is not None:
        elsewhere *= background[:, None, :, :, None]
    return -jnp.where(y == 1, at_peaks, elsewhere).sum((0, 2, 3, 4))


def pull_push(
    top_left: Float[Array, "batch stacks objects"],
    bottom_right: Float[Array, "batch stacks objects"],
    mask: Bool[Array, "batch objects"],
    *,
    published: bool = False,
) -> tuple[Float[Array, " stacks"], Float[Array, " stacks"]]:
    """Returns the associative losses of embeddings, to be divided by the number of images.

    With the mean m_k of an object's two embeddings, pull is the mean of (tl_k - m_k)^2 +
    (br_k - m_k)^2 over an image's objects, and push that of max(0, 1 - |m_j - m_k|) over its
    ordered pairs.

    Args:
      top_left: embeddings of the top-left corners.
      bottom_right: embeddings of the bottom-right corners.
      mask: False for padding.
      published: add the constant that the published formula leaves of the pairs j = k, 0.9999 for
        an image with one object.
    """
    there = mask[:, None].astype(top_left.dtype)
    n = there.sum(-1)
    mean = (top_left + bottom_right) / 2
    apart = ((top_left - mean) ** 2 + (bottom_right - mean) ** 2) * there
    pull = apart.sum(-1) / (n + EPSILON)
    near = jnp.maximum(0, 1 - jnp.abs(mean[..., :, None] - mean[..., None, :]))
    pairs = there[..., :, None] * there[..., None, :]
    others = pairs * (1 - jnp.eye(mask.shape[1], dtype=mean.dtype)[None, None])
    push = (near * others).sum((-1, -2))
    if published:
        push += n - n**2 / (n + EPSILON)
    push /= n * (n - 1) + EPSILON
    return pull.sum(0), push.sum(0)


def l1(
    predicted: Float[Array, "batch stacks points values"],
    targets: Float[Array, "batch points values"],
    mask: Bool[Array, "batch points"] | Bool[Array, "batch points values"],
    *,
    smooth: bool = False,
) -> Float[Array, " stacks"]:
    """Returns the sum of |e|; if `smooth`, of e^2 / 2 where |e| < 1 and |e| - 1/2 elsewhere."""
    if mask.ndim == 2:
        mask = mask[..., None]
    errors = jnp.abs(predicted - targets[:, None])
    if smooth:
        errors = jnp.where(errors < 1, errors**2 / 2, errors - 0.5)
    return (errors * mask[:, None]).sum((0, 2, 3))


def mean_over(
    total: Float[Array, " stacks"], count: Float[Array, ""], *, published: bool = False
) -> Float[Array, " stacks"]:
    """Returns total / count, or the total if nothing was counted.

    The count is a mean over shares of the batch, and may thus lie between 0 and 1. `published` adds
    1e-4 to it instead, which slightly depends on the number of shares.
    """
    return total / (count + EPSILON if published else jnp.where(count > 0, count, 1))
