"""The files of annotations that a config field names, and the reader of each.

The reader is chosen by the content of a file, and by its name only where the content does not tell.
"""

import dataclasses
import glob
import os
import pathlib
from typing import Any

import yaml

from hourglass_jax.data.formats import (
    coco_json,
    coco_zip,
    deeplabcut,
    keypoint_file,
    label_studio,
    labelme,
    sleap,
    yolo,
)
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.data.formats.problems import text_of
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import extra

READ = (
    "COCO's JSON, a zip of it, DeepLabCut's CSV, .h5 or config.yaml, Lightning Pose's CSV, SLEAP's "
    ".slp, YOLO's data.yaml, Label Studio's JSON and LabelMe's folder"
)
_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_TABLES, _YAML = (".csv", ".tsv", ".txt"), (".yaml", ".yml")
# Of tables and JSON files of other programs: fields that only they have, what they look like, and
# what to do.
_OTHER_TABLES = {
    "annotation_id": "Label Studio's table; export the project as JSON",
    "region_shape_attributes": "VGG Image Annotator's table; export the annotations as COCO's JSON",
    "frame_idx": "a table of SLEAP's; name the file of labels, .slp",
}
_OTHER_JSON = {
    ("_via_img_metadata",): "VGG Image Annotator's; export the annotations as COCO's JSON",
    ("nodes", "links"): "a skeleton of SLEAP; name the file of labels, .slp",
    ("skeletons", "videos"): "labels of an early SLEAP; open them in SLEAP, and save them as .slp",
    ("version", "people"): "OpenPose's, which are predictions; name the annotations",
    ("categories", "items"): "Datumaro's; export the labels as COCO Keypoints 1.0",
    ("data", "annotations"): "a single task of Label Studio; export the project as JSON",
}
# Bytes of a JSON file that nobody but COCO's would fill: it need not be looked at before.
_LARGE = 2**25


def paths_of(value: str) -> list[pathlib.Path]:
    """Returns the absolute paths of the files.

    Args:
      value: a file; the folder of a project of DeepLabCut, of YOLO or of LabelMe; a pattern such
        as "labels/*.csv"; or several of them with commas between.

    Raises:
      UserError: no file matches a pattern, or a folder holds no annotations.
    """
    path = pathlib.Path(os.path.expanduser(value))
    if path.exists() or "," not in value:
        return _matching(path)
    names = [name.strip() for name in value.split(",") if name.strip()]
    found = [p for name in names for p in _matching(pathlib.Path(os.path.expanduser(name)))]
    return list(dict.fromkeys(found))


def validation_of(value: str) -> str:
    """Returns the value itself if its files also say what to validate on, else ""."""
    path = pathlib.Path(os.path.expanduser(value))
    path = path / "data.yaml" if (path / "data.yaml").is_file() else path
    if path.suffix.lower() in _YAML:
        return value if yolo.has_validation(path) else ""
    return value if path.is_file() and coco_zip.has_validation(path) else ""


def _matching(path: pathlib.Path) -> list[pathlib.Path]:
    if path.is_dir():
        return _inside(path.absolute())
    if path.name == "config.yaml" and path.is_file():
        if {"names", "kpt_shape", "data"} & (_fields(path) or set()):
            return [path.absolute()]  # YOLO's, or one that is not read
        return deeplabcut.files_of(path.absolute().parent)
    if path.exists() or not glob.has_magic(str(path)):
        return [path.absolute()]
    found = sorted(pathlib.Path(name).absolute() for name in glob.glob(str(path), recursive=True))
    if not found:
        raise UserError(f"no file of annotations matches {path}")
    return found


