"""Prediction for image and video files."""

import contextlib
import itertools
import pathlib
from collections.abc import Callable, Container, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from hourglass_jax.errors import UserError
from hourglass_jax.image import io
from hourglass_jax.image.frames import Frames
from hourglass_jax.image.streams import open_frames
from hourglass_jax.inference.boxes import Boxes
from hourglass_jax.inference.drawings import Drawings, Film
from hourglass_jax.inference.found import Detections, Poses, Predictor
from hourglass_jax.inference.results import Results
from hourglass_jax.runtime import paths
from hourglass_jax.runtime.waiting import Waiting

Image = UInt8[np.ndarray, "height width 3"]
Found = Poses | Detections
# Pixels of an image that is not kept in memory together with others.
_LARGE = 2**24


class Files:
    """Runs a network over files, and writes results and drawings of them.

    Attributes:
      predictor: what finds people or objects in images.
      boxes: boxes around people.
      results: results to write to.
      heatmaps: whether to save heatmaps of images as well.
      overlays: whether to draw what is found into the images and videos.
      batch_size: people, or images, per batch.
      between: called between two batches of a video; may raise to stop.
    """

    def __init__(
        self,
        predictor: Predictor,
        boxes: Boxes,
        results: Results,
        *,
        heatmaps: bool = False,
        overlays: bool = True,
        batch_size: int = 8,
        between: Callable[[], None] = lambda: None,
    ):
        self.predictor, self.boxes, self.results = predictor, boxes, results
        self.heatmaps, self.batch_size, self.between = heatmaps, batch_size, between
        self.overlays, self._drawings = overlays, Drawings(predictor.task, results)

    def __call__(self, files: Sequence[tuple[pathlib.Path, str]], left: Container[str]) -> None:
        """Predicts what is in several files, and adds it to the results file by file.

        The same files should be given together after a command was stopped: batches of others could
        give other bits.

        Args:
          files: image and video files, with their names in the results.
          left: names of the files that are not in the results yet.
        """
        with paths.all_local([path for path, _ in files]) as copies:
            images = [self._read(copy) if len(files) > 1 else None for copy in copies]
            found = self._together(images, [name for _, name in files])
            rows = zip(files, copies, images, found, strict=True)
            # The journal goes on with the file that a stopped command left in the middle.
            for (path, name), copy, image, one in sorted(
                rows, key=lambda row: not self.results.is_begun(row[0][1])
            ):
                if name in left:
                    with self.results.file(path, name, copy):
                        self._file(copy, name, image, one)

    def _read(self, path: pathlib.Path) -> Image | None:
        """Returns an image; None for what is looked at alone: large ones, videos, broken files."""
        try:
            size = io.size_of(path)
            if size is None or size[0] * size[1] > _LARGE:
                return None
            frames = open_frames(path)
            if frames is None:
                return io.as_rgb(path)
            frames.close()
        except (UserError, OSError, cv2.error, MemoryError):
            pass  # it fails again, by name
        return None

    def _together(self, images: Sequence[Image | None], names: Sequence[str]) -> list[Found | None]:
        """Returns what is in each image; None where that has to be found image by image."""
        found: list[Found | None] = [None] * len(images)
        there = {i: image for i, image in enumerate(images) if image is not None}
        if there:
            boxes = [self.boxes.on(names[i], image.shape)[0] for i, image in there.items()]
            with contextlib.suppress(UserError, cv2.error, MemoryError):
                each = self.predictor.predict(list(there.values()), boxes, heatmaps=self.heatmaps)
                for i, one in zip(there, each, strict=True):
                    found[i] = one
        return found

    def _file(self, path: pathlib.Path, name: str, image: Image | None, found: Found | None):
        """Predicts what is in a file, unless it was found already.

        Raises:
          UserError: the file cannot be read, or not to its end, or a box shows nothing of it; the
            rest of the results is added before.
        """
        frames = open_frames(path) if image is None else None
        if frames is None:
            self._image(io.as_rgb(path) if image is None else image, name, found)
        else:
            with frames:
                self._video(frames, name)

    def _image(self, image: Image, name: str, found: Found | None) -> None:
        boxes, problems = self._boxes(name, image.shape)
        if found is None:
            (found,) = self.predictor.predict([image], [boxes], heatmaps=self.heatmaps)
        entries = self.results.add(None, found.instances)
        if self.overlays:
            self._drawings.image(image, entries)
        if self.heatmaps and isinstance(found, Poses):
            self._drawings.heatmaps(image, found)
        _raise(problems)

    def _boxes(self, name: str, shape: tuple[int, ...]) -> tuple[list | None, list[str]]:
        """Returns the given boxes in an image of a shape, and what is wrong with others."""
        boxes, problems = self.boxes.on(name, shape)
        if boxes is not None and not boxes:
            _raise(problems)
        return boxes, problems

    def _video(self, frames: Frames, name: str) -> None:
        pairs = iter(frames)
        first = next(pairs)
        boxes, problems = self._boxes(name, first[0].shape)
        pairs = itertools.chain([first], pairs)
        per_batch = max(self.batch_size // max(len(boxes or []), 1), 1)
        waiting = Waiting(frames.announced, unit="frames")
        number, known = 0, self.results.known()
        with self._film(frames.rate) as film:
            # One batch of frames at a time, so that memory does not grow with the video.
            while batch := list(itertools.islice(pairs, per_batch)):
                self.between()
                found = list(itertools.islice(known, len(batch)))
                # Where a stopped command left a batch in the middle, it is computed as a whole:
                # batches of another size could give other bits.
                if len(found) < len(batch):
                    images = [frame for frame, _ in batch]
                    # Pages of a TIFF, and some videos' frames, differ in size.
                    each = [self.boxes.on(name, image.shape)[0] for image in images]
                    found = [
                        self.results.add(number + i, one.instances)
                        for i, one in enumerate(self.predictor.predict(images, each))
                    ]
                for (frame, time), entries in zip(batch, found, strict=True):
                    if film is not None:
                        film.add(frame, entries, time)
                    waiting.advance()
                number += len(batch)
        _raise([*problems, *([frames.problem] if frames.problem else [])])

    def _film(self, rate: float) -> contextlib.AbstractContextManager[Film | None]:
        return self._drawings.film(rate) if self.overlays else contextlib.nullcontext()


def _raise(problems: list[str]) -> None:
    """Raises UserError for what is left out of a file, if anything is."""
    if problems:
        more = [f"and {len(problems) - 3} more"] if len(problems) > 3 else []
        raise UserError("; ".join([*problems[:3], *more]))
