"""Objects of COCO's sizes and number for `pipeline.py`, augmented as configs/centernet.py does.

The records' way, and that of a data set for PyTorch such as CenterNet's, to the targets of 80
categories in 128 x 128 cells at 512 px.
"""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from alternate import write_jpegs

from hourglass_jax import config_files
from hourglass_jax.data import colour, images
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source
from hourglass_jax.image import geometry
from hourglass_jax.tasks.detection import boxes as boxes_of
from hourglass_jax.tasks.detection.options import Options
from hourglass_jax.tasks.detection.radius import PUBLISHED, gaussian_radius
from hourglass_jax.tasks.detection.task import Detection

SIDE, CELLS, BATCH = 512, 128, 16
IMAGES, CATEGORIES, OBJECTS = 200, 80, 7.3  # objects of an image, in the mean, as in COCO
LARGEST = 128  # number of rows of the targets
# CenterNet's, in red, green, blue; our networks normalise on the device.
MEAN = np.array([0.47026115, 0.44719302, 0.40789654], np.float32)
STD = np.array([0.27809835, 0.27408164, 0.28863828], np.float32)
SHUFFLE_BUFFER = 200
AUGMENTATION = Augmentation(**config_files.load("centernet").augment)


def write(folder: pathlib.Path, real: Sequence[pathlib.Path]) -> list[dict]:
    """Writes images of COCO's size, and returns each with its objects."""
    rng, found = np.random.default_rng(0), []
    for path, size in write_jpegs(folder, IMAGES, (640, 480), real):
        count = 1 + rng.poisson(OBJECTS - 1)
        # A share of the image, from 1 / 30 to all of its sides; half of COCO's objects are small.
        sides = np.exp(rng.uniform(np.log(1 / 30), 0, (count, 2))) * size
        corners = rng.uniform(0, 1, (count, 2)) * (size - sides)
        boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
        categories = rng.integers(CATEGORIES, size=count)
        found.append({"path": path, "size": size, "boxes": boxes, "categories": categories})
    return found


