"""A trained network as one file that runs without this package: StableHLO or ONNX; or a web page.

`python -m hourglass_jax.interop.export --checkpoint=runs/synthetic --output=pose.onnx`

With a folder as the output, such as `site/`, it writes a web page; see `web_page`.

Both files take float32 images [B, H, W, 3] in [0, 1], where H and W are the checkpoint's input size
and B is any number, and normalise them. They return

- maps: [B, S, h, w, C] of every stack, the last being the prediction,
- joints: [B, K, 2], x and y in px of the image, and scores [B, K], of the last stack,
- boxes: [B, N, 4], x, y, width and height in px of the image, scores [B, N] and categories [B, N],
  of the last stack; and joints [B, N, K, 2] and joint_scores [B, N, K] if the network predicts
  joints. N is the task's `top_k`, or 10 times as many where corners are paired; rows with a score
  of 0 are no boxes, or
- people: the highest M peaks of each joint, M being the task's `max_people`: joints [B, K, M, 2] in
  px of the image, scores [B, K, M] and tags [B, K, M, 1], which `grouping.group` takes for people.
"""

import logging
import pathlib
import sys
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hourglass_jax.checkpoint import trained as checkpoint
from hourglass_jax.checkpoint.trained import Trained
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.interop import onnx_file
from hourglass_jax.runtime import command_line as command
from hourglass_jax.runtime import disk, preemption

logger = logging.getLogger("hourglass_jax.interop.export")  # also if run as __main__
MAPS = "maps"
OUTPUTS = (MAPS, "joints")
PLATFORMS = ("cpu", "cuda", "tpu")
# Between the exported file and the network, as a share of the largest output if that is above 1.
TOLERANCE = 1e-4


def network(
    trained: Trained, outputs: str
) -> Callable[[Float[Array, "batch height width 3"]], tuple[Array, ...]]:
    """Returns the function that is exported, in float32: images to a tuple of `outputs`."""
    model = trained.model.clone(dtype=None)
    variables = jax.tree.map(np.asarray, trained.variables)

    def maps(images):
        return model.apply(variables, model.normalisation.standardise(images), train=False)

    def read(images):
        return tuple(trained.task.export(outputs, maps(images)[:, -1]).values())

    return (lambda images: (maps(images),)) if outputs == MAPS else read


def write_stablehlo(trained: Trained, outputs: str, path: pathlib.Path) -> None:
    """Writes StableHLO for CPU, CUDA and TPU, which `jax.export.deserialize` reads."""
    from jax import export

    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, trained.input_size, trained.input_size, 3), jnp.float32)
    exported = export.export(jax.jit(network(trained, outputs)), platforms=PLATFORMS)(images)
    path.write_bytes(exported.serialize())


def run_stablehlo(path: pathlib.Path, images: np.ndarray) -> list[np.ndarray]:
    """Returns the outputs of an exported file for images."""
    from jax import export

    exported = export.deserialize(bytearray(path.read_bytes()))
    return [np.asarray(x) for x in jax.jit(exported.call)(images)]


def write_onnx(
    trained: Trained,
    outputs: str,
    path: pathlib.Path,
    *,
    half: bool = False,
    sides: Sequence[int] = (),
) -> None:
    """Writes an ONNX model; see `onnx_file.serialize`.

    Raises:
      UserError: the package onnx is not installed, or there is no graph of this network or task.
    """
    try:
        path.write_bytes(onnx_file.serialize(trained, outputs, half=half, sides=sides))
    except ImportError:
        raise UserError(
            "writing ONNX files needs the package onnx; pip install onnx onnxruntime"
        ) from None


