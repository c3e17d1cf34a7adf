"""Prediction for image and video files."""

import itertools
import pathlib
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from hourglass_jax.errors import UserError
from hourglass_jax.image import io
from hourglass_jax.image.frames import Frames, open_frames
from hourglass_jax.inference.boxes import Boxes
from hourglass_jax.inference.drawings import Drawings
from hourglass_jax.inference.estimator import PoseEstimator, Poses
from hourglass_jax.inference.results import Results
from hourglass_jax.runtime.waiting import Waiting


class Files:
    """Runs an estimator over files, and writes results and drawings of them.

    Attributes:
      estimator: estimator of poses.
      boxes: boxes around people.
      results: results to write to.
      heatmaps: whether to save heatmaps of images as well.
      batch_size: people per batch.
      between: called between two batches of a video; may raise to stop.
    """

    def __init__(
        self,
        estimator: PoseEstimator,
        boxes: Boxes,
        results: Results,
        *,
        heatmaps: bool = False,
        batch_size: int = 8,
        between: Callable[[], None] = lambda: None,
    ):
        self.estimator, self.boxes, self.results = estimator, boxes, results
        self.heatmaps, self.batch_size, self.between = heatmaps, batch_size, between
        self._drawings = Drawings(estimator, results)

    def __call__(self, path: pathlib.Path, name: str) -> None:
        """Predicts the poses in a file.

        Args:
          path: image or video file.
          name: name of the file in the results.

        Raises:
          UserError: the file cannot be read, or not to its end, or a box shows nothing of it; the
            rest of the results is added before.
        """
        frames = open_frames(path)
        if frames is None:
            self._image(path, name)
        else:
            with frames:
                self._video(frames, name)

    def _image(self, path: pathlib.Path, name: str) -> None:
        image = io.as_rgb(path)
        boxes, problems = self._boxes(name, image.shape)
        if not len(boxes):
            _raise(problems)
        poses = self.estimator.estimate([(image, b) for b in boxes], heatmaps=self.heatmaps)
        people = self.results.add(None, poses)
        self._drawings.image(image, people)
        if self.heatmaps:
            self._drawings.heatmaps(image, poses)
        _raise(problems)

    def _boxes(
        self, name: str, shape: tuple[int, ...]
    ) -> tuple[Float[np.ndarray, "people 4"], list[str]]:
        """Returns the boxes in an image of a shape, and what is wrong with others."""
        boxes, problems = self.boxes.on(name, shape)
        return self.estimator.check_boxes(boxes, shape), problems

    def _video(self, frames: Frames, name: str) -> None:
        pairs = iter(frames)
        first = next(pairs)
        boxes, problems = self._boxes(name, first[0].shape)
        if not len(boxes):
            _raise(problems)
        pairs = itertools.chain([first], pairs)
        per_batch = max(self.batch_size // max(len(boxes), 1), 1)
        waiting = Waiting(frames.announced, unit="frames")
        number, known = 0, self.results.known()
        with self._drawings.film(frames.rate) as film:
            # One batch of frames at a time, so that memory does not grow with the video.
            while batch := list(itertools.islice(pairs, per_batch)):
                self.between()
                found = list(itertools.islice(known, len(batch)))
                # Where a stopped command left a batch in the middle, it is computed as a whole:
                # batches of another size could give other bits.
                if len(found) < len(batch):
                    # Pages of a TIFF, and some videos' frames, differ in size.
                    each = [self._boxes(name, frame.shape)[0] for frame, _ in batch]
                    poses = self.estimator.estimate(
                        [
                            (frame, box)
                            for (frame, _), boxes in zip(batch, each, strict=True)
                            for box in boxes
                        ]
                    )
                    ends = np.cumsum([len(boxes) for boxes in each])
                    found = [
                        self.results.add(number + i, _part(poses, end - len(boxes), len(boxes)))
                        for i, (boxes, end) in enumerate(zip(each, ends, strict=True))
                    ]
                for (frame, time), people in zip(batch, found, strict=True):
                    film.add(frame, people, time)
                    waiting.advance()
                number += len(batch)
        _raise([*problems, *([frames.problem] if frames.problem else [])])


def _raise(problems: list[str]) -> None:
    """Raises UserError for what is left out of a file, if anything is."""
    if problems:
        more = [f"and {len(problems) - 3} more"] if len(problems) > 3 else []
        raise UserError("; ".join([*problems[:3], *more]))


def _part(poses: Poses, begin: int, count: int) -> Poses:
    """Returns some of the people."""
    part = slice(begin, begin + count)
    return Poses(poses.joints[part], poses.scores[part], poses.names, poses.boxes[part])
