"""The files of annotations that a config field names, and their readers."""

import glob
import os
import pathlib

from hourglass_jax.data.formats import coco_json, deeplabcut
from hourglass_jax.data.formats.keypoint_file import KeypointFile
from hourglass_jax.errors import UserError


def paths_of(value: str) -> list[pathlib.Path]:
    """Returns the absolute paths of the files.

    Args:
      value: a file; the folder or config.yaml of a project of DeepLabCut; a pattern such as
        "labels/*.csv"; or several of them with commas between.

    Raises:
      UserError: no file matches a pattern, or a folder holds no tables.
    """
    path = pathlib.Path(os.path.expanduser(value))
    if path.exists() or "," not in value:
        return _matching(path)
    names = [name.strip() for name in value.split(",") if name.strip()]
    found = [p for name in names for p in _matching(pathlib.Path(os.path.expanduser(name)))]
    return list(dict.fromkeys(found))


def project_of(value: str) -> str:
    """Returns the folder that is given, itself or by its config.yaml; "" for other files."""
    path = pathlib.Path(os.path.expanduser(value))
    path = path.parent if path.name == "config.yaml" else path
    return str(path) if value and path.is_dir() else ""


def _matching(path: pathlib.Path) -> list[pathlib.Path]:
    project = project_of(str(path))
    if project:
        return deeplabcut.files_of(pathlib.Path(project).absolute())
    if path.exists() or not glob.has_magic(str(path)):
        return [path.absolute()]
    found = sorted(pathlib.Path(name).absolute() for name in glob.glob(str(path), recursive=True))
    if not found:
        raise UserError(f"no file of annotations matches {path}")
    return found


def read(path: pathlib.Path, *, folder: pathlib.Path, outside: bool) -> KeypointFile:
    """Reads a file by the reader of its ending; see `coco_json.read`."""
    if path.suffix.lower() in (".h5", ".hdf5"):
        raise UserError(
            f"{path} is HDF5; name the table {path.stem}.csv, which DeepLabCut writes, too"
        )
    reader = deeplabcut if path.suffix.lower() == ".csv" else coco_json
    return reader.read(path, folder, outside=outside)
