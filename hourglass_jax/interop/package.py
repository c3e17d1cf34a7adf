"""Makes a trained network small enough to come with the package.

    python -m hourglass_jax.interop.package --checkpoint=runs/lsp_small --output=FOLDER

Keeps the variables that are evaluated, parameters in half precision, and what prediction and
fine-tuning need; leaves out the optimizer and the paths of the machine that trained it.
"""

import dataclasses
import pathlib
import shutil
import sys
import tempfile
from typing import Any

import jax
import numpy as np

from hourglass_jax import data
from hourglass_jax.checkpoint import store
from hourglass_jax.checkpoint import trained as checkpoint
from hourglass_jax.checkpoint.state import TrainState
from hourglass_jax.checkpoint.store import Checkpoints
from hourglass_jax.errors import UserError
from hourglass_jax.rules import Path
from hourglass_jax.runtime import command_line as command


def package(source: pathlib.Path, output: pathlib.Path) -> int:
    """Writes a checkpoint's network to `output`, a step's folder, and returns its size in bytes.

    Raises:
      UserError: there is no checkpoint, `output` exists or cannot be written, or half precision
        cannot hold a number.
    """
    if output.exists():
        raise UserError(f"--output={output} exists; choose another folder")
    trained = checkpoint.load(source)
    # BatchNorm's statistics stay in full precision: variances can be any size, and there are few.
    halves = {**trained.variables, "params": jax.tree.map(_half, trained.variables["params"])}
    metadata = store.read_metadata(trained.where)
    step = metadata.pop("step")
    metadata["evaluated"] = "params"  # of averaged parameters, the averages are kept
    if metadata["config"]:  # none where weights were converted
        metadata["config"] = _without_paths(metadata["config"])
    # NumPy's numbers, unlike JAX's, are saved without the names of devices.
    count: Any = np.int32(step)
    state = TrainState(step=count, opt_state=(), **halves)
    with tempfile.TemporaryDirectory() as folder:
        with Checkpoints(pathlib.Path(folder), None) as checkpoints:
            checkpoints.save(state, metadata, None)
        try:
            shutil.copytree(checkpoints.folder / str(step), output)
        except OSError as error:  # or a list of them, each with its text
            raise UserError(f"--output={output} cannot be written ({error})") from None
    return sum(path.stat().st_size for path in output.rglob("*") if path.is_file())


def _without_paths(config: dict) -> dict:
    """Returns a config without the folders of the machine that it was run on."""
    if not isinstance(config.get("data"), dict) or "dataset" not in config["data"]:
        raise UserError("the checkpoint's metadata lack config.data.dataset")
    source = data.source_class(config["data"]["dataset"])
    paths = [
        f.name for f in dataclasses.fields(source.Options) if isinstance(f.metadata["rule"], Path)
    ]
    fields = {name: "" if name in (*paths, "data_dir") else v for name, v in config["data"].items()}
    return {**config, "data": fields, "init_from": ""}


def _half(x: jax.Array) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = np.asarray(x).astype(np.float16)
    if not np.isfinite(half).all():
        raise UserError("a number of the network is beyond what half precision can hold")
    return half


def main(argv: list[str]) -> int:
    """Runs the command and returns its exit status."""
    parser = command.Arguments(
        prog="python -m hourglass_jax.interop.package",
        description=(__doc__ or "").partition("\n")[0],
    )
    parser.add_argument(
        "--checkpoint",
        type=command.path_on_disk,
        required=True,
        help="a run's workdir, or a step's folder",
    )
    parser.add_argument(
        "--output",
        type=command.path_on_disk,
        required=True,
        help="the folder to write, which must be new",
    )
    flags = parser.parse_args(argv)
    size = package(pathlib.Path(flags.checkpoint), pathlib.Path(flags.output))
    print(f"{flags.output}: {size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    with command.reporting_errors():
        sys.exit(main(sys.argv[1:]))
