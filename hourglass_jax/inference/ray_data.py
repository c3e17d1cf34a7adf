"""Prediction with Ray Data, on this machine or on a cluster of Ray.

    python -m hourglass_jax.inference.ray_data --input=images --output=poses --workers=2

Tasks read and decode images, and actors find people and their joints, each with networks that it
has loaded. Their rows become `predictions.parquet`, which is like that of merged shards. If a
worker dies, Ray starts another one, which does again what was in hand. The cluster is the one that
RAY_ADDRESS names, which `ray job submit` sets.
"""

import argparse
import logging
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
from jaxtyping import UInt8

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.image import io
from hourglass_jax.image.frames import open_frames
from hourglass_jax.inference import finder, table
from hourglass_jax.inference.entries import Format, as_utf8
from hourglass_jax.inference.inputs import inputs
from hourglass_jax.inference.merging import TABLE
from hourglass_jax.inference.places import as_text
from hourglass_jax.inference.table import Row
from hourglass_jax.runtime import command_line, extra, lock, paths, preemption, startup
from hourglass_jax.runtime.waiting import Waiting

logger = logging.getLogger(__name__)

_ADDRESS = "RAY_ADDRESS"
# Batches in a block, the unit in which Ray hands images on.
_BATCHES = 4
_ERRORS = (UserError, OSError, cv2.error, MemoryError)

Files = Sequence[tuple[pathlib.Path, str]]


class Worker:
    """An actor: finds what is in images, with networks that it loads once."""

    def __init__(self, checkpoint: str, about: table.About, options: dict[str, Any]):
        """Loads the networks.

        Args:
          checkpoint: as for `PoseEstimator.from_checkpoint`.
          about: what the table is about.
          options: options of `PoseEstimator.from_checkpoint`; a detector takes those that it has.
        """
        from hourglass_jax.checkpoint import trained
        from hourglass_jax.inference.detector import Detector
        from hourglass_jax.inference.estimator import PoseEstimator

        startup.enable_compilation_cache()
        self._about = about
        if about.form.categories:
            known = {name: options[name] for name in ("flip_test", "batch_size")}
            score = trained.task_of(checkpoint).min_score
            self._predictor = Detector.from_checkpoint(checkpoint, min_score=score, **known)
        else:
            self._predictor = PoseEstimator.from_checkpoint(checkpoint, **options)

    def __call__(self, batch: dict[str, Any]) -> Any:
        """Returns the rows of several images as a table."""
        errors = dict(enumerate(batch["error"].tolist()))
        good = [i for i, error in errors.items() if not error]
        found: dict[int, list] = dict(zip(good, self._together(batch["pixels"][good]), strict=True))
        rows: list[Row] = []
        for i, name in enumerate(batch["image"].tolist()):
            images = []
            try:
                if i in found:
                    several = found[i] or self._predictor.predict([batch["pixels"][i]])
                    instances = several[0].instances
                    images = [(None, [self._about.form.entry(one) for one in instances])]
            except _ERRORS as error:
                errors[i] = _text(error)
            rows += table.rows(self._about.form, name, images, errors[i] or None)
        return table.arrow().Table.from_pylist(rows, schema=self._about.schema())

    def _together(self, images: Sequence[UInt8[Any, "height width 3"]]) -> list[list]:
        """Returns what is in each image, in a list; empty ones if it has to be found one by one."""
        try:
            return [[found] for found in self._predictor.predict(list(images))]
        except _ERRORS:
            return [[] for _ in images]


def decoded(row: dict[str, Any]) -> dict[str, Any]:
    """Reads and decodes an image.

    Args:
      row: {"path": path of the file, also in a bucket, as bytes, "image": its name}.

    Returns:
      {"image": name, "pixels": [height, width, 3], "error": what went wrong, or ""}.
    """
    import numpy as np

    pixels, error = np.zeros((1, 1, 3), np.uint8), ""
    path = copy = paths.path(os.fsdecode(row["path"]))
    try:
        with paths.local(path) as copy:
            frames = open_frames(copy)
            if frames is None:
                pixels = io.as_rgb(copy)
            else:
                frames.close()
                error = f"{path} has several frames; find people in it with hourglass_jax.predict"
    except _ERRORS as problem:
        error = _text(problem).replace(str(copy), str(path))
    return {"image": row["image"], "pixels": pixels, "error": error}


