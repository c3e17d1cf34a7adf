"""Reads the tensors of a PyTorch checkpoint without running code that a pickle may hold."""

import pathlib
import warnings
import zipfile
from collections.abc import Mapping

import numpy as np

from hourglass_jax.errors import UserError

# Keys under which training scripts save the network beside other things.
_NETWORK = ("state_dict", "model_state_dict", "model")


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns a file's tensors by name, floating ones as float32.

    Args:
      path: .safetensors file, or what `torch.save` writes of tensors, numbers and strings; the
        content decides which, whatever the name.

    Raises:
      UserError: the file does not exist or holds anything else, or the package that reads it is
        not installed.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file; give a network as published, such as hg8.pth")
    try:
        with path.open("rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    if problem := _problem(path, start):
        raise UserError(f"{path} {problem}")
    # A header in JSON, after its length in 8 bytes.
    safetensors = path.suffix == ".safetensors" or start[8:9] == b"{"
    return _read_safetensors(path) if safetensors else _read_torch(path)


def _problem(path: pathlib.Path, start: bytes) -> str | None:
    """Returns what a file is instead of a network, judged by how it starts, and what to do."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        return "is empty; download it again"
    if not start.strip(b"\0"):
        return "begins with zeros, as a broken download does; download it again"
    if text.startswith(b"version https://git-lfs.github.com"):
        return "is a pointer of Git LFS and not the file; run `git lfs pull`, or download the file"
    if text[:1] == b"<":
        return (
            "is a web page and not the file, such as one that asks to confirm a download; open the "
            "address in a browser and save the file itself"
        )
    if start.startswith(b"\x89HDF"):
        return "is an HDF5 file, as of Keras; give a network as PyTorch saves it"
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")) or (
        start[257:262] == b"ustar"
    ):
        return "is an archive; unpack it, and give the file inside"
    if start.startswith(b"PK"):
        return _problem_of_zip(path)
    if text[:1] in (b"{", b"["):
        return "is JSON, such as the index of weights in several files; give the weights themselves"
    try:
        printable = start[:512].decode("ascii").replace("\n", "").replace("\r", "")
    except UnicodeDecodeError:
        return None
    if printable.replace("\t", "").isprintable():
        return f"is a text that begins with {printable[:40]!r}; download the network again"
    return None


def _problem_of_zip(path: pathlib.Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "is cut short or damaged; download it again"
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        # `torch.save` compresses nothing.
        if unpacked > 2 * path.stat().st_size + 2**20:
            return "is compressed, which `torch.save` does not do; save the state_dict again"
        return None
    inside = ", ".join(names[:3])[:100] or "nothing"
    return f"is a zip archive with {inside}; unpack it, and give the network inside"


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
        with torch.serialization.safe_globals(_numpy_scalars()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # from pickle, zipfile or PyTorch
        raise UserError(
            f"{path} cannot be read as tensors alone ({_short(error)}); save only "
            f"the network's state_dict"
        ) from None
    for _ in range(len(_NETWORK)):  # a pickle may contain itself
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _NETWORK if key in content), None)
        if not isinstance(inner, Mapping):
            break
        content = inner
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, not a state_dict")
    tensors = {str(k): v.detach() for k, v in content.items() if isinstance(v, torch.Tensor)}
    size, arrays = path.stat().st_size, {}
    for name, value in tensors.items():
        if value.numel() * value.element_size() > size:  # it repeats what is stored
            raise UserError(f"{path}: the tensor {name!r} is larger than the file")
        try:
            arrays[name] = value.to(torch.float32).numpy()
        except (RuntimeError, TypeError) as error:  # sparse, or of another kind
            raise UserError(f"{path}: the tensor {name!r} is no array ({_short(error)})") from None
    return arrays


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
