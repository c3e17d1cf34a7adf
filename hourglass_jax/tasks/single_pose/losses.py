"""The loss of each stack, and its value while the network predicts nothing."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def heatmap_loss(
    heatmaps: Float[Array, "batch stacks height width joints"],
    targets: Float[Array, "batch height width joints"],
    weights: Float[Array, "batch joints"],
) -> Float[Array, " stacks"]:
    """Returns the mean squared error of each stack, without the joints of weight 0.

    sum(weight * (prediction - target)^2) / (B * K * H * W). The denominator does not depend on the
    weights, so the mean over devices and micro-batches is the mean over all their images.
    """
    errors = weights[:, None, None, None, :] * (heatmaps - targets[:, None]) ** 2
    return errors.mean(axis=(0, 2, 3, 4))


def plateau(
    targets: Float[Array, "batch height width joints"], weights: Float[Array, "batch joints"]
) -> Float[Array, ""]:
    """Returns the loss of a stack that predicts 0 everywhere, where training may get stuck."""
    return jnp.mean(weights[:, None, None, :] * targets**2)
