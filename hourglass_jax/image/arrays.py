"""Arrays of every type as images: 8 bits, RGB."""

from typing import Any

import numpy as np
from jaxtyping import UInt8

from hourglass_jax.errors import UserError

# Floats may leave [0, 1] by rounding or interpolation: less than half a grey level.
_TOLERANCE = 1 / 512


def to_bytes(array: np.ndarray) -> UInt8[np.ndarray, "..."]:
    """Returns an image's array in 8 bits, [height, width] or with 3 or 4 channels.

    Floats of any type are in [0, 1], uint16 uses its whole range, other integers are 0 to 255.

    Raises:
      UserError: the array is not an image.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    good = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.size == 0 or not good:
        shape = str(array.shape)
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        raise UserError(
            f"an array of shape {shape[:80]} is not an image; it must be [height, width], or "
            f"[height, width, 3] in RGB, or with a fourth channel of opacity"
            + ("; transpose(1, 2, 0) moves channels to the end" if first else "")
        )
    kind = _kind(array.dtype)
    if kind is None:
        raise UserError(
            f"an array of {str(array.dtype)[:80]} is not an image; it must be of uint8, or of "
            f"floats in [0, 1]"
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        if 0 < array.max() <= 255:
            raise UserError(
                f"an image of uint16 must use 0 to 65535, and the largest value of this one is "
                f"{array.max()}; give 8 bits as uint8"
            )
        return np.round(array / 257).astype(np.uint8)
    if kind == "float" and array.dtype.itemsize < 4:  # NumPy knows little of the smallest types
        array = array.astype(np.float32)
    low, high = array.min(), array.max()
    if kind == "integer":
        if low < 0 or high > 255:
            raise UserError(
                f"an image of {array.dtype} must lie in 0 to 255, not in [{low}, {high}]"
            )
        return array.astype(np.uint8)
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # NaN is neither
        raise UserError(
            f"an image of {array.dtype} must lie in [0, 1], not in [{low:.6g}, {high:.6g}]; give "
            f"integers as uint8"
        )
    return np.round(np.clip(array, 0, 1) * 255.0).astype(np.uint8)


def _kind(dtype: np.dtype[Any]) -> str | None:
    """Returns "float", "integer" or None; JAX's small types, such as bfloat16, are of kind V."""
    if dtype.kind == "c":
        return None
    if dtype.kind in "fiub":
        return {"f": "float", "b": "float"}.get(dtype.kind, "integer")
    try:  # records, text and dates fail
        zero, half = np.array([0.0, 0.5], np.float32).astype(dtype).astype(np.float32)
    except (TypeError, ValueError):
        return None
    if dtype.kind != "V" or zero != 0:
        return None
    return "float" if half == 0.5 else "integer"
