"""The files that a command's --input stands for."""

import glob
import logging
import os
import pathlib
from collections.abc import Iterator

from hourglass_jax.errors import UserError
from hourglass_jax.image import formats

logger = logging.getLogger(__name__)


def inputs(pattern: str, output: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Yields each input file with the name of its results, without drawings from former runs.

    Args:
      pattern: a file, a folder, or a pattern such as "*.jpg".
      output: folder of results.

    Raises:
      UserError: there is no image or video.
    """
    path = pathlib.Path(pattern)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        paths = [p for p in files if p.suffix.lower() in (*formats.IMAGES, *formats.VIDEOS)]
        others = len(files) - len(paths)
        if others:
            logger.info("skipped %d files of %s without an image's or video's suffix", others, path)
        names = [str(p.relative_to(path)) for p in paths]
    elif path.is_file():
        paths, names = [path], [path.name]
    else:
        paths = [pathlib.Path(p) for p in sorted(glob.glob(pattern, recursive=True))]
        paths = [p for p in paths if p.is_file()]
        root = pathlib.Path(os.path.commonpath([p.parent for p in paths])) if paths else path
        names = [str(p.relative_to(root)) for p in paths]
    # Drawings of a former run are not inputs, if the output is inside the input.
    drawn = {(output / folder).resolve() for folder in ("overlays", "heatmaps")}
    pairs = [
        (path, name)
        for path, name in zip(paths, names, strict=True)
        if not drawn & set(path.resolve().parents)
    ]
    if not pairs:
        raise UserError(f"--input={pattern}: there is no image or video of that name")
    yield from pairs