def run_onnx(path: pathlib.Path, images: np.ndarray) -> list[np.ndarray] | None:
    """Returns ONNX Runtime's outputs for images; None if it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [np.asarray(x) for x in session.run(None, {"images": images})]


FORMATS = {".stablehlo": (write_stablehlo, run_stablehlo), ".onnx": (write_onnx, run_onnx)}


def export(trained: Trained, outputs: str, path: pathlib.Path) -> float | None:
    """Writes a network, runs the file, and returns its largest difference from the network.

    Args:
      trained: network to export.
      outputs: "maps", or one of the task's `exports`.
      path: file to write, ending in .stablehlo or .onnx.

    Returns:
      The largest difference on two random images, or None if no runtime is installed.

    Raises:
      UserError: the ending is unknown, the folder cannot be written to, or a package is missing.
      RunError: the file's outputs differ from the network's.
    """
    _check_suffix(path)
    write, run = FORMATS[path.suffix]
    disk.make_folder(path.parent, f"--output={path}")
    try:
        with disk.replacing(path) as file:
            write(trained, outputs, file)
    except OSError as error:
        raise disk.refusal(error, f"--output={path}") from None
    return difference(trained, outputs, path, run)


def difference(
    trained: Trained,
    outputs: str,
    path: pathlib.Path,
    run: Callable[[pathlib.Path, np.ndarray], list[np.ndarray] | None],
    *,
    side: int | None = None,
) -> float | None:
    """Returns a file's largest difference from its network, as `export` does.

    Args:
      trained: the network.
      outputs: outputs of the file.
      path: the file.
      run: function that runs a file.
      side: side of the images, px, if not the checkpoint's input size.

    Raises:
      RunError: the file's outputs differ from the network's.
    """
    side = side or trained.input_size
    shape = (2, side, side, 3)
    images = np.random.default_rng(0).random(shape, np.float32)
    found, expected = run(path, images), jax.jit(network(trained, outputs))(images)
    if found is None:
        return None
    differences = [np.abs(f - np.asarray(e)) for f, e in zip(found, expected, strict=True)]
    # Of two pixels that share a peak either may be chosen: other outputs are compared by the
    # median.
    largest = max(float(d.max() if outputs == MAPS else np.median(d)) for d in differences)
    scale = max(1.0, *(float(np.abs(e).max()) for e in expected))
    if not largest <= TOLERANCE * scale:
        raise RunError(f"{path} gives other {outputs} than the network, by {largest:g}")
    return largest


def _check_suffix(path: pathlib.Path) -> None:
    if path.suffix not in FORMATS:
        raise UserError(
            f"--output={path} must end in one of {', '.join(FORMATS)}, or in / for a web page"
        )


def main(argv: list[str]) -> None:
    """Runs the command."""
    parser = command.Arguments(
        prog="python -m hourglass_jax.interop.export",
        description="Writes a trained network as one file that runs without this package, or as a "
        "web page.",
    )
    add = parser.add_argument
    add(
        "--checkpoint",
        type=command.path,
        required=True,
        help="a run's workdir, or one step's folder in it",
    )
    add(
        "--output",
        type=command.path_on_disk,
        required=True,
        help="FILE.onnx, FILE.stablehlo or FOLDER/",
    )
    add("--outputs", help="of a file: maps (the default), joints, boxes or people")
    add("--finder", help="of a page: the detector that finds people; see predict")
    add(
        "--runtime", type=command.path_on_disk, help="of a page: the folder in which npm ci was run"
    )
    flags = parser.parse_args(argv)
    path = pathlib.Path(flags.output)
    if flags.output.endswith("/") or path.is_dir():
        from hourglass_jax.interop import web_page  # it imports this module

        if flags.outputs is not None:
            raise UserError(f"--outputs={flags.outputs}: a page has no choice; leave it out")
        web_page.export(flags.checkpoint, path, finder=flags.finder, runtime=flags.runtime)
        return
    for name in ("finder", "runtime"):
        if getattr(flags, name) is not None:
            raise UserError(f"--{name} is for a web page; give a folder, such as --output=site/")
    _check_suffix(path)  # before the checkpoint is read
    outputs = MAPS if flags.outputs is None else flags.outputs
    disk.make_folder(path.parent, f"--output={path}")
    trained = checkpoint.load(flags.checkpoint)
    known = (MAPS, *trained.task.exports)
    if outputs not in known:
        raise UserError(f"--outputs={outputs}: this network gives {' or '.join(known)}")
    largest = export(trained, outputs, path)
    side = trained.input_size
    checked = (
        "not checked, as onnxruntime is not installed"
        if largest is None
        else f"run again, it differs from the network by {largest:.1g}"
    )
    logger.info(
        "%s: images [B, %d, %d, 3] to %s, %.1f MB; %s",
        *(path, side, side, outputs, path.stat().st_size / 1e6, checked),
    )


def run() -> None:
    """Runs the command; exit status 0, 2 for a user's mistake, else 1."""
    preemption.end_at_once(resumes=lambda: False)
    with command.reporting_errors():
        main(sys.argv[1:])


if __name__ == "__main__":
    run()
