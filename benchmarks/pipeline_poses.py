"""People of MPII's sizes for `pipeline.py`, augmented as configs/mpii_modern.py does.

The records' way, and that of a data set for PyTorch, to 16 heatmaps of each person at 256 px.
"""

import collections
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from alternate import write_jpegs

from hourglass_jax import config_files
from hourglass_jax.data import images
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.image import geometry
from hourglass_jax.tasks.single_pose import heatmap
from hourglass_jax.tasks.single_pose.task import SinglePose

SIDE, SIGMA, BATCH = 256, 1.0, 16
IMAGES, PEOPLE = 60, 600  # epochs of a few people would be mostly beginnings and ends
SHUFFLE_BUFFER = 1000
AUGMENTATION = Augmentation(**config_files.load("mpii_modern").augment)


def write(folder: pathlib.Path, real: Sequence[pathlib.Path]) -> list[dict]:
    """Writes images of MPII's size and weight, and returns the people in them."""
    written = write_jpegs(folder, IMAGES, (1280, 720), real)
    rng, people = np.random.default_rng(0), []
    for i in range(PEOPLE):
        path, (width, height) = written[i % IMAGES]
        size = 250 * np.clip(rng.lognormal(1.05, 0.4), 1, 7)  # MPII's scale is 3 in the middle
        center = rng.uniform(0.3, 0.7, 2) * (width, height)
        joints = center + rng.uniform(-0.4, 0.4, (16, 2)) * size
        labelled = rng.random(16) < 0.94
        people.append({
            "path": path, "center": center, "size": size, "joints": joints, "labelled": labelled
        })  # fmt: skip
    return people


def as_pytorch_does(person: dict, uniform: np.ndarray) -> dict:
    """Makes the example that the stream makes of a record, but of the whole image."""
    import cv2

    draws = AUGMENTATION.draw(uniform)
    to_crop = geometry.crop_map(
        person["center"],
        person["size"],
        SIDE,
        scale=draws.scale,
        rotation=draws.rotation,
        translate=draws.translate,
    )
    content = np.frombuffer(person["path"].read_bytes(), np.uint8)
    image = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    image = cv2.warpAffine(image, to_crop, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    joints, labelled = geometry.apply(to_crop, person["joints"]), person["labelled"]
    if draws.flip:
        image = np.ascontiguousarray(image[:, ::-1])
        joints = np.stack([SIDE - 1 - joints[:, 0], joints[:, 1]], axis=1)[MPII.flip_order]
        labelled = labelled[MPII.flip_order]
    gains = AUGMENTATION.gains(uniform[None])[0].astype(np.float32)
    image = np.clip(image * gains, 0, 255).round().astype(np.uint8)
    joints_heatmap = geometry.crop_to_heatmap(joints, 4)
    heatmaps, weights = heatmap.encode(joints_heatmap, labelled, SIDE // 4, SIGMA)
    return {"image": image, "heatmaps": heatmaps, "weights": weights}


class People(Source):
    """The people that `write` returns, all to train on."""

    name, labels, select, report = "benchmark_people", MPII, "train", "train"

    def __init__(self, people: list[dict]):
        self._people = people

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        found = collections.defaultdict(list)
        for i, person in enumerate(self._people):
            joints, labelled = person["joints"], person["labelled"]
            annotation = Annotation(
                str(i), person["center"], person["size"],
                joints=joints, labelled=labelled, visible=labelled, key=i,
            )  # fmt: skip
            found[person["path"]].append(annotation)
        for path, annotations in found.items():
            yield images.image_file(path, annotations, id=path.name)

    def count(self, split: str) -> int:
        return len(self._people)


def source_and_task(people: list[dict]) -> tuple[Source, SinglePose]:
    return People(people), SinglePose(MPII, SIGMA)


def differences(ours: dict, theirs: dict) -> tuple[float, float]:
    """Returns by how much heatmaps differ at most, and a pixel in the mean, of 255."""
    same = ours["weights"] == theirs["weights"]
    drawn = ours["heatmaps"], theirs["heatmaps"]
    check_borders(*(heatmaps[..., ~same] for heatmaps in drawn))
    image = np.abs(ours["image"] - theirs["image"].astype(float)).mean()
    return np.abs(drawn[0] - drawn[1])[..., same].max(), image


def check_borders(ours, theirs):
    """Joints that one way alone draws lie on the very border, half a pixel from the last one's."""
    for heatmap_of_one in np.moveaxis(ours + theirs, -1, 0):
        y, x = np.unravel_index(heatmap_of_one.argmax(), heatmap_of_one.shape)
        assert {y, x} & {0, SIDE // 4 - 1} and heatmap_of_one.max() < 0.9
