"""Drawings of results: images and videos with people or objects, and heatmaps."""

import collections
import concurrent.futures
import pathlib

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hourglass_jax.image import geometry, webm
from hourglass_jax.image.draw import overlay_heatmaps
from hourglass_jax.inference.boxes import square_around
from hourglass_jax.inference.entries import Entries
from hourglass_jax.inference.found import Poses
from hourglass_jax.inference.results import Results
from hourglass_jax.tasks.base import Task

# Largest side of heatmap overlays, px: larger ones show little more for much more memory.
_LARGEST = 1600
# Frames that wait for the thread that encodes videos.
_WAITING = 16


class Drawings:
    """Draws what is found; what cannot be drawn or written costs no results.

    Attributes:
      task: task of the network that found it.
      results: results to write to.
    """

    def __init__(self, task: Task, results: Results):
        self.task, self.results = task, results

    def image(self, image: UInt8[np.ndarray, "height width 3"], found: Entries) -> None:
        """Writes an overlay of an image."""
        # JPEG is limited to 65,535 px.
        suffix = ".jpg" if max(image.shape) < 2**16 else ".png"

        def write(file: pathlib.Path) -> None:
            Image.fromarray(self.draw(image, found)).save(file, quality=90)

        self.results.draw("overlays", suffix, write)

    def heatmaps(self, image: UInt8[np.ndarray, "height width 3"], poses: Poses) -> None:
        """Writes the heatmaps of an image, as arrays and as an overlay."""
        maps = poses.heatmaps
        assert maps is not None

        def write_arrays(file: pathlib.Path) -> None:
            np.savez_compressed(file, heatmaps=maps, boxes=poses.boxes)

        def write_overlay(file: pathlib.Path) -> None:
            overlay = self._with_heatmaps(image, poses)
            Image.fromarray(overlay).save(file, quality=90)

        self.results.draw("heatmaps", ".npz", write_arrays)
        self.results.draw("heatmaps", ".jpg", write_overlay)

    def film(self, rate: float) -> "Film":
        """Returns an overlay of a video with that many frames per second."""
        return Film(self, rate)

    def draw(self, image: UInt8[np.ndarray, "height width 3"], found: Entries) -> np.ndarray:
        """Returns a copy of the image with what was found in it."""
        return self.task.draw(image, [self.results.form.instance(entry) for entry in found])

    def _with_heatmaps(
        self, image: UInt8[np.ndarray, "height width 3"], poses: Poses
    ) -> UInt8[np.ndarray, "newheight newwidth 3"]:
        """Returns the image, scaled down if it is large, with the heatmaps of all people."""
        zoom = min(1.0, _LARGEST / max(image.shape))
        shape = [max(round(side * zoom), 1) for side in image.shape[1::-1]]
        image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
        highest = np.zeros(image.shape[:2], np.float32)
        assert poses.heatmaps is not None
        for box, maps in zip(poses.boxes, poses.heatmaps, strict=True):
            center, size = square_around(box, poses.margin)
            to_heatmap = geometry.crop_map((center + 0.5) * zoom - 0.5, size * zoom, len(maps))
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            peaks = maps.max(-1).astype(np.float32)
            highest = np.maximum(highest, cv2.warpAffine(peaks, to_heatmap, shape, flags=flags))
        return overlay_heatmaps(image, highest[..., None])


class Film:
    """An overlay of a video, which a thread writes frame by frame; a context manager.

    An error is kept until the end, so that the frames after it are predicted.
    """

    def __init__(self, drawings: Drawings, rate: float):
        self._drawings, self._rate = drawings, rate
        self._follow = drawings.results.form.following()
        self._encoded: pathlib.Path | None = None
        self._writer: webm.Writer | None = None
        self._error: Exception | None = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._pending: collections.deque[concurrent.futures.Future[None]] = collections.deque()

    def __enter__(self) -> "Film":
        return self

    def add(self, frame: UInt8[np.ndarray, "height width 3"], found: Entries, time: float) -> None:
        """Draws a frame at a time in seconds, and what was found in it, as in the journal."""
        found = self._follow(0, found)
        self._pending.append(self._thread.submit(self._write, frame, found, time))
        if len(self._pending) > _WAITING:
            self._pending.popleft().result()

    def _write(self, frame: np.ndarray, found: Entries, time: float) -> None:
        if self._error is not None:
            return
        try:
            if self._writer is None:
                self._encoded = self._drawings.results.part("overlays", ".ivf")
                self._writer = webm.Writer(self._encoded, self._rate)
            self._writer.write(self._drawings.draw(frame, found), time)
        except Exception as error:  # encoders raise many kinds
            self._error = error

    def __exit__(self, kind, *unused) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
        try:
            if kind is None:
                self._drawings.results.draw("overlays", ".webm", self._save)
        finally:
            if self._writer is not None:
                self._writer.close()
            if self._encoded is not None:
                self._encoded.unlink(missing_ok=True)

    def _save(self, file: pathlib.Path) -> None:
        if self._error is not None:
            raise self._error
        assert self._writer is not None  # a video has at least one frame
        self._writer.save(file)
