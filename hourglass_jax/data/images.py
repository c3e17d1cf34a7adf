"""Image files of data sets: annotated images in folders and archives, and reading a split.

A source turns its annotation files into `AnnotatedImage`s by `in_folder`, `in_archive` or
`image_file`. `read_all` then opens each image once, in as many threads as there are cores.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import io
import itertools
import logging
import os
import pathlib
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from hourglass_jax.data import headers
from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.data.lost import Lost
from hourglass_jax.errors import UserError
from hourglass_jax.image import io as image_io

logger = logging.getLogger(__name__)

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_image(
    content: bytes, name: str, upright: bool = False
) -> UInt8[np.ndarray, "height width 3"]:
    """Decodes an image to RGB.

    Args:
      content: bytes of the file.
      name: name of the image in messages.
      upright: whether to follow the orientation in EXIF; else pixels are as stored.

    Raises:
      UserError: the content is not an image, is cut short, or claims to be enormous.
    """
    return image_io.decode(io.BytesIO(content), name, upright=upright)


def read_file(
    path: pathlib.Path, size: tuple[int, int] | None = None, upright: bool = False
) -> UInt8[np.ndarray, "height width 3"]:
    """Reads an image file as `read_image` does.

    Args:
      path: image file.
      size: width and height that the image must have, if known.
      upright: as in `read_image`.

    Raises:
      UserError: the file is missing, cannot be read, or has another size.
    """
    if not is_file(path):
        raise UserError(f"{path} is missing")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    image = read_image(content, str(path), upright)
    height, width = image.shape[:2]
    if size is not None and size != (width, height):
        raise UserError(
            f"{path} is {width} x {height} px, and the annotations say {size[0]} x {size[1]}"
        )
    return image


def is_file(path: "pathlib.Path | str") -> bool:
    """Returns whether a file is there; False for names that no file can have."""
    try:
        return os.path.isfile(path)
    except ValueError:  # a lone surrogate, a null character
        return False


def image_file(
    path: pathlib.Path,
    annotations: Sequence[Annotation],
    *,
    id: str,
    size: tuple[int, int] | None = None,
    upright: bool = False,
    exhaustive: bool = True,
) -> AnnotatedImage:
    """Returns an annotated image that is read from a file; other arguments as in `read_file`."""
    return AnnotatedImage(
        id=id,
        name=str(path),
        read=functools.partial(read_file, path, size, upright),
        annotations=annotations,
        size=size,
        exhaustive=exhaustive,
        upright=upright,
    )


def in_folder(
    folder: pathlib.Path, annotations: Mapping[str, Sequence[Annotation]]
) -> list[AnnotatedImage]:
    """Returns the images of a folder, sorted by name.

    Args:
      folder: folder of the images.
      annotations: annotations of each image, by its name in the folder.
    """
    return [image_file(folder / name, annotations[name], id=name) for name in sorted(annotations)]


def in_archive(
    path: pathlib.Path, prefix: str, annotations: Mapping[str, Sequence[Annotation]]
) -> Iterator[AnnotatedImage]:
    """Yields the images of a tar archive in its order, then those that it lacks.

    Args:
      path: archive to read.
      prefix: beginning of the images' names in the archive.
      annotations: annotations of each image, by its name without `prefix`.

    Raises:
      UserError: the archive is damaged or cut short.
    """
    left, turned = dict(annotations), []

    def image(name: str, read: Callable[[str], np.ndarray]) -> AnnotatedImage:
        where = f"{path}:{prefix}{name}"
        return AnnotatedImage(name, where, functools.partial(read, where), left.pop(name))

    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = member.name.removeprefix("./").removeprefix(prefix)
                wanted = member.isfile() and name in left
                stream = archive.extractfile(member) if wanted else None
                if stream is not None:
                    content = stream.read()
                    head = headers.header(io.BytesIO(content))
                    if head and head.orientation > 1:
                        turned.append(name)
                    yield image(name, functools.partial(read_image, content))
                    if not left:  # the rest need not be unpacked
                        break
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path} cannot be read to its end ({error}); download it again") from None
    headers.warn_of_turned(turned, str(path))
    for name in sorted(left):
        yield image(name, _missing)


def _missing(name: str) -> UInt8[np.ndarray, "height width 3"]:
    raise UserError(f"{name} is missing")


def check_ids(annotations: Iterable[Annotation]) -> None:
    """Raises UserError if two annotations have the same id."""
    counts = collections.Counter(annotation.id for annotation in annotations)
    twice = [id for id, count in counts.items() if count > 1]
    if twice:
        raise UserError(
            f"{len(twice)} ids of annotations occur more than once, for example {twice[0]}; give "
            f"each annotation of an image a different id"
        )


def check_files(images: Iterable[AnnotatedImage], allow_missing: int) -> None:
    """Checks that image files exist, before hours of work.

    Args:
      images: images that are files in folders.
      allow_missing: number of annotations that may lack an image.

    Raises:
      UserError: more annotations than that lack an image.
    """
    lost = Lost()
    for image in images:
        if not is_file(image.file):
            lost.add(image, f"{image.file} is missing")
    lost.check(allow_missing)


def read_all(
    images: Iterable[AnnotatedImage],
    make: Callable[[AnnotatedImage], Sequence[Result]],
    allow_missing: int,
) -> Iterator[Result]:
    """Yields the results of `make` for each image, in order, using a thread per core.

    Args:
      images: images of one split.
      make: function of an image that calls its `read`; called in threads, once per image.
      allow_missing: number of annotations that may lack a readable image.

    Raises:
      UserError: `read` fails for images with more annotations than that, and some of them are
        named; or there are no results at all.
    """

    def attempt(image: AnnotatedImage) -> tuple[AnnotatedImage, str, Sequence[Result]]:
        readable = dataclasses.replace(image, read=functools.partial(_read, image))
        try:
            return image, "", make(readable)
        except _UnreadableError as error:
            return image, str(error), []

    lost, annotations, found = Lost(), 0, 0
    for image, problem, results in in_threads(attempt, images):
        annotations += len(image.annotations)
        found += len(results)
        if problem:
            lost.add(image, problem)
        yield from results
    lost.check(allow_missing)
    lost.say()
    if not found:
        raise UserError(
            f"none of a split's {annotations} annotations has an image and labels that can be "
            f"used; see config.data"
        )


class _UnreadableError(Exception):
    """An image that cannot be read, as opposed to any other error in `make`."""


def _read(image: AnnotatedImage) -> UInt8[np.ndarray, "height width 3"]:
    try:
        return image.read()
    except OSError as error:
        raise _UnreadableError(f"{image.name} cannot be read ({error.strerror})") from None
    except UserError as error:
        raise _UnreadableError(str(error)) from None


def in_threads(
    function: Callable[[Argument], Result], arguments: Iterable[Argument]
) -> Iterator[Result]:
    """Yields function(argument) in order; computes a bounded number ahead, to save memory.

    Decoding, resizing and encoding release Python's lock, so threads use every core.
    """
    workers = min(cores(), 16)
    arguments = iter(arguments)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        pending = collections.deque(
            pool.submit(function, argument) for argument in itertools.islice(arguments, 4 * workers)
        )
        try:
            while pending:
                yield pending.popleft().result()
                pending.extend(
                    pool.submit(function, argument) for argument in itertools.islice(arguments, 1)
                )
        finally:
            for future in pending:
                future.cancel()