def predict(
    files: Files,
    checkpoint: str,
    about: table.About,
    *,
    workers: int,
    gpus: float = 0,
    batch_size: int = 8,
    **options: Any,
) -> Iterator[list[Row]]:
    """Yields the rows of images, in their order, some at a time; Ray has been started.

    Args:
      files: images with their names.
      checkpoint: see `Worker`.
      about: what the table is about.
      workers: number of actors.
      gpus: GPUs of each of them; may be less than 1.
      batch_size: images and people per batch.
      **options: further options of `PoseEstimator.from_checkpoint`.
    """
    data = extra.library("ray.data", "Ray Data", "ray")
    exceptions = extra.library("ray.exceptions", "Ray Data", "ray")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    items = [{"path": os.fsencode(path), "image": as_utf8(name)} for path, name in files]
    blocks = max(-(-len(items) // (batch_size * _BATCHES)), min(workers, len(items)))
    resources = {"num_gpus": gpus} if gpus else {"num_cpus": 1}
    found = (
        data.from_items(items, override_num_blocks=blocks)
        .map(decoded)
        .map_batches(
            Worker,
            fn_constructor_args=(checkpoint, about, {"batch_size": batch_size, **options}),
            compute=data.ActorPoolStrategy(size=workers),
            batch_size=batch_size,
            scheduling_strategy="SPREAD",
            **resources,
        )
    )
    try:
        for batch in found.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield batch.to_pylist()
    except exceptions.RayError as error:  # its last line says what went wrong in a worker
        raise RunError(f"Ray: {str(error).strip().splitlines()[-1][:300]}") from error


def start(workers: int, gpus: float) -> None:
    """Starts Ray on this machine, or connects to the cluster, unless that has been done.

    Raises:
      UserError: Ray is not installed, or workers would take all CPUs, so that nobody reads images.
      RunError: Ray does not start, or the cluster does not answer.
    """
    ray = extra.library("ray", "Ray Data", "ray")
    # Nothing is reported to anybody unless the user asks for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if ray.is_initialized():
            pass
        elif _ADDRESS in os.environ:
            ray.init(**quiet)
        else:
            cpus = workers + (os.cpu_count() or 1)
            ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
    except Exception as error:  # of many kinds
        where = os.environ.get(_ADDRESS, "this machine")
        raise RunError(f"Ray does not start on {where}: {_text(error)[:200]}") from error
    cpus = ray.cluster_resources().get("CPU", 0)
    if not gpus and workers >= cpus:
        raise UserError(
            f"--workers={workers}: the cluster has {cpus:g} CPUs, and one has to be left to read "
            f"images"
        )


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = command_line.Arguments(prog="python -m hourglass_jax.inference.ray_data")
    parser.description = "Finds people's poses, or objects, in many images, with Ray Data."
    add, path = parser.add_argument, command_line.path
    add("--checkpoint", type=path, default="people-pose", help="as for hourglass_jax.predict")
    add("--input", type=path, required=True, help="a folder of images, or a pattern, which workers "
        "read by the same path")  # fmt: skip
    add("--output", type=path, required=True, help="folder for predictions.parquet")
    add("--workers", type=int, default=2, help="number of processes with networks; default: 2")
    add("--gpus", type=float, default=0, help="GPUs of each worker, such as 1 or 0.5; default: 0")
    add("--whole", action="store_true", help="each image shows one person")
    add("--finder", type=path, help="as for hourglass_jax.predict")
    add("--num_stacks", type=int, help="number of stacks to run; fewer are faster")
    add("--no_flip_test", action="store_false", dest="flip_test", default=None,
        help="do not average over the mirror image")  # fmt: skip
    add("--batch_size", type=int, default=8, help="images and people at a time; default: 8")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command.

    Returns:
      The exit status: 0, or 1 if some of the images could not be read.
    """
    flags = _arguments(argv)
    from hourglass_jax.checkpoint import trained

    for name in ("workers", "batch_size"):
        if getattr(flags, name) < 1:
            raise UserError(f"--{name}={getattr(flags, name)} must be at least 1")
    output = paths.path(flags.output, "--output")
    files = [(path.absolute(), as_text(name)) for path, name in inputs(flags.input, output)]
    names = [name for _, name in files]
    task = trained.task_of(flags.checkpoint)
    form = Format.of(task)
    for name in ("num_stacks", "whole", "finder"):
        if form.categories and getattr(flags, name):
            raise UserError(f"--{name} is not for {flags.checkpoint}, which finds boxes itself")
    if flags.finder not in (None, finder.NONE, finder.AUTO):
        trained.locate(paths.path(flags.finder), "--finder")
    options = {name: getattr(flags, name) for name in ("num_stacks", "flip_test", "batch_size")}
    options["finder"] = finder.NONE if flags.whole else flags.finder or finder.AUTO
    command = {name: [str(value)] * 2 for name, value in {**vars(flags), **options}.items()}
    about = table.About(form, command, len(names), table.digest(names))
    failed, seen = 0, []
    extra.library("ray", "Ray Data", "ray")
    with lock.claim(output, "--output"):
        if (output / TABLE).exists():
            raise UserError(f"--output={output} holds {TABLE}; choose another folder")
        start(flags.workers, flags.gpus)
        waiting = Waiting(len(names), "images")
        with table.writing(output / TABLE, about.schema()) as add:
            limits = {"workers": flags.workers, "gpus": flags.gpus}
            for rows in predict(files, flags.checkpoint, about, **limits, **options):
                add(rows)
                for row in rows:
                    if not seen or seen[-1] != row["image"]:
                        seen.append(row["image"])
                        failed += row["error"] is not None
                        waiting.advance()
            if len(seen) != len(names) or table.digest(seen) != about.digest:
                raise RunError(f"Ray has returned {len(seen)} of {len(names)} images")
    logger.info("%d images, of which %d failed: %s", len(seen), failed, output / TABLE)
    return 1 if failed else 0


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def run() -> None:
    """Runs the command; its exit statuses are those of `main`, and 2 for a user's mistake."""
    preemption.end_at_once(resumes=lambda: False)
    with command_line.reporting_errors():
        sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    from hourglass_jax.inference import ray_data  # whose classes workers find by name

    ray_data.run()
