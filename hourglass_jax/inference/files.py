"""Prediction for image and video files, with drawings of the results."""

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
from hourglass_jax.image.draw import overlay_heatmaps
from hourglass_jax.inference.boxes import Boxes
from hourglass_jax.inference.estimator import PoseEstimator, Poses
from hourglass_jax.inference.results import Results
from hourglass_jax.runtime.waiting import Waiting
from hourglass_jax.tasks.base import Instance

logger = logging.getLogger(__name__)
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
# Largest side of heatmap overlays, px: larger ones show little more for much more memory.
_LARGEST = 1600


def inputs(pattern: str, output: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields each input file with the name of its results, without drawings from former runs.

    Args:
      pattern: a file, a folder, or a pattern such as "*.jpg".
      output: folder of results.

    Raises:
      UserError: there is no image or video.
    """
    path = pathlib.Path(pattern)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        paths = [p for p in files if p.suffix.lower() in (*io.SUFFIXES, *VIDEOS)]
        others = len(files) - len(paths)
        if others:
            logger.info("skipped %d files of %s without an image's or video's suffix", others, path)
        names = [str(p.relative_to(path)) for p in paths]
    elif path.is_file():
        paths, names = [path], [path.name]
    else:
        paths = [pathlib.Path(p) for p in sorted(glob.glob(pattern, recursive=True))]
        paths = [p for p in paths if p.is_file()]
        root = pathlib.Path(os.path.commonpath([p.parent for p in paths])) if paths else path
        names = [str(p.relative_to(root)) for p in paths]
    # Drawings of a former run are not inputs, if the output is inside the input.
    drawn = {(output / folder).resolve() for folder in ("overlays", "heatmaps")}
    pairs = [
        (path, name)
        for path, name in zip(paths, names, strict=True)
        if not drawn & set(path.resolve().parents)
    ]
    if not pairs:
        raise UserError(f"--input={pattern}: there is no image or video of that name")
    yield from pairs


class Files:
    """Runs an estimator over files, and writes results and overlays.

    Attributes:
      estimator: estimator of poses.
      boxes: boxes around people.
      results: results to write to.
      heatmaps: whether to save heatmaps of images as well.
      batch_size: people per batch.
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
        """Predicts the poses in a file.

        Args:
          path: image or video file.
          name: name of the file in the results.

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
        # JPEG is limited to 65,535 px.
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
        """Returns the image, scaled down if it is large, with the heatmaps of all people."""
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
            # One batch of frames at a time, so that memory does not grow with the video.
            while batch := list(itertools.islice(frames, per_batch)):
                every = self.estimator.estimate([(f, box) for f in batch for box in people])
                for i, frame in enumerate(batch):
                    part = slice(i * len(people), (i + 1) * len(people))
                    poses = Poses(
                        every.joints[part], every.scores[part], every.names, every.boxes[part]
                    )
                    self.results.add(f"{name}#{number}", poses)
                    drawn = draw(frame, poses, self.estimator)
                    writer.write(np.ascontiguousarray(drawn[..., ::-1]))
                    number += 1
                    waiting.advance()
        if number < total:  # files often announce too many, so this may not be damage
            logger.warning("%s announces %d frames, but only %d could be read", path, total, number)


def _frames(capture) -> Iterator[np.ndarray]:
    """Yields the frames of a video in RGB."""
    while (read := capture.read())[0]:
        yield np.ascontiguousarray(read[1][..., ::-1])


def draw(image: np.ndarray, poses: Poses, estimator: PoseEstimator) -> np.ndarray:
    """Returns the image with the joints that are predicted with confidence."""
    instances = [
        Instance(score=float(scores.mean()), joints=joints, joint_scores=scores)
        for joints, scores in zip(poses.joints, poses.scores, strict=True)
    ]
    return estimator.task.draw(image, instances)
