"""The loss of each stack, and the value that it has while the network predicts nothing."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def heatmap_loss(
    heatmaps: Float[Array, "batch stacks height width joints"],
    targets: Float[Array, "batch height width joints"],
    weights: Float[Array, "batch joints"],
) -> Float[Array, " stacks"]:
    """Mean squared error of every stack, joints of weight 0 left out.

    sum(weight * (prediction - target)^2) / (B * K * H * W). The denominator does not depend on the
    weights, so that the means over devices and micro-batches are the mean over all their pictures.
    """
    errors = weights[:, None, None, None, :] * (heatmaps - targets[:, None]) ** 2
    return errors.mean(axis=(0, 2, 3, 4))


def plateau(
    targets: Float[Array, "batch height width joints"], weights: Float[Array, "batch joints"]
) -> Float[Array, ""]:
    """The loss of a stack that predicts 0 everywhere: where this network gets stuck if it does."""
    return jnp.mean(weights[:, None, None, :] * targets**2)
