"""Reads the tensors of a PyTorch checkpoint without running code that a pickle may hold."""

import pathlib
from collections.abc import Mapping

import numpy as np

from hourglass_jax.errors import UserError

# Keys under which training scripts save the network beside other things.
_NETWORK = ("state_dict", "model_state_dict", "model")


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns a file's tensors by name, floating ones as float32.

    Args:
      path: .safetensors file, or what `torch.save` writes of tensors, numbers and strings.

    Raises:
      UserError: the file does not exist or holds anything else, or the package that reads it is
        not installed.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file; give a network as published, such as hg8.pth")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import ml_dtypes  # noqa: F401  # makes bfloat16 known to NumPy
        import safetensors.numpy
    except ImportError:
        raise _missing(path, "safetensors") from None
    try:
        tensors = safetensors.numpy.load_file(path)
        return {name: np.asarray(value, np.float32) for name, value in tensors.items()}
    except Exception as error:  # in the file, or for types that NumPy does not have
        raise UserError(f"{path} cannot be read ({_short(error)}); is it complete?") from None


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise _missing(path, "torch") from None
    try:
        # Tensors, numbers, strings and containers of these: no code that the file names is called.
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # from pickle, zipfile or PyTorch
        raise UserError(
            f"{path} cannot be read as tensors alone ({_short(error)}); save only "
            f"the network's state_dict"
        ) from None
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _NETWORK if key in content), None)
        if not isinstance(inner, Mapping):
            break
        content = inner
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not a state_dict")
    return {
        str(name): value.detach().to(torch.float32).numpy()
        for name, value in content.items()
        if isinstance(value, torch.Tensor)
    }


def _numpy_scalars() -> list:
    """Returns what NumPy's scalars refer to; many scripts save scores as such with the network."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in ("float32", "float64", "int64")]
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *kinds]


def _missing(path: pathlib.Path, package: str) -> UserError:
    return UserError(f"reading {path} needs the package {package}; pip install {package}")


def _short(error: Exception) -> str:
    """Returns the first sentence of a message; the rest is advice to switch the safety off."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.split(". ")[0][:200]
