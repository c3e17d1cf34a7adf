"""Heatmaps: encoding of joints as training targets, and decoding of joints from predictions."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

DECODERS = ("quarter", "refined")


def encode(
    joints_heatmap: Float[np.ndarray, "*batch joints 2"],
    labelled: Bool[np.ndarray, "*batch joints"],
    side: int,
    sigma: float,
    *,
    zero_target: bool = False,
    zero_outside: bool = False,
    out: Float[np.ndarray, "*batch side side joints"] | None = None,
) -> tuple[Float[np.ndarray, "*batch side side joints"], Float[np.ndarray, "*batch joints"]]:
    """Renders one heatmap per joint: a Gaussian of amplitude 1 at the joint's exact position.

    exp(-((x - jx)^2 + (y - jy)^2) / (2 sigma^2)), computed as an outer product of two
    one-dimensional Gaussians.

    Args:
      joints_heatmap: x, y in px of the heatmap, of one person or of several.
      labelled: whether each joint has coordinates.
      side: side of the heatmap, px.
      sigma: standard deviation, px of the heatmap.
      zero_target: train joints that are unlabelled or outside the heatmap to an empty map, as the
        original Lua code did, instead of leaving them out of the loss.
      zero_outside: train labelled joints outside the heatmap to an empty map.
      out: array to write the heatmaps to, float32; None makes a new one.

    Returns:
      The heatmaps, and the weight of each joint in the loss, 0 or 1.
    """
    joints_heatmap = np.asarray(joints_heatmap, np.float32)
    inside = labelled & np.all((joints_heatmap >= -0.5) & (joints_heatmap < side - 0.5), axis=-1)
    positions = np.where(inside[..., None], joints_heatmap, 0)[..., None, :, :]
    pixels = np.arange(side, dtype=np.float32)[:, None]
    columns = np.exp(-((pixels - positions[..., 0]) ** 2) / (2 * sigma**2)) * inside[..., None, :]
    rows = np.exp(-((pixels - positions[..., 1]) ** 2) / (2 * sigma**2))
    weights = labelled if zero_outside else inside
    weights = np.ones_like(inside) if zero_target else weights
    *batch, joints = inside.shape
    heatmaps = np.empty((*batch, side, side, joints), np.float32) if out is None else out
    # rows * columns in a third of the time: NumPy is slow at axes as short as that of the joints,
    # so that several columns are multiplied at once.
    together = math.gcd(side, 8)
    several = columns.reshape(*batch, 1, side // together, together * joints)
    product = heatmaps.reshape(*batch, side, side // together, together * joints)
    np.multiply(np.tile(rows, together)[..., None, :], several, out=product)
    return heatmaps, np.asarray(weights, np.float32)


def decode(
    heatmaps: Float[Array | np.ndarray, "*batch height width joints"], method: str = "quarter"
) -> tuple[Float[Array, "*batch joints 2"], Float[Array, "*batch joints"]]:
    """Decodes each joint from its heatmap: the highest pixel, and an offset below one pixel.

    Args:
      heatmaps: heatmaps of one person or of several.
      method: "quarter" moves a quarter pixel toward the higher neighbour (Newell et al. 2016, 3.1);
        "refined" moves to the maximum of the parabola through the logarithms of the peak and its
        two neighbours, which is exact for a Gaussian (after Zhang et al., "Distribution-Aware
        Coordinate Representation for Human Pose Estimation", CVPR 2020, without their smoothing).

    Returns:
      x, y in px of the heatmap, and the value of the peak, 0 if no pixel is above 0.

    Raises:
      ValueError: the method is unknown.
    """
    if method not in DECODERS:
        raise ValueError(f"unknown decoder {method!r}; it must be one of {', '.join(DECODERS)}")
    *batch, height, width, joints = heatmaps.shape
    flat = heatmaps.reshape(*batch, height * width, joints)
    peak = flat.argmax(axis=-2)
    score = flat.max(axis=-2)
    y, x = peak // width, peak % width
    axes = [
        _between(flat, peak, score, 1, (x > 0) & (x < width - 1), method),
        _between(flat, peak, score, width, (y > 0) & (y < height - 1), method),
    ]
    position = jnp.stack([x, y], axis=-1).astype(score.dtype) + jnp.stack(axes, axis=-1)
    return position, jnp.maximum(score, 0)


def _between(
    flat: Float[Array | np.ndarray, "*batch pixels joints"],
    peak: Int[Array | np.ndarray, "*batch joints"],
    score: Float[Array | np.ndarray, "*batch joints"],
    step: int,
    interior: Bool[Array | np.ndarray, "*batch joints"],
    method: str,
) -> Float[Array, "*batch joints"]:
    """Returns the offset from the peak along the axis whose neighbours are `step` apart."""

    def value(index):
        index = jnp.clip(index, 0, flat.shape[-2] - 1)
        return jnp.take_along_axis(flat, index[..., None, :], axis=-2)[..., 0, :]

    before, after = value(peak - step), value(peak + step)
    if method == "quarter":
        shift = 0.25 * jnp.sign(after - before)
    else:
        # Values at or below 0 have no logarithm: a very small value replaces them.
        low, middle, high = (jnp.log(jnp.maximum(v, 1e-6)) for v in (before, score, after))
        curvature = low - 2 * middle + high
        shift = jnp.where(curvature < 0, 0.5 * (low - high) / jnp.minimum(curvature, -1e-6), 0)
    return jnp.where(interior & (score > 0), shift, 0.0)


def flip_heatmaps(
    heatmaps: Float[Array, "*batch height width joints"], flip_order: Int[np.ndarray, " joints"]
) -> Float[Array, "*batch height width joints"]:
    """Converts the heatmaps of a mirrored image to those of the image."""
    return jnp.flip(heatmaps, axis=-2)[..., flip_order]
