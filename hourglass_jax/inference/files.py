"""Images and videos from the disk through an estimator, and what is drawn of them."""

import contextlib
import glob
import itertools
import logging
import os
import pathlib
from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry, io
from hourglass_jax.inference.boxes import Boxes
from hourglass_jax.inference.estimator import PoseEstimator, Poses
from hourglass_jax.inference.results import Results
from hourglass_jax.runtime.waiting import Waiting
from hourglass_jax.tasks.base import Instance
from hourglass_jax.tasks.single_pose.drawing import overlay_heatmaps

logger = logging.getLogger(__name__)
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
# Heatmaps say little more on a larger image, px, and cost its memory many times.
_LARGEST = 1600


def inputs(pattern: str, output: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields each file with the name of its results; leaves out what was drawn in the output.

    Args:
      pattern: a file, a folder, or a pattern as "*.jpg".
      output: the folder of results.

    Raises:
      UserError: there is no such file.
    """
    path = pathlib.Path(pattern)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        found = [p for p in files if p.suffix.lower() in (*io.SUFFIXES, *VIDEOS)]
        others = len(files) - len(found)
        if others:
            logger.info("%d files of %s are not images or videos by their names", others, path)
        names = [str(p.relative_to(path)) for p in found]
    elif path.is_file():
        found, names = [path], [path.name]
    else:
        found = [pathlib.Path(p) for p in sorted(glob.glob(pattern, recursive=True))]
        found = [p for p in found if p.is_file()]
        root = pathlib.Path(os.path.commonpath([p.parent for p in found])) if found else path
        names = [str(p.relative_to(root)) for p in found]
    # What it drew before is no input, where results lie beside the images.
    drawn = {(output / folder).resolve() for folder in ("overlays", "heatmaps")}
    pairs = [
        (path, name)
        for path, name in zip(found, names, strict=True)
        if not drawn & set(path.resolve().parents)
    ]
    if not pairs:
        raise UserError(f"--input={pattern}: there is no image or video of that name")
    yield from pairs


class Files:
    """Runs an estimator over files, and writes results and overlays.

    Attributes:
      estimator: of the poses.
      boxes: where people are.
      results: to write to.
      heatmaps: whether heatmaps are saved as well.
      batch_size: people at a time.
    """

    def __init__(
        self,
        estimator: PoseEstimator,
        boxes: Boxes,
        results: Results,
        *,
        heatmaps: bool = False,
        batch_size: int = 8,
    ):
        self.estimator, self.boxes, self.results = estimator, boxes, results
        self.heatmaps, self.batch_size = heatmaps, batch_size

    def __call__(self, path: pathlib.Path, name: str) -> None:
        """Finds the poses in a file.

        Args:
          path: of an image or a video.
          name: that its results go by.

        Raises:
          UserError: the file cannot be read, or an overlay cannot be written.
        """
        if path.suffix.lower() in VIDEOS:
            self._video(path, name)
        else:
            self._image(path, name)

    def _image(self, path: pathlib.Path, name: str) -> None:
        image = io.as_rgb(path)
        people = self.estimator.check_boxes(self.boxes.of(name), image.shape)
        poses = self.estimator.estimate([(image, b) for b in people], heatmaps=self.heatmaps)
        self.results.add(name, poses)
        # JPEG ends at 65,535 px.
        suffix = ".jpg" if max(image.shape) < 2**16 else ".png"
        target = self.results.place("overlays", name, suffix)
        Image.fromarray(draw(image, poses, self.estimator)).save(target, quality=90)
        if poses.heatmaps is not None:
            target = self.results.place("heatmaps", name, ".npz")
            np.savez_compressed(target, heatmaps=poses.heatmaps, boxes=poses.boxes)
            target = self.results.place("heatmaps", name, ".jpg")
            overlay = self._with_heatmaps(image, poses.boxes, poses.heatmaps)
            Image.fromarray(overlay).save(target, quality=90)

    def _with_heatmaps(
        self,
        image: UInt8[np.ndarray, "height width 3"],
        boxes: Float[np.ndarray, "people 4"],
        heatmaps: Float[np.ndarray, "people h w joints"],
    ) -> UInt8[np.ndarray, "newheight newwidth 3"]:
        """The image, reduced if it is large, under everybody's heatmaps."""
        zoom = min(1.0, _LARGEST / max(image.shape))
        shape = [max(round(side * zoom), 1) for side in image.shape[1::-1]]
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
        highest = np.zeros(image.shape[:2], np.float32)
        for box, maps in zip(boxes, heatmaps, strict=True):
            center, size = self.estimator.square_around(box)
            to_heatmap = geometry.crop_map((center + 0.5) * zoom - 0.5, size * zoom, len(maps))
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            peaks = maps.max(-1).astype(np.float32)
            highest = np.maximum(highest, cv2.warpAffine(peaks, to_heatmap, shape, flags=flags))
        return overlay_heatmaps(image, highest[..., None])

    def _video(self, path: pathlib.Path, name: str) -> None:
        with contextlib.ExitStack() as stack:
            capture = cv2.VideoCapture(str(path))
            stack.callback(capture.release)
            total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            frames = _frames(capture)
            first = next(frames, None)
            if first is None:
                raise UserError(f"{path} is not a video that can be read")
            people = self.estimator.check_boxes(self.boxes.of(name), first.shape)
            target = self.results.place("overlays", name, ".mp4")
            code, rate = cv2.VideoWriter.fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS)
            rate = rate if rate > 0 else 25.0
            writer = cv2.VideoWriter(str(target), code, rate, first.shape[1::-1])
            stack.callback(writer.release)
            if not writer.isOpened():
                raise UserError(f"{target} cannot be written")
            waiting = Waiting(total, unit="frames")
            number, frames = 0, itertools.chain([first], frames)
            per_batch = max(self.batch_size // max(len(people), 1), 1)
            # A batch of frames at a time, so that memory does not grow with the video.
            while some := list(itertools.islice(frames, per_batch)):
                found = self.estimator.estimate([(f, box) for f in some for box in people])
                for i, frame in enumerate(some):
                    part = slice(i * len(people), (i + 1) * len(people))
                    poses = Poses(
                        found.joints[part], found.scores[part], found.names, found.boxes[part]
                    )
                    self.results.add(f"{name}#{number}", poses)
                    drawn = draw(frame, poses, self.estimator)
                    writer.write(np.ascontiguousarray(drawn[..., ::-1]))
                    number += 1
                    waiting.advance()
        if number < total:  # what a file announces is often too much, so this need not be damage
            logger.warning("%s announces %d frames, and %d could be read", path, total, number)


def _frames(capture) -> Iterator[np.ndarray]:
    """The frames of a video in RGB."""
    while (read := capture.read())[0]:
        yield np.ascontiguousarray(read[1][..., ::-1])


def draw(image: np.ndarray, poses: Poses, estimator: PoseEstimator) -> np.ndarray:
    """Returns the image with the joints that the network is fairly sure of."""
    found = [
        Instance(score=float(scores.mean()), joints=joints, joint_scores=scores)
        for joints, scores in zip(poses.joints, poses.scores, strict=True)
    ]
    return estimator.task.draw(image, found)