def _inside(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns what a folder stands for: a data set of YOLO, files of LabelMe, or a project."""
    if (folder / "data.yaml").is_file():
        return [folder / "data.yaml"]
    try:
        return deeplabcut.files_of(folder)
    except UserError:
        if labelme.files_of(folder):
            return [folder]
        raise


def read(
    path: pathlib.Path,
    folder: pathlib.Path | None,
    *,
    outside: bool = False,
    boxes: bool = False,
    split: str = "train",
) -> KeypointFile:
    """Reads a file, or a folder of LabelMe's.

    Args:
      path: one of `paths_of`.
      folder: folder of the images or videos; None looks for them beside the file.
      outside: whether images may lie outside of that folder.
      boxes: whether to read all categories, also those without joints.
      split: "train" or "validation", where a file tells them apart.

    Raises:
      UserError: says which format the file seems to have, and what to do.
    """
    reader = _reader(path)
    options: dict[str, Any] = {"outside": outside}
    if reader is not deeplabcut:
        options["boxes"] = boxes
    if reader in (yolo, coco_zip):
        options["split"] = split
    return reader.read(path, folder, **options)


def read_all(value: str, folder: pathlib.Path | None, *, outside: bool, split: str) -> KeypointFile:
    """Returns the files that a value names as one, with all categories; see `read`."""
    files = [
        read(path, folder, outside=outside, boxes=True, split=split) for path in paths_of(value)
    ]
    names = tuple(dict.fromkeys(name for file in files for name in file.categories.values()))
    file = keypoint_file.joined([keypoint_file.with_categories(file, names) for file in files])
    file.problems.say()
    return dataclasses.replace(file, categories=dict(enumerate(names, start=1)))


def _reader(path: pathlib.Path) -> Any:
    """Returns the module that reads a file."""
    if path.is_dir():
        return labelme
    try:
        with path.open("rb") as stream:
            begin = stream.read(4096)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    suffix = path.suffix.lower()
    if begin.startswith(_ZIP):
        return coco_zip
    if begin.startswith(_HDF5):
        return _of_hdf5(path)
    text = begin.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"{" and path.stat().st_size > _LARGE:
        return coco_json
    if text[:1] in (b"{", b"[") or suffix == ".json":
        return _of_json(path)
    if suffix in _YAML:
        return _of_yaml(path)
    if suffix in _TABLES or text.startswith(b"scorer"):
        first = text.partition(b"\n")[0].decode("utf-8", "replace")
        looks = next((what for field, what in _OTHER_TABLES.items() if field in first), "")
        if looks:
            raise UserError(f"{path} looks like {looks}")
        return deeplabcut
    if text.startswith(b"<"):
        what = "CVAT's XML" if b"<annotations>" in text else "XML"
        raise UserError(
            f"{path} looks like {what}, which is not read; export the labels as COCO Keypoints 1.0"
        )
    raise UserError(f"{path} is of no format that is read, which are {READ}")


def _of_hdf5(path: pathlib.Path) -> Any:
    if path.suffix.lower() == ".slp":
        return sleap
    h5py = extra.library("h5py", f"{path} is HDF5, which")
    try:
        with h5py.File(path) as file:
            names = set(file)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read: {text_of(error)}") from None
    if {"tracks", "node_names"} <= names or {"metadata", "frames", "points"} <= names:
        return sleap
    return deeplabcut


def _of_json(path: pathlib.Path) -> Any:
    content = coco_json.load_json(path)
    if label_studio.is_tasks(content):
        return label_studio
    if labelme.is_labels(content):
        return labelme
    looks = ""
    if isinstance(content, list) and content and isinstance(content[0], dict):
        if {"image_id", "score"} <= content[0].keys():
            looks = "COCO's results, which are predictions; name the annotations"
        elif "keypoint_annotations" in content[0]:
            looks = "AI Challenger's; convert it to COCO's format"
    elif isinstance(content, dict) and "images" not in content:
        known = (what for fields, what in _OTHER_JSON.items() if {*fields} <= content.keys())
        looks = next(known, "")
    if looks:
        raise UserError(f"{path} is not in COCO's format: it looks like {looks}")
    return coco_json


def _of_yaml(path: pathlib.Path) -> Any:
    fields = _fields(path)
    if fields is None or {"names", "kpt_shape"} & fields:
        return yolo  # which says what is wrong
    looks = "no format that is read"
    if {"bodyparts", "scorer"} & fields:
        looks = "a project of DeepLabCut under another name than config.yaml; name its folder"
    elif "data" in fields:
        looks = "a config of Lightning Pose; name its table, CollectedData.csv"
    raise UserError(f"{path} looks like {looks}")


def _fields(path: pathlib.Path) -> set[str] | None:
    """Returns the fields of a YAML file; None if it cannot be read."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    return set(map(str, content)) if isinstance(content, dict) else set()
