"""The command that finds poses in pictures and videos. `python -m hourglass_jax.predict --help`."""

import argparse
import contextlib
import csv
import glob
import itertools
import json
import logging
import os
import pathlib
import sys
import time
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import draw as visualize
from hourglass_jax.image import geometry
from hourglass_jax.image import io as photo
from hourglass_jax.inference.boxes import Boxes
from hourglass_jax.inference.estimator import PoseEstimator, Poses, check_boxes, square_around
from hourglass_jax.runtime import command_line as command
from hourglass_jax.runtime import startup

logger = logging.getLogger("hourglass_jax.predict")  # also where it is run as __main__
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
# Heatmaps say little more on a larger picture, px, and cost its memory many times.
_LARGEST = 1600


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = command.Arguments(prog="python -m hourglass_jax.predict", description=__doc__)
    add = parser.add_argument
    where = "a run's workdir, one step's folder in it, or a network of the package's"
    add("--checkpoint", default="lsp-small", help=f"{where}; default: lsp-small")
    add("--input", required=True, help='a picture, a video, a folder, or a pattern as "*.jpg"')
    add("--output", required=True, help="folder for overlays, predictions.json and .csv")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--box", help="x,y,width,height in px: the person, in every picture")
    group.add_argument("--boxes", help="JSON or CSV file with the boxes of each picture's people")
    add("--num_stacks", type=int, help="stop after so many stacks, which is faster")
    add("--heatmaps", action="store_true", help="also save heatmaps, as pictures and .npz")
    add("--no_flip_test", action="store_true", help="look once, and not also at a mirror image")
    add("--scales", default="1", help="sizes to look at people in, as 0.8,1,1.2; default: 1")
    add("--decode", default="quarter", help="quarter (as in the paper) or refined")
    add("--batch_size", type=int, default=8, help="people at a time; default: 8")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command; returns 0, or 1 where some of the input could not be read."""
    flags = _arguments(argv)
    output = pathlib.Path(flags.output)
    files = list(_inputs(flags.input, output))
    boxes = Boxes.from_flags(flags.box, flags.boxes)
    boxes.check([name for _, name in files])
    try:
        scales = tuple(float(scale) for scale in flags.scales.split(","))
    except ValueError:
        raise UserError(f"--scales={flags.scales}: give numbers, as 0.8,1,1.2") from None
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={output}: {error.strerror}; choose another folder") from None
    startup.keep_compiled()
    startup.keep_memory()
    estimator = PoseEstimator.from_checkpoint(
        flags.checkpoint,
        flip_test=not flags.no_flip_test,
        decode=flags.decode,
        scales=scales,
        num_stacks=flags.num_stacks,
        batch_size=flags.batch_size,
    )
    failed = 0
    progress = _Progress(len(files))
    with _Results(output, estimator) as results:
        for path, name in files:
            try:
                if path.suffix.lower() in VIDEOS:
                    _video(path, name, boxes, results, flags)
                else:
                    _picture(path, name, boxes, results, flags)
            except (UserError, OSError, cv2.error) as error:
                failed += 1
                known = isinstance(error, UserError)
                text = error if known else f"{path}: {' '.join(str(error).split())}"
                print(f"error: {text}", file=sys.stderr)
            progress.advance()
    logger.info(
        "%d people in %d of %d files: %s", results.people, len(files) - failed, len(files), output
    )
    return 1 if failed else 0


def _inputs(pattern: str, output: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields each file with the name that its results go by; not what was drawn in the output."""
    path = pathlib.Path(pattern)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        found = [p for p in files if p.suffix.lower() in (*photo.SUFFIXES, *VIDEOS)]
        others = len(files) - len(found)
        if others:
            logger.info("%d files of %s are no pictures or videos by their names", others, path)
        names = [str(p.relative_to(path)) for p in found]
    elif path.is_file():
        found, names = [path], [path.name]
    else:
        found = [pathlib.Path(p) for p in sorted(glob.glob(pattern, recursive=True))]
        found = [p for p in found if p.is_file()]
        root = pathlib.Path(os.path.commonpath([p.parent for p in found])) if found else path
        names = [str(p.relative_to(root)) for p in found]
    # What it drew before is no input, where results lie beside the pictures.
    drawn = {(output / folder).resolve() for folder in ("overlays", "heatmaps")}
    pairs = [
        (path, name)
        for path, name in zip(found, names, strict=True)
        if not drawn & set(path.resolve().parents)
    ]
    if not pairs:
        raise UserError(f"--input={pattern}: there is no picture or video of that name")
    yield from pairs


def _picture(path, name, boxes: Boxes, results: "_Results", flags) -> None:
    picture = photo.as_rgb(path)
    people = check_boxes(boxes.of(name), picture.shape)
    poses = results.estimator.estimate([(picture, b) for b in people], heatmaps=flags.heatmaps)
    results.add(name, poses)
    # JPEG ends at 65,535 px.
    suffix = ".jpg" if max(picture.shape) < 2**16 else ".png"
    target = results.place("overlays", name, suffix)
    Image.fromarray(draw(picture, poses, results.estimator)).save(target, quality=90)
    if flags.heatmaps:
        np.savez_compressed(
            results.place("heatmaps", name, ".npz"), heatmaps=poses.heatmaps, boxes=poses.boxes
        )
        target = results.place("heatmaps", name, ".jpg")
        Image.fromarray(_with_heatmaps(picture, poses)).save(target, quality=90)


