"""What goes into prediction, changed at random: it is read, or refused in a sentence.

Nothing hangs, no other error is raised, and nothing is lost without a word.
"""

import io
import json
import pathlib

import cv2
import numpy as np
import pytest
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.image import frames
from hourglass_jax.image import io as photo
from hourglass_jax.inference import boxes_file

pytestmark = pytest.mark.core

SEEDS = [
    *range(10),
    *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(10, 200)),
]
every_seed = pytest.mark.parametrize("seed", SEEDS)

JUNK = [
    *(None, True, -1, 0, 7.0, 1e400, float("nan"), 10**400),
    *("", "a.jpg", "caf\udce9.jpg", "x" * 999),
    *([], {}, [[]], [1, 2, 3, 4], {"id": 1}, [None] * 3, "[1, 2, 3, 4]"),
]  # fmt: skip


def one_sentence(error):
    text = str(error.value if isinstance(error, pytest.ExceptionInfo) else error)
    assert 10 < len(text) < 2000 and "Traceback" not in text
    return text


def places_in(content, path=()):
    """Yields where the values of nested lists and objects are."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items if isinstance(content, (dict, list)) else []:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places_in(value, (*path, key))


def change(content, rng):
    """Replaces or removes one value of nested lists and objects."""
    places = list(places_in(content))
    *parents, last = places[rng.integers(len(places))]
    for key in parents:
        content = content[key]
    if rng.random() < 0.3:
        del content[last]
    else:
        content[last] = JUNK[rng.integers(len(JUNK))]


def some_boxes(rng, kind):
    boxes = rng.integers(1, 99, (5, 4)).tolist()
    if kind == "by name":
        return {"a.jpg": boxes[:2], "b/c.jpg": boxes[2:]}
    if kind == "list":
        return [{"file_name": f"{i}.jpg", "bbox": box, "score": 0.5} for i, box in enumerate(boxes)]
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(5)]
    people = [{"image_id": i, "bbox": box, "category_id": 1} for i, box in enumerate(boxes)]
    return {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}


@every_seed
@pytest.mark.parametrize("kind", ["by name", "list", "COCO"])
def test_boxes_in_json(tmp_path, seed, kind):
    rng = np.random.default_rng(seed)
    content = some_boxes(rng, kind)
    change(content, rng)
    before = json.dumps(content).count("bbox") if kind != "by name" else 0
    (tmp_path / "a.json").write_text(json.dumps(content))
    try:
        boxes, problems = boxes_file.read(tmp_path / "a.json")
    except UserError as error:
        assert "a.json" in one_sentence(error)
    else:
        found = sum(map(len, boxes.values()))
        assert found >= before or problems
        assert all(len(box) == 4 for listed in boxes.values() for box in listed)


@every_seed
def test_boxes_in_bytes(tmp_path, seed):
    rng = np.random.default_rng(seed)
    rows = "".join(f"{i}.jpg,{i},2,30,40\n" for i in range(5))
    texts = [json.dumps(some_boxes(rng, "COCO")), "image,x,y,width,height\n" + rows]
    for name, text in zip(("a.json", "a.csv"), texts, strict=True):
        (tmp_path / name).write_bytes(mutated(text.encode(), rng))
        try:
            boxes, problems = boxes_file.read(tmp_path / name)
        except UserError as error:
            one_sentence(error)
        else:
            assert isinstance(boxes, dict) and isinstance(problems, list)


def mutated(content, rng):
    """Changes, cuts, repeats or removes a part of bytes."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        a, b = sorted(rng.integers(0, len(content) + 1, 2))
        match rng.integers(5):
            case 0:
                content[a : a + 1] = rng.bytes(1)
            case 1:
                content[a : a + 8] = rng.bytes(8)
            case 2:
                del content[a : min(b, a + 50)]
            case 3:
                content[a:a] = content[a : min(b, a + 50)]
            case 4 if rng.random() < 0.3:
                del content[max(a, 20) :]
    return bytes(content)


IMAGES = {
    "JPEG": {}, "PNG": {}, "GIF": {}, "TIFF": {}, "BMP": {}, "PPM": {}, "WEBP": {}, "JPEG2000": {},
    "AVIF": {}, "MPO": {"save_all": True},
}  # fmt: skip


@every_seed
@pytest.mark.filterwarnings("ignore")  # Pillow's
def test_images(seed):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, options in IMAGES.items():
        buffer = io.BytesIO()
        image.save(buffer, kind, **options, **({"exif": exif} if kind in ("JPEG", "PNG") else {}))
        content = io.BytesIO(mutated(buffer.getvalue(), rng))
        try:
            found = photo.as_rgb(content)
        except UserError as error:
            assert len(one_sentence(error)) < 400
        else:
            assert found.ndim == 3 and found.shape[2] == 3 and found.dtype == np.uint8


@every_seed
@pytest.mark.filterwarnings("ignore")  # Pillow's
def test_moving_images(tmp_path, seed):
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (32, 48, 3), np.uint8) for _ in range(4)]
    first, *rest = map(Image.fromarray, images)
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        first.save(tmp_path / name, save_all=True, append_images=rest, duration=50)
    for name, code in (("a.avi", "MJPG"), ("a.mp4", "mp4v"), ("a.mkv", "VP80"), ("a.mpg", "PIM1")):
        fourcc = cv2.VideoWriter.fourcc(*code)
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.CAP_FFMPEG, fourcc, 25, (48, 32))
        for image in images:
            writer.write(image)
        writer.release()
    for path in sorted(tmp_path.iterdir()):
        path.write_bytes(mutated(path.read_bytes(), rng))
        look_at(path)


def look_at(path: pathlib.Path):
    try:
        moving = frames.open_frames(path)
        if moving is None:
            photo.as_rgb(path)
            return
        with moving:
            times = [time for image, time in moving if image.ndim == 3]
    except UserError as error:
        assert path.name in one_sentence(error)
    else:
        assert times and times == sorted(set(times)) and np.isfinite(times).all()


@every_seed
def test_arrays(seed):
    rng = np.random.default_rng(seed)
    shape = rng.choice([0, 1, 2, 3, 4, 7], rng.integers(0, 5))
    kind = rng.choice(
        ["u1", "u2", "i4", "u8", "f2", "f4", "f8", "g", "c8", "bool", "O", "S3", "M8[s]"]
    )
    array = (rng.normal(size=shape) * rng.choice([0.2, 1, 300])).astype("f8")
    try:
        array = np.abs(array).astype(kind) if kind != "M8[s]" else array.astype("i8").astype(kind)
        found = photo.as_rgb(array)
    except UserError as error:
        assert len(one_sentence(error)) < 300
    else:
        assert found.shape[2] == 3 and found.dtype == np.uint8
