"""The command that finds poses in images and videos."""

import argparse
import logging
import pathlib
import sys

import cv2

from hourglass_jax.errors import UserError
from hourglass_jax.inference.boxes import Boxes
from hourglass_jax.inference.estimator import PoseEstimator
from hourglass_jax.inference.files import Files
from hourglass_jax.inference.inputs import inputs
from hourglass_jax.inference.results import Results
from hourglass_jax.runtime import command_line, startup
from hourglass_jax.runtime.waiting import Waiting

logger = logging.getLogger("hourglass_jax.predict")  # also if run as __main__


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = command_line.Arguments(prog="python -m hourglass_jax.predict", description=__doc__)
    add = parser.add_argument
    where = "a run's workdir, one step's folder in it, or a network that comes with the package"
    add("--checkpoint", default="lsp-small", help=f"{where}; default: lsp-small")
    add("--input", required=True, help='an image, a video, a folder, or a pattern such as "*.jpg"')
    add("--output", required=True, help="folder for overlays, predictions.json and .csv")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--box", help="x,y,width,height in px: the person, in every image")
    group.add_argument("--boxes", help="JSON or CSV file with the boxes of each image's people")
    add("--num_stacks", type=int, help="number of stacks to run; fewer are faster")
    add("--heatmaps", action="store_true", help="also save heatmaps, as images and .npz")
    add("--batch_size", type=int, default=8, help="people at a time; default: 8")
    group = parser.add_argument_group("settings that default to those of the network's evaluation")
    add = group.add_argument
    add("--no_flip_test", action="store_false", dest="flip_test", default=None,
        help="do not average over the mirror image")  # fmt: skip
    add("--scales", help="scales to average over, such as 0.8,1,1.2")
    add("--decode", help="quarter (as in the paper) or refined")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 1 if some of the input could not be read."""
    flags = _arguments(argv)
    output = pathlib.Path(flags.output)
    files = list(inputs(flags.input, output))
    boxes = Boxes.from_flags(flags.box, flags.boxes)
    boxes.check([name for _, name in files])
    boxes.check_sizes(files)
    for problem in boxes.problems:
        print(f"error: {problem}", file=sys.stderr)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={output}: {error.strerror}; choose another folder") from None
    startup.enable_compilation_cache()
    startup.keep_freed_memory()
    estimator = PoseEstimator.from_checkpoint(
        flags.checkpoint,
        flip_test=flags.flip_test,
        decode=flags.decode,
        scales=_scales(flags.scales),
        num_stacks=flags.num_stacks,
        batch_size=flags.batch_size,
    )
    failed, waiting = 0, Waiting(len(files))
    with Results(output) as results:
        find = Files(
            estimator, boxes, results, heatmaps=flags.heatmaps, batch_size=flags.batch_size
        )
        for path, name in files:
            try:
                find(path, name)
            except (UserError, OSError, cv2.error) as error:
                failed += 1
                known = isinstance(error, UserError)
                text = error if known else f"{path}: {' '.join(str(error).split())}"
                print(f"error: {text}", file=sys.stderr)
            waiting.advance()
    logger.info(
        "%d people in %d of %d files: %s", results.people, len(files) - failed, len(files), output
    )
    return 1 if failed or boxes.problems else 0


def _scales(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(scale) for scale in text.split(","))
    except ValueError:
        raise UserError(f"--scales={text}: give numbers, such as 0.8,1,1.2") from None


def run() -> None:
    """Runs the command; exit status 0, 2 for a user's mistake, else 1."""
    with command_line.reporting_errors():
        sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
