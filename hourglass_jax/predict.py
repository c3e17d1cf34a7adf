"""The command that finds people's poses, or objects, in images and videos."""

import argparse
import contextlib
import gc
import hashlib
import logging
import os
import pathlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import command_line, digests, paths, preemption

if TYPE_CHECKING:
    from hourglass_jax.inference.found import Predictor

logger = logging.getLogger("hourglass_jax.predict")  # also if run as __main__


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = command_line.Arguments(prog="python -m hourglass_jax.predict", description=__doc__)
    add, path = parser.add_argument, command_line.path
    where = "a run's workdir, one step's folder in it, or a network that comes with the package"
    add("--checkpoint", type=path, default="people-pose", help=f"{where}; default: people-pose")
    add("--input", type=command_line.path_or_address, required=True,
        help='an image, a video, a folder, a pattern such as "*.jpg", a stream such as '
        "rtsp://..., or a camera: 0 is the first")  # fmt: skip
    add("--output", type=path, required=True,
        help="folder for overlays, predictions.json and .csv; if the command was stopped, it "
        "continues")  # fmt: skip
    add("--overwrite", action="store_true", help="replace the results in the output folder")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--box", help="x,y,width,height in px: the person, in every image")
    group.add_argument(
        "--boxes", type=path, help="JSON or CSV file with the boxes of each image's people"
    )
    group.add_argument("--whole", action="store_true", help="each image shows one person")
    add("--finder", type=path,
        help="network that finds the people, given as for --checkpoint, or none; default: "
        "people-small if the joints are a person's, else none")  # fmt: skip
    add("--max_people", type=int, help="largest number of people to find in an image")
    add("--num_stacks", type=int, help="number of stacks to run; fewer are faster")
    add("--smooth", action="store_true", help="smooth the joints in videos over time")
    add("--heatmaps", action="store_true", help="also save heatmaps, as images and .npz")
    add("--format",
        help="also write the results for other tools: coco, deeplabcut, sleap, or several with "
        "commas between")  # fmt: skip
    add("--uncertain", type=int, metavar="N",
        help="also list and copy the N frames that are worth labelling next")  # fmt: skip
    add("--no_overlays", action="store_false", dest="overlays", help="draw no overlays")
    add("--min_score", type=float,
        help="lowest score of what is found; default: 0.4 for people, 0.3 for boxes")  # fmt: skip
    add("--batch_size", type=int, default=8, help="people, images or frames at a time; default: 8")
    group = parser.add_argument_group("shares of one input among several processes")
    add = group.add_argument
    add("--shards", type=int, metavar="N",
        help="number of processes; default: as an array of SLURM says")  # fmt: skip
    add("--shard", type=int, metavar="I",
        help="which of them this is, from 0; default: the index in an array of SLURM, or in a job "
        "of Kubernetes")  # fmt: skip
    group = parser.add_argument_group("settings that default to those of the network's evaluation")
    add = group.add_argument
    add("--no_flip_test", action="store_false", dest="flip_test", default=None,
        help="do not average over the mirror image")  # fmt: skip
    add("--scales", help="scales to average over, such as 0.8,1,1.2")
    add("--decode", help="quarter (as in the paper) or refined")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command.

    Returns:
      The exit status: 0, 1 if some of the input could not be read or some of the drawings could not
      be written, or 128 and the number of the signal that stopped it.
    """
    stop = preemption.StopSignal(notice="")
    try:
        return _predict(_arguments(argv), stop)
    except preemption.StoppedError:
        command_line.say(f"stopped by {stop.cause}; start the same command again to continue")
        return 128 + (stop.received or 0)


def _predict(flags: argparse.Namespace, stop: preemption.StopSignal) -> int:
    # Imported late, so that wrong flags and signals need not wait for it.
    from hourglass_jax.checkpoint import trained
    from hourglass_jax.image import streams
    from hourglass_jax.inference.boxes import Boxes
    from hourglass_jax.inference.entries import Format
    from hourglass_jax.inference.exports import uncertain, writer
    from hourglass_jax.inference.files import Files
    from hourglass_jax.inference.inputs import check_stream, inputs
    from hourglass_jax.inference.places import as_text
    from hourglass_jax.inference.results import Results
    from hourglass_jax.inference.sharing import Sharing
    from hourglass_jax.runtime import startup
    from hourglass_jax.runtime.waiting import Waiting

    if not gc.isenabled():  # see `run`
        startup.collect_garbage_rarely()
    sharing = Sharing(flags.shards, flags.shard)
    output = paths.path(flags.output, "--output")
    files: list[tuple[Any, str]]  # paths, or a stream
    stream = streams.stream_of(flags.input, ended=lambda: stop.received is not None)
    if stream is not None:
        twice = {"format": flags.format, "uncertain": flags.uncertain}
        check_stream(stream.name, output, twice, overwrite=flags.overwrite)
        flags.input, files = stream.name, [(stream, stream.name)]
    else:
        files = [(path, as_text(name)) for path, name in inputs(flags.input, output)]
    names = [name for _, name in files]
    task = trained.task_of(flags.checkpoint)
    _check(flags, task)
    boxes = Boxes.from_flags(flags.box, flags.boxes)
    boxes.check(names)
    output, files = sharing.take(output, files)
    names = [name for _, name in files]
    boxes.check_sizes(zip((path for path, _ in files), names, strict=True))
    for problem in boxes.problems:
        command_line.say(f"error: {problem}")
    _scales(flags.scales)
    skeleton = writer.skeleton_of(task)
    formats = writer.formats(flags.format, skeleton, output)
    startup.enable_compilation_cache()
    startup.keep_freed_memory()
    command = _command(flags, task)
    tracked = flags.smooth or _finds_boxes(task) or _finder(flags, task) is not None
    form = Format.of(task, tracked=tracked, smooth=flags.smooth)
    with Results(output, command, names, overwrite=flags.overwrite) as results:
        left = {name for path, name in files if not results.is_done(path, name)}
        if len(left) < len(files):
            logger.info("%d of %d files are done already", len(files) - len(left), len(files))
        if left:
            sharing.begin()
            predictor = _predictor(flags, task)
            find = Files(
                predictor,
                boxes,
                results,
                heatmaps=flags.heatmaps,
                overlays=flags.overlays,
                batch_size=flags.batch_size,
                between=stop.check if stream is None else lambda: None,
            )
            waiting = Waiting(len(left))
            with stop.in_loop(), results.recording(form):
                for together in _groups(files, predictor.images_at_once, left, results.is_begun):
                    stop.check()
                    with _device_errors(together[0][0]):
                        find(together, left)
                    for _ in left.intersection(name for _, name in together):
                        waiting.advance()
                if stream is not None:
                    stop.received = None  # Ctrl-C is how to end a stream
        else:
            with results.recording(form):
                pass  # a stopped command may have left older ones
        by_name = {name: path for path, name in files}
        writer.write(formats, results, by_name, skeleton)
        uncertain.write(flags.uncertain, results, by_name, skeleton)
        sharing.end(results, command)
        count = results.count()
    logger.info(
        "%d %s in %d of %d files%s: %s",
        *(count.found, "people" if task.joints else "objects", count.files, len(files)),
        *(f", and none in {count.seen - count.files}" if count.seen > count.files else "", output),
    )
    return 1 if results.failed or boxes.problems else 0


def _groups(files: list, size: int, left: set[str], is_begun: Callable[[str], bool]) -> list[list]:
    """Returns the files in groups, the same ones in every run; first what a stopped run began."""
    groups = [files[start : start + size] for start in range(0, len(files), size)]
    groups = [group for group in groups if any(name in left for _, name in group)]
    return sorted(groups, key=lambda group: not any(is_begun(name) for _, name in group))


def _check(flags: argparse.Namespace, task) -> None:
    """Raises UserError for a flag that is for other networks: those that find boxes, or do not."""
    from hourglass_jax.inference import finder

    if flags.whole and flags.finder not in (None, finder.NONE):
        raise UserError(f"--whole and --finder={flags.finder} exclude each other; give one of them")
    if flags.uncertain is not None and flags.uncertain < 1:
        raise UserError(f"--uncertain={flags.uncertain} must be at least 1")
    if flags.uncertain and (paths.is_remote(flags.input) or paths.is_remote(flags.output)):
        raise UserError(f"--uncertain={flags.uncertain} is for files on a disk, not in a bucket")
    if _finds_boxes(task):
        reason = "a network that finds boxes itself"
        others = ["box", "boxes", "whole", "finder", "max_people"]
        others += ["num_stacks", "heatmaps", "decode"]
    else:
        given = [name for name in ("whole", "box", "boxes") if getattr(flags, name)]
        reason = "which has no finder; give one with --finder"
        if given:
            reason = f"which has no use for a finder because of --{given[0]}"
        others = [] if _finder(flags, task) else ["min_score", "max_people"]
    for name in others:
        if getattr(flags, name) not in (None, False):
            raise UserError(f"--{name} is not for {flags.checkpoint}, {reason}")


def _finder(flags: argparse.Namespace, task) -> str | None:
    """Returns the network that finds people for a network that predicts poses in boxes, if any."""
    from hourglass_jax.inference import finder

    name = finder.suitable(task.joints) if flags.finder in (None, finder.AUTO) else flags.finder
    given = flags.whole or flags.box is not None or flags.boxes is not None
    return None if given or _finds_boxes(task) or name == finder.NONE else name


def _predictor(flags: argparse.Namespace, task) -> "Predictor":
    """Returns the network of a task, ready to predict."""
    from hourglass_jax.inference.detector import Detector
    from hourglass_jax.inference.estimator import PoseEstimator
    from hourglass_jax.inference.finder import Finder

    options = {
        "flip_test": flags.flip_test,
        "scales": _scales(flags.scales),
        "batch_size": flags.batch_size,
    }
    if _finds_boxes(task):
        score = task.min_score if flags.min_score is None else flags.min_score
        return Detector.from_checkpoint(flags.checkpoint, min_score=score, **options)
    finder, where = None, _finder(flags, task)
    if where is not None:
        limits = {"min_score": flags.min_score, "max_people": flags.max_people}
        finder = Finder.from_checkpoint(where, batch_size=flags.batch_size, **limits)
    return PoseEstimator.from_checkpoint(
        flags.checkpoint,
        finder=finder,
        decode=flags.decode,
        num_stacks=flags.num_stacks,
        compare_stacks=flags.uncertain is not None,
        **options,
    )


def _finds_boxes(task) -> bool:
    return bool(getattr(task, "categories", ()))


def _command(flags: argparse.Namespace, task) -> dict[str, list[str]]:
    """Returns what the results depend on: see `Results`."""
    from hourglass_jax.checkpoint import trained

    def identity(path: str, flag: str) -> str:
        return digests.of_small_files(trained.locate(paths.path(path), flag))

    real = flags.input if paths.is_remote(flags.input) else os.path.realpath(flags.input)
    command = {
        "checkpoint": [flags.checkpoint, identity(flags.checkpoint, "--checkpoint")],
        "input": [flags.input, real],
    }
    finder = _finder(flags, task)
    if finder is not None:
        command["finder"] = [finder, identity(finder, "--finder")]
    if flags.boxes is not None:
        content = paths.path(flags.boxes).read_bytes()
        command["boxes"] = [flags.boxes, hashlib.sha256(content).hexdigest()]
    names = ("box", "num_stacks", "scales", "decode", "min_score", "max_people")
    values = {name: getattr(flags, name) for name in names}
    values |= {"heatmaps": flags.heatmaps, "no_flip_test": flags.flip_test is False}
    # Results from before these were flags go on.
    values |= {"smooth": flags.smooth or None, "no_overlays": True if not flags.overlays else None}
    for name, value in values.items():
        command[name] = [str(value)] * 2
    return command


@contextlib.contextmanager
def _device_errors(path: pathlib.Path):
    """Returns a context in which an error of the device is a RunError."""
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        reason = f"{path}: {' '.join(str(error).split())[:200]}"
        raise RunError(f"{reason}; a lower --batch_size may help") from error


def _scales(text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(scale) for scale in text.split(","))
    except ValueError:
        raise UserError(f"--scales={text}: give numbers, such as 0.8,1,1.2") from None


def run() -> None:
    """Runs the command; its exit statuses are those of `main`, and 2 for a user's mistake."""
    preemption.end_at_once(resumes=lambda: False)
    gc.disable()  # nothing of an import is garbage, and looking for it takes time
    with command_line.reporting_errors():
        sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
