"""An estimator without a network, and folders of images, for tests of what surrounds it."""

import json
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from hourglass_jax import predict
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.inference.boxes import check_boxes
from hourglass_jax.inference.estimator import PoseEstimator
from hourglass_jax.inference.finder import Finder
from hourglass_jax.inference.found import Poses
from hourglass_jax.tasks.single_pose.task import SinglePose


class FakeEstimator:
    """Finds joints that depend on the pixels alone; calls `on_call` before each batch."""

    task = SinglePose(LSP)
    images_at_once = 1
    on_call = staticmethod(lambda number: None)

    def __init__(self):
        self.calls = 0

    def predict(self, images, boxes, *, heatmaps=False):
        found = []
        for image, several in zip(images, boxes, strict=True):
            several = check_boxes(several, image.shape)
            found.append((image, several))
        people = [(image, box) for image, several in found for box in several]
        poses = self.estimate(people, heatmaps=heatmaps)
        counts = [len(several) for _, several in found]
        ends = np.cumsum(counts)
        return [poses[end - n : end] for n, end in zip(counts, ends, strict=True)]

    def estimate(self, people, *, heatmaps=False):
        self.calls += 1
        self.on_call(self.calls)
        joints, scores = [], []
        for image, box in people:
            rng = np.random.default_rng(zlib.crc32(image.tobytes()))
            joints.append(rng.uniform(0, box[2:], (14, 2)) + box[:2])
            scores.append(rng.uniform(0, 1, 14))
        return Poses(
            joints=np.array(joints).reshape(-1, 14, 2),
            scores=np.array(scores, np.float32).reshape(-1, 14),
            names=LSP.joints,
            boxes=np.array([box for _, box in people], float).reshape(-1, 4),
            heatmaps=np.ones((len(people), 4, 4, 14), np.float32) if heatmaps else None,
        )


def in_place_of_networks(made, monkeypatch):
    """Makes the command use an estimator, and load neither network."""
    monkeypatch.setattr(PoseEstimator, "from_checkpoint", classmethod(lambda *a, **k: made))
    monkeypatch.setattr(Finder, "from_checkpoint", classmethod(lambda *a, **k: None))
    return made


@pytest.fixture
def fake(monkeypatch):
    """The estimator that the command uses in a test."""
    made = FakeEstimator()
    return in_place_of_networks(made, monkeypatch)


def run(source, output, *flags):
    if not any(flag.startswith("--checkpoint") for flag in flags):
        flags = ("--checkpoint=lsp-small", *flags)  # of LSP's joints, as the estimator
    return predict.main([f"--input={source}", f"--output={output}", *flags])


def write_images(folder, names, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        image = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / "x.png")
        (folder / "x.png").rename(folder / name)  # under a name that no encoder would take


def write_video(path, frames, rate=25.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(frames)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (32, 24))
    for _ in range(frames):
        writer.write(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    writer.release()


def people_in(output):
    return json.loads((output / "predictions.json").read_text())


def content_of(output):
    """Every file of results by its path, without the journal."""
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and path.name != "progress.jsonl"
    }
