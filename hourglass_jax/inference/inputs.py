"""The files that a command's --input stands for."""

import glob
import logging
import os
import pathlib
import stat
from collections.abc import Iterator, Mapping, Sequence

from hourglass_jax.errors import UserError
from hourglass_jax.image import formats
from hourglass_jax.inference import bucket_inputs, shards
from hourglass_jax.inference.places import FOLDERS
from hourglass_jax.runtime import paths as runtime_paths

logger = logging.getLogger(__name__)


def inputs(pattern: str, output: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields each input file with the name of its results, without drawings from former runs.

    Links are followed, and each folder is visited once. What cannot be opened, such as a link
    whose target is gone, is among the files, so that reading it fails by name.

    Args:
      pattern: a file, a folder, or a pattern such as "*.jpg".
      output: folder of results.

    Raises:
      UserError: there is no image or video.
    """
    path = runtime_paths.path(pattern, "--input")
    if runtime_paths.is_remote(path):
        root, paths = bucket_inputs.found(path, _selected)
    elif os.path.isdir(path):
        root, paths = path, _images_of(path)
        if path in paths:
            raise UserError(f"--input={pattern}: the folder cannot be opened")
    elif os.path.isfile(path):
        root, paths = path.parent, [path]
    else:
        # Names of folders that exist may have brackets.
        parent = next((p for p in path.parents if os.path.isdir(p)), pathlib.Path())
        escaped = os.path.join(glob.escape(str(parent)), path.relative_to(parent))
        found = _once(_matches(escaped))
        paths = [p for p in found if _is_file(p)]
        # "day*" stands for folders, "**" for every file in them.
        folders = [] if paths else [p for p in found if os.path.isdir(p)]
        paths += [p for folder in folders for p in _images_of(folder)]
        root = pathlib.Path(os.path.commonpath([p.parent for p in paths])) if paths else path
    # Drawings and copies of a former run are not inputs, if the output is inside the input.
    places = [output, *(path for path, _ in shards.found(output, tables=False))]
    folders = (*FOLDERS, "uncertain")
    drawn = {str(_real(p / folder)) for p in places for folder in folders}
    pairs = [
        (p, str(p.relative_to(root))) for p in paths if drawn.isdisjoint(map(str, _real(p).parents))
    ]
    if not pairs:
        raise UserError(f"--input={pattern}: there is no image or video of that name")
    yield from pairs


def check_stream(
    name: str, output: pathlib.Path, twice: Mapping[str, object], *, overwrite: bool
) -> None:
    """Checks a command whose input is a stream or camera, which never comes again.

    Args:
      name: name of the stream.
      output: output folder.
      twice: values of flags that read the input twice, None where they are not given.
      overwrite: whether to replace results.

    Raises:
      UserError: such a flag is given, or there are results to which the stream cannot be added.
    """
    for flag, value in twice.items():
        if value is not None:
            raise UserError(
                f"--{flag} reads frames twice, and those of --input={name} come once; record them "
                f"as a file first"
            )
    if not overwrite and (output / "progress.jsonl").exists():
        raise UserError(
            f"--output={output} holds results already; choose another folder, or give --overwrite"
        )


def _images_of(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a folder that are images or videos by their names, sorted."""
    files = sorted(_walk(folder))
    images = _selected(files)
    images += [p for p in files if os.path.isdir(p)]
    others = len(files) - len(images)
    if others:
        logger.info("skipped %d files of %s without an image's or video's name", others, folder)
    return sorted(images)


def _real(path: pathlib.Path) -> pathlib.Path:
    return path if runtime_paths.is_remote(path) else pathlib.Path(os.path.realpath(path))


def _selected(files: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the files that are images or videos by their names."""
    suffixes = (*formats.IMAGES, *formats.VIDEOS)
    # macOS leaves notes about files in archives, named as the files are.
    return [p for p in files if p.suffix.lower() in suffixes and not p.name.startswith("._")]


def _walk(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the files of a folder, and those folders in it that cannot be opened."""
    seen, closed, links = set(), [], [str(folder)]
    while links:  # only after every folder that is not behind a link
        pending, links = links, []
        for begin in pending:
            for here, folders, names in os.walk(begin, onerror=closed.append):
                real = os.path.realpath(here)
                if real in seen:
                    folders.clear()
                    continue
                seen.add(real)
                paths = [os.path.join(here, name) for name in folders]
                links += [path for path in paths if os.path.islink(path)]
                files = (pathlib.Path(here, name) for name in names)
                yield from (file for file in files if _is_file(file))
    yield from (pathlib.Path(error.filename) for error in closed)


def _matches(pattern: str) -> Iterator[pathlib.Path]:
    """Yields what a pattern stands for; `glob` would follow links that lead back without an end."""
    parts = pathlib.PurePath(pattern).parts
    if parts.count("**") != 1:
        yield from map(pathlib.Path, glob.iglob(pattern, recursive=True))
        return
    at = parts.index("**")
    last = os.path.join(*parts[at + 1 :]) if parts[at + 1 :] else "*"
    for folder in glob.iglob(os.path.join(*parts[:at])) if at else ["."]:
        for path in _walk(pathlib.Path(folder)):
            inside = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in inside.parts)
            if not hidden and inside.match(last):
                yield path


def _once(paths: Iterator[pathlib.Path]) -> list[pathlib.Path]:
    """Returns paths without those that lead to the same file by links between folders."""
    shortest = sorted(paths, key=lambda path: len(path.parts))
    first = {(os.path.realpath(path.parent), path.name): path for path in reversed(shortest)}
    return sorted(first.values())


def _is_file(path: pathlib.Path) -> bool:
    """Returns whether a path is a file, or a link that leads nowhere; pipes would wait for ever."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True
