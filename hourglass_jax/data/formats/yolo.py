"""Reads data.yaml of YOLO (Ultralytics): boxes, and joints where it has `kpt_shape`.

Beside `images/a.jpg` lies `labels/a.txt`, with a line for each object: the category, the middle,
width and height of the box, then x, y and maybe a visibility of each joint. Numbers are shares of
the image's width and height; a share of 0.5 of 640 px is 320, as Ultralytics computes it.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from hourglass_jax.data import headers
from hourglass_jax.data.formats.gathered import Gathered
from hourglass_jax.data.formats.image_paths import OutsideError, image_path, moved
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.places import Place
from hourglass_jax.data.formats.problems import text_of
from hourglass_jax.data.images import is_file
from hourglass_jax.data.skeleton import COCO
from hourglass_jax.errors import UserError
from hourglass_jax.image import formats

_SPLITS = {"train": ("train",), "validation": ("val", "valid", "validation")}


def read(
    path: pathlib.Path,
    folder: pathlib.Path | None,
    *,
    outside: bool = False,
    boxes: bool = False,
    split: str = "train",
) -> KeypointFile:
    """Reads a split of a data set.

    Args:
      path: YAML file.
      folder: folder that paths are relative to; None stands for that of the file, whatever the
        file says, since it says where the data set was on another machine.
      outside: whether paths may lead out of that folder.
      boxes: as in `coco_content.of_content`.
      split: "train" or "validation".

    Raises:
      UserError: the file does not describe such a data set, or has no images.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid YAML: {text_of(error)}") from None
    gathered = Gathered(path)
    try:
        names = _names(settings.get("names"), settings.get("nc"))
        joints, numbers, pairs = _joints(settings, "person" in names.values())
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a data.yaml of YOLO: {text_of(error)}") from None
    limbs = [(COCO.index(a), COCO.index(b)) for a, b in COCO.limbs if joints == COCO.joints]
    ids = {
        number: gathered.category(name, joints, limbs, **pairs) for number, name in names.items()
    }
    root = folder or path.parent
    for image in _images(path, settings, root, split, outside):
        head = headers.header(str(image))
        size = head.seen(upright=True) if head else None
        number = gathered.image(Place(image), size)
        labels = _labels_of(image)
        if not is_file(labels):
            continue
        gathered.file(labels)
        lines = labels.read_text(encoding="utf-8", errors="replace").splitlines()
        for i, line in enumerate(lines, start=1):
            where = f"{labels.name}, line {i}"
            if not line.strip() or size is None:
                continue
            try:
                kind, keypoints, box = _parsed(line, len(joints), numbers, size)
                if kind not in ids:
                    raise ValueError(f"its category {kind} is not in `names`")
            except ValueError as error:
                gathered.problems.add(f"left out: {text_of(error)}", where)
                continue
            gathered.annotation(number, ids[kind], keypoints, box, where)
    return gathered.result(boxes=boxes)