def as_pytorch_does(entry: dict, uniform: np.ndarray) -> dict:
    """Makes the example that the stream makes of a record, with all targets drawn."""
    import cv2

    draws, size = AUGMENTATION.draw(uniform), np.asarray(entry["size"])
    to_input = geometry.crop_map(
        (size - 1) / 2 - np.asarray(draws.translate) * size,
        size.max() * (2 - draws.scale),
        SIDE,
        flip=draws.flip,
    )
    content = np.frombuffer(entry["path"].read_bytes(), np.uint8)
    image = cv2.cvtColor(cv2.imdecode(content, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    image = cv2.warpAffine(image, to_input, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    targets = {
        "hm": np.zeros((CATEGORIES, CELLS, CELLS), np.float32),
        "wh": np.zeros((LARGEST, 2), np.float32),
        "reg": np.zeros((LARGEST, 2), np.float32),
        "ind": np.zeros(LARGEST, np.int64),
        "reg_mask": np.zeros(LARGEST, np.uint8),
    }
    ratio = CELLS / SIDE
    for i, (box, category) in enumerate(zip(entry["boxes"], entry["categories"], strict=True)):
        box = boxes_of.moved(box[None], to_input)[0] * ratio
        x1, y1, x2, y2 = np.clip(box, 0, CELLS)
        width, height = x2 - x1, y2 - y1
        if width <= 0 or height <= 0:
            continue
        radius = gaussian_radius(np.ceil(height), np.ceil(width), PUBLISHED)
        centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2], np.float32)
        x, y = cell = np.minimum(centre.astype(int), CELLS - 1)
        draw_gaussian(targets["hm"][category], x, y, max(0, int(radius)))
        targets["wh"][i] = width, height
        targets["reg"][i] = centre - cell
        targets["ind"][i] = y * CELLS + x
        targets["reg_mask"][i] = 1
    image = (jittered(image, uniform[-colour.DRAWS + 3 :]) - MEAN) / STD
    return {"image": image.transpose(2, 0, 1), **targets}


def draw_gaussian(heatmap: np.ndarray, x: int, y: int, radius: int) -> None:
    """Draws a Gaussian into a window of a heatmap, in place."""
    at, sigma = np.arange(-radius, radius + 1, dtype=np.float32), (2 * radius + 1) / 6
    gaussian = np.exp(-(at * at + at[:, None] * at[:, None]) / (2 * sigma * sigma))
    left, top = min(x, radius), min(y, radius)
    right, bottom = min(CELLS - x, radius + 1), min(CELLS - y, radius + 1)
    window = heatmap[y - top : y + bottom, x - left : x + right]
    part = gaussian[radius - top : radius + bottom, radius - left : radius + right]
    np.maximum(window, part, out=window)


def jittered(image: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Returns an image in [0, 1], its brightness, contrast, saturation and lighting changed."""
    import cv2

    image = image.astype(np.float32) / 255
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    added = 0.0, grey.mean(), grey[..., None]
    factors = 1 + (2 * uniform[:3] - 1) * AUGMENTATION.jitter
    # From here on, the numbers that `colour.jittered` derives, one image's.
    rank = colour._ORDERS[int(uniform[3] * len(colour._ORDERS))]
    for i in np.argsort(rank):
        factor = np.float32(factors[i])
        image *= factor
        image += (1 - factor) * added[i]
    length, angle = np.sqrt(-2 * np.log(1 - uniform[4:6])), 2 * np.pi * uniform[6:8]
    normal = np.concatenate([length * np.cos(angle), length * np.sin(angle)])[:3]
    shift = colour._DIRECTIONS @ (AUGMENTATION.lighting * normal * colour._DEVIATIONS)
    image += shift.astype(np.float32)
    return image


class Objects(Source):
    """The images that `write` returns, all to train on."""

    name, select, report = "benchmark_objects", "train", "train"
    categories = tuple(map(str, range(CATEGORIES)))

    def __init__(self, entries: list[dict]):
        self._entries = entries

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        for i, entry in enumerate(self._entries):
            sizes = boxes_of.to_sizes(entry["boxes"]).tolist()
            annotations = [
                Annotation(f"{i}/{j}", np.zeros(2), 1.0, box=tuple(box), category=int(category))
                for j, (box, category) in enumerate(zip(sizes, entry["categories"], strict=True))
            ]
            yield images.image_file(entry["path"], annotations, id=str(i))

    def count(self, split: str) -> int:
        return sum(len(entry["boxes"]) for entry in self._entries)


def source_and_task(entries: list[dict]) -> tuple[Source, Detection]:
    options = Options(min_iou=PUBLISHED, max_objects=LARGEST)
    ids = tuple(range(1, CATEGORIES + 1))
    resolution = config_files.load("centernet").data.resolution
    return Objects(entries), Detection(
        options, Objects.categories, ids, stride=SIDE / CELLS, resolution=resolution
    )


def drawn(batches: Iterator[dict]) -> Iterator[np.ndarray]:
    """Yields the heatmaps of each batch, drawn as in the training step."""
    import jax

    from hourglass_jax.tasks.detection.centres import Centres

    @jax.jit
    def draw(targets):
        return Centres(Objects.categories).heatmaps(targets)

    for batch in batches:
        batch.pop("image")
        yield draw(batch)["hm"].block_until_ready()


def differences(ours: dict, theirs: dict) -> tuple[float, float]:
    """Returns by how much heatmaps differ at most, and a pixel in the mean, of 255."""
    from hourglass_jax.tasks.detection.centres import Centres

    batch = {name: array[None] for name, array in ours.items()}
    drawn = np.asarray(Centres(Objects.categories).heatmaps(batch)["hm"])[0]
    image = np.clip((theirs["image"].transpose(1, 2, 0) * STD + MEAN) * 255, 0, 255)
    return (
        np.abs(drawn.transpose(2, 0, 1) - theirs["hm"]).max(),
        np.abs(ours["image"] - image).mean(),
    )