def _with_heatmaps(picture: np.ndarray, poses: Poses) -> np.ndarray:
    """The picture, reduced if it is large, under everybody's heatmaps."""
    zoom = min(1.0, _LARGEST / max(picture.shape))
    shape = [max(round(side * zoom), 1) for side in picture.shape[1::-1]]
    picture = cv2.resize(picture, shape, interpolation=cv2.INTER_AREA)
    highest = np.zeros(picture.shape[:2], np.float32)
    for box, heatmaps in zip(poses.boxes, poses.heatmaps, strict=True):
        center, size = square_around(box)
        to_heatmap = geometry.crop_map((center + 0.5) * zoom - 0.5, size * zoom, len(heatmaps))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        found = cv2.warpAffine(heatmaps.max(-1).astype(np.float32), to_heatmap, shape, flags=flags)
        highest = np.maximum(highest, found)
    return visualize.overlay_heatmaps(picture, highest[..., None])


def _video(path, name, boxes: Boxes, results: "_Results", flags) -> None:
    with contextlib.ExitStack() as stack:
        capture = cv2.VideoCapture(str(path))
        stack.callback(capture.release)
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        frames = _frames(capture)
        first = next(frames, None)
        if first is None:
            raise UserError(f"{path} is no video that can be read")
        people = check_boxes(boxes.of(name), first.shape)
        target = results.place("overlays", name, ".mp4")
        code, rate = cv2.VideoWriter_fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS)
        writer = cv2.VideoWriter(str(target), code, rate if rate > 0 else 25.0, first.shape[1::-1])
        stack.callback(writer.release)
        if not writer.isOpened():
            raise UserError(f"{target} cannot be written")
        progress = _Progress(total, unit="frames")
        number, frames = 0, itertools.chain([first], frames)
        per_batch = max(flags.batch_size // max(len(people), 1), 1)
        # A batch of frames at a time, so that memory does not grow with the video.
        while some := list(itertools.islice(frames, per_batch)):
            found = results.estimator.estimate([(frame, box) for frame in some for box in people])
            for i, frame in enumerate(some):
                part = slice(i * len(people), (i + 1) * len(people))
                poses = Poses(
                    found.joints[part], found.scores[part], found.names, found.boxes[part]
                )
                results.add(f"{name}#{number}", poses)
                drawn = draw(frame, poses, results.estimator)
                writer.write(np.ascontiguousarray(drawn[..., ::-1]))
                number += 1
                progress.advance()
    if number < total:  # what a file announces is often too much, so this need not be damage
        logger.warning("%s announces %d frames, and %d could be read", path, total, number)


def _frames(capture) -> Iterator[np.ndarray]:
    """The frames of a video in RGB."""
    while (read := capture.read())[0]:
        yield np.ascontiguousarray(read[1][..., ::-1])


def draw(picture: np.ndarray, poses: Poses, estimator: PoseEstimator) -> np.ndarray:
    """Returns the picture with the joints that the network is fairly sure of."""
    for joints, scores in zip(poses.joints, poses.scores, strict=True):
        picture = visualize.draw_skeleton(
            picture, joints, scores > visualize.SURE, estimator.skeleton
        )
    return picture


class _Results:
    """What is found, written as it is found: predictions.json (COCO results) and .csv."""

    def __init__(self, output: pathlib.Path, estimator: PoseEstimator):
        self.output, self.estimator, self.people = output, estimator, 0
        self._taken: set[pathlib.Path] = set()

    def __enter__(self) -> "_Results":
        self._json = (self.output / "predictions.json").open("w")
        self._csv = (self.output / "predictions.csv").open("w", newline="")
        self._json.write("[")
        self._rows = csv.writer(self._csv)
        self._rows.writerow(["image", "person", "joint", "x", "y", "score"])
        return self

    def __exit__(self, *unused) -> None:
        self._json.write("\n]\n")
        self._json.close()
        self._csv.close()

    def add(self, name: str, poses: Poses) -> None:
        """Writes the poses of one picture."""
        for person, (joints, scores) in enumerate(zip(poses.joints, poses.scores, strict=True)):
            table = np.concatenate([joints, scores[:, None]], axis=1)
            entry = {
                "image_id": name,
                "category_id": 1,
                "bbox": np.round(poses.boxes[person], 2).tolist(),
                "keypoints": np.round(table.ravel(), 4).tolist(),
                "score": round(float(scores.mean()), 4),
            }
            self._json.write(("," if self.people else "") + "\n" + json.dumps(entry))
            for joint, (x, y, score) in zip(poses.names, table, strict=True):
                self._rows.writerow([name, person, joint, f"{x:.2f}", f"{y:.2f}", f"{score:.4f}"])
            self.people += 1

    def place(self, folder: str, name: str, suffix: str) -> pathlib.Path:
        """Returns where a picture's result goes; names that differ in their suffix keep it."""
        path = self.output / folder / pathlib.Path(name).with_suffix(suffix)
        if path in self._taken:
            path = path.with_name(pathlib.Path(name).name + suffix)
        self._taken.add(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class _Progress:
    """Says now and then how much is done, and how long the rest takes."""

    EVERY = 10.0  # seconds

    def __init__(self, total: int, unit: str = "files"):
        self._total, self._unit, self._done = total, unit, 0
        self._start = self._said = time.perf_counter()

    def advance(self) -> None:
        self._done += 1
        now = time.perf_counter()
        if now - self._said > self.EVERY:
            self._said = now
            left = round((now - self._start) / self._done * max(self._total - self._done, 0))
            logger.info(
                "%d of %d %s, %d:%02d left", self._done, self._total, self._unit, *divmod(left, 60)
            )


def run() -> None:
    """Runs the command; exit status 0, 2 for the user's mistake, else 1."""
    with command.speaking():
        sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