def has_validation(path: pathlib.Path) -> bool:
    """Returns whether a data.yaml names images to validate on."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        return any(settings.get(name) for name in _SPLITS["validation"])
    except (OSError, ValueError, AttributeError, yaml.YAMLError, RecursionError):
        return False


def _names(names: Any, count: Any) -> dict[int, str]:
    if isinstance(names, Mapping):
        return {int(number): str(name) for number, name in names.items()}
    if isinstance(names, Sequence) and not isinstance(names, str):
        return {number: str(name) for number, name in enumerate(names)}
    if names is None and count is not None:
        return {number: f"category {number}" for number in range(int(count))}
    raise ValueError("`names` must list the categories")


def _joints(
    settings: Mapping[str, Any], people: bool
) -> tuple[tuple[str, ...], int, dict[str, Any]]:
    """Returns the names of the joints, the numbers that each has, and the pairs.

    Most files name no joints: 17 of a person are COCO's, others get numbers.
    """
    shape = settings.get("kpt_shape")
    if not shape:
        return (), 0, {}
    count, numbers = (int(value) for value in shape)
    if count < 1 or numbers not in (2, 3):
        raise ValueError(f"kpt_shape={shape!r} is not a number of joints, and 2 or 3 numbers each")
    given = settings.get("kpt_names")
    given = next(iter(given.values()), None) if isinstance(given, Mapping) else given
    flips = settings.get("flip_idx")
    pairs = {"flip_idx": list(flips)} if flips else {}
    if given and len(given) == count:
        return tuple(map(str, given)), numbers, pairs
    coco = list(flips) == COCO.flip_order.tolist() if flips else people
    if count == COCO.num_joints and coco:
        return COCO.joints, numbers, pairs
    return tuple(f"joint_{i}" for i in range(count)), numbers, pairs


def _images(
    path: pathlib.Path,
    settings: Mapping[str, Any],
    root: pathlib.Path,
    split: str,
    outside: bool,
) -> Iterator[pathlib.Path]:
    """Yields the images of a split, sorted in each folder."""
    keys = [key for key in _SPLITS[split] if settings.get(key)] or ["train"]
    given = settings.get(keys[0])
    values = given if isinstance(given, list) else [given]
    base = str(settings.get("path") or "")
    count = 0
    for value in values:
        if not isinstance(value, str):
            raise UserError(f"{path}: {keys[0]} must name the folder of the images")
        place = _found(root, base, value, outside)
        if place is None:
            raise UserError(
                f"{path}: {keys[0]}: {value} is not there in {root}; put the images into this "
                f"folder, or name the folder of the data set as config.data.image_dir"
            )
        for image in _listed(place, root, outside) if place.is_file() else _inside(place):
            count += 1
            yield image
    if not count:
        raise UserError(f"{path}: {keys[0]}: {given} holds no images")


def _found(root: pathlib.Path, base: str, value: str, outside: bool) -> pathlib.Path | None:
    """Returns a folder or list of images that a data.yaml names, wherever it was written."""
    parts = [part for part in value.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    inner = [part for part in base.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    tried = ["/".join([*inner, *parts]), *("/".join(parts[i:]) for i in range(len(parts)))]
    given = [pathlib.Path(base) / value, root / base / value] if outside else []
    return next((p for p in [*given, *(root / name for name in tried if name)] if p.exists()), None)


def _inside(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in formats.IMAGES)


def _listed(file: pathlib.Path, root: pathlib.Path, outside: bool) -> Iterator[pathlib.Path]:
    """Yields the images that a text file lists, a path a line."""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        name = line.strip()
        if name:
            try:
                there = image_path(root, name.removeprefix("./"), outside=outside)
            except OutsideError:
                there = moved(root, name)
            yield there if is_file(there) else moved(root, name)


def _labels_of(image: pathlib.Path) -> pathlib.Path:
    """Returns the file of an image's labels: the last folder `images` becomes `labels`."""
    parts = list(image.parent.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return pathlib.Path(*parts, f"{image.stem}.txt")


def _parsed(
    line: str, num_joints: int, numbers: int, size: tuple[int, int]
) -> tuple[int, list[list[float]], list[float]]:
    """Returns category, joints and box of a line.

    Raises:
      ValueError: it is not a line of such a data set.
    """
    cells = line.split()
    values = np.array([float(cell) for cell in cells])
    wanted = 5 + num_joints * numbers
    if not np.isfinite(values).all():
        raise ValueError("a number is not finite")
    if len(cells) not in (5, wanted):
        polygon = len(cells) > 5 and len(cells) % 2 == 1
        what = ", as of a polygon" if polygon and not num_joints else ""
        raise ValueError(f"it has {len(cells)} numbers{what}, not {wanted}")
    sides = np.array(size)
    middle, extent = values[1:3] * sides, values[3:5] * sides
    keypoints = []
    for joint in values[5:].reshape(-1, numbers or 1):
        x, y = joint[:2] * sides
        # Without a visibility, 0, 0 is not labelled.
        keypoints.append([x, y, joint[2] if numbers == 3 else 2.0 * joint.any()])
    return int(values[0]), keypoints, [*(middle - extent / 2), *extent]
