"""Tensors of a PyTorch state dict: looked up by name, checked, and converted."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hourglass_jax.errors import UserError

StateDict = Mapping[str, np.ndarray]

# Names of a module's variables in PyTorch.
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def get(state_dict: StateDict, name: str) -> np.ndarray:
    """Returns a tensor; raises UserError if it is missing."""
    if name not in state_dict:
        raise UserError(f"The state dict lacks tensor {name!r}; is the file complete?")
    return np.asarray(state_dict[name])


def channels(state_dict: StateDict, name: str) -> int:
    """Returns the length of a vector; raises UserError if it is missing or not a vector."""
    bias = get(state_dict, name)
    if bias.ndim != 1 or not bias.size:
        raise UserError(f"Tensor {name!r} has shape {bias.shape} and not one number per channel.")
    return bias.size


def convert(state_dict: StateDict, name: str, like: Any) -> np.ndarray:
    """Returns a tensor as the variable that it becomes.

    Args:
      state_dict: name to array, as PyTorch saves them.
      name: name of the tensor.
      like: shape and dtype of the variable; kernels are [height, width, in, out].

    Raises:
      UserError: the tensor is missing, has another shape, or holds infinities or NaN.
    """
    value = get(state_dict, name)
    is_kernel = len(like.shape) == 4
    shape = tuple(like.shape[i] for i in (3, 2, 0, 1)) if is_kernel else like.shape
    if value.shape != shape:
        raise UserError(
            f"Tensor {name!r} has shape {value.shape}, and the others of the state dict imply "
            f"{shape}."
        )
    if not np.isfinite(value).all():
        raise UserError(f"Tensor {name!r} holds values that are not finite numbers.")
    return np.array(value.transpose(2, 3, 1, 0) if is_kernel else value, like.dtype, order="C")
