"""Prediction for image and video files, with drawings of the results."""

import contextlib
import itertools
import pathlib

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry, io
from hourglass_jax.image.draw import overlay_heatmaps
from hourglass_jax.image.frames import Frames, open_frames
from hourglass_jax.inference.boxes import Boxes
from hourglass_jax.inference.estimator import PoseEstimator, Poses
from hourglass_jax.inference.results import Results
from hourglass_jax.runtime.waiting import Waiting
from hourglass_jax.tasks.base import Instance

# Largest side of heatmap overlays, px: larger ones show little more for much more memory.
_LARGEST = 1600


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
        frames = open_frames(path)
        if frames is None:
            self._image(path, name)
        else:
            with frames:
                self._video(frames, name)

    def _image(self, path: pathlib.Path, name: str) -> None:
        image = io.as_rgb(path)
        listed, problems = self.boxes.on(name, image.shape)
        people = self.estimator.check_boxes(listed, image.shape)
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
        if problems:
            raise UserError("; ".join(problems[:3]))

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

    def _video(self, frames: Frames, name: str) -> None:
        pairs = iter(frames)
        first, _ = pair = next(pairs)
        listed, problems = self.boxes.on(name, first.shape)
        people = self.estimator.check_boxes(listed, first.shape)
        with contextlib.ExitStack() as stack:
            target = self.results.place("overlays", name, ".mp4")
            code = cv2.VideoWriter.fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(target), code, frames.rate, first.shape[1::-1])
            stack.callback(writer.release)
            if not writer.isOpened():
                raise UserError(f"{target} cannot be written")
            waiting = Waiting(frames.announced, unit="frames")
            number, pairs = 0, itertools.chain([pair], pairs)
            per_batch = max(self.batch_size // max(len(people), 1), 1)
            # One batch of frames at a time, so that memory does not grow with the video.
            while batch := [frame for frame, _ in itertools.islice(pairs, per_batch)]:
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
        problems += [frames.problem] if frames.problem else []
        if problems:
            raise UserError("; ".join(problems[:3]))


def draw(image: np.ndarray, poses: Poses, estimator: PoseEstimator) -> np.ndarray:
    """Returns the image with the joints that are predicted with confidence."""
    instances = [
        Instance(score=float(scores.mean()), joints=joints, joint_scores=scores)
        for joints, scores in zip(poses.joints, poses.scores, strict=True)
    ]
    return estimator.task.draw(image, instances)
