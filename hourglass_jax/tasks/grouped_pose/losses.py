"""Losses on heatmaps and on tags: pull within a person, push between people.

Newell, Huang and Deng, "Associative Embedding", NIPS 2017, section 3.2, as their program computes
them: it divides pull by the number of a person's joints, leaves a person's distance to itself out
of push, halves it, and has no factor in its exponent.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def heatmap_loss(
    heatmaps: Float[Array, "batch stacks h w joints"],
    targets: Float[Array, "batch h w joints"],
    counts: Bool[Array, "batch h w #joints"],
) -> Float[Array, "batch stacks"]:
    """Returns the mean squared error over all pixels, of which only some count.

    The denominator does not depend on their number.

    Args:
      heatmaps: predictions of each stack.
      targets: Gaussians; nothing where no joint is.
      counts: pixels of which the truth is known.
    """
    errors = counts[:, None] * (heatmaps - targets[:, None]) ** 2
    return errors.mean((2, 3, 4))


def tags_of(
    tags: Float[Array, "batch stacks h w joints"], cells: Int[Array, "batch people joints 2"]
) -> Float[Array, "batch stacks people joints"]:
    """Returns the tag of each joint: its own map's value at its cell (x, y)."""
    batch, stacks, height, width, joints = tags.shape
    index = (cells[..., 1] * width + cells[..., 0]) * joints + jnp.arange(joints).reshape(1, 1, -1)
    flat = tags.reshape(batch, stacks, height * width * joints)
    found = jnp.take_along_axis(flat, index.reshape(batch, 1, -1), axis=-1)
    return found.reshape(batch, stacks, *cells.shape[1:3])


def pull_push(
    tags: Float[Array, "batch stacks people joints"], present: Bool[Array, "batch people joints"]
) -> tuple[Float[Array, "batch stacks"], Float[Array, "batch stacks"]]:
    """Returns pull and push of each image and stack.

    With m_n the mean tag of a person's K_n joints, pull is the mean over the N people of
    1/K_n sum_k (t_nk - m_n)^2, and push half the mean over pairs of people of
    exp(-(m_n - m_n')^2). Push is thus 1/2 where all tags are equal, and both gradients are 0 there.

    Args:
      tags: see `tags_of`.
      present: joints that are labelled and inside the image; people without any do not count.
    """
    there = present[:, None].astype(tags.dtype)
    joints = there.sum(-1)
    people = (joints > 0).astype(tags.dtype)
    mean = (tags * there).sum(-1) / jnp.maximum(joints, 1)
    apart = ((tags - mean[..., None]) ** 2 * there).sum(-1) / jnp.maximum(joints, 1)
    count = people.sum(-1)
    pull = apart.sum(-1) / jnp.maximum(count, 1)

    near = jnp.exp(-((mean[..., :, None] - mean[..., None, :]) ** 2))
    others = 1 - jnp.eye(mean.shape[-1], dtype=mean.dtype)[None, None]
    pairs = people[..., :, None] * people[..., None, :] * others
    push = 0.5 * (near * pairs).sum((-1, -2)) / jnp.maximum(count * (count - 1), 1)
    return pull, push
