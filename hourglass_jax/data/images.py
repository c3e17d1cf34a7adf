"""From annotated photographs to person records: what the readers of real data sets share.

A reader turns its annotation files into `Person`s; this file opens each photograph once, in as many
threads as there are cores, and cuts everybody's record out of it.
"""

import collections
import concurrent.futures
import dataclasses
import io
import itertools
import logging
import os
import pathlib
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from hourglass_jax.errors import UserError
from hourglass_jax.image import io as photo

logger = logging.getLogger(__name__)

# Larger pictures than any camera makes: files that claim to be are damaged, or an attack.
MAX_PIXELS = 100_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """A person as an annotation file tells of them; px of the photograph, 0-based.

    Attributes:
      id: names the person in predictions.
      image: name of the photograph within its `Photographs`.
      joints_source: x, y; of any value where not labelled.
      labelled: whether a joint has coordinates.
      visible: labelled and not occluded.
      center: of the person's box.
      size: side of the person's box.
      reference: the length that PCK's threshold is a share of.
      picture_size: width and height that the photograph must have, where the file tells.
    """

    id: str
    image: str
    joints_source: Float[np.ndarray, "joints 2"]
    labelled: Bool[np.ndarray, " joints"]
    visible: Bool[np.ndarray, " joints"]
    center: Float[np.ndarray, "2"]
    size: float
    reference: float
    picture_size: tuple[int, int] | None = None


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Folder:
    """Photographs in a folder, by their names within it."""

    def __init__(self, root: pathlib.Path):
        self.root = root

    def where(self, name: str) -> str:
        return str(self.root / name)

    def missing(self, names: Iterable[str]) -> set[str]:
        return {name for name in names if not os.path.isfile(self.root / name)}

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        for name in names:
            yield name, (self.root / name).read_bytes


class Archive:
    """Photographs in a tar archive under `prefix`, read from front to back."""

    def __init__(self, path: pathlib.Path, prefix: str):
        self.path, self.prefix = path, prefix

    def where(self, name: str) -> str:
        return f"{self.path}:{self.prefix}{name}"

    def missing(self, names: Iterable[str]) -> set[str]:
        return set()  # known at the archive's end alone

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Callable[[], bytes]]]:
        wanted = set(names)
        try:
            with tarfile.open(self.path, "r|*") as archive:
                for member in archive:
                    name = member.name.removeprefix("./").removeprefix(self.prefix)
                    if member.isfile() and name in wanted:
                        wanted.discard(name)
                        content = archive.extractfile(member).read()
                        yield name, lambda content=content: content
                        if not wanted:  # the rest need not be unpacked
                            return
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UserError(
                f"{self.path} cannot be read to its end ({error}); download it again"
            ) from None


def read_image(content: bytes, where: str) -> UInt8[np.ndarray, "height width 3"]:
    """Decodes a photograph to RGB, its pixels as stored: annotations ignore EXIF rotation.

    Raises:
      UserError: it is no picture, is cut short, or claims to be enormous.
    """
    return photo.decode(io.BytesIO(content), where, upright=False, max_pixels=MAX_PIXELS)


def check(people: Sequence[Person], photographs: Folder | Archive, allow_missing: int) -> None:
    """Checks what can be known before hours of work: that ids differ and pictures are there.

    Args:
      people: of all splits.
      photographs: where their pictures are.
      allow_missing: how many people's pictures may be missing.

    Raises:
      UserError: people share an id, or more of them than allowed are without a picture.
    """
    twice = [name for name, n in collections.Counter(p.id for p in people).items() if n > 1]
    if twice:
        raise UserError(
            f"{len(twice)} people are annotated twice, {twice[0]} for one; give each annotation "
            f"of a picture an id of its own"
        )
    by_image = _by_image(people)
    lost = {n: f"{photographs.where(n)} is missing" for n in photographs.missing(by_image)}
    _check_lost(lost, by_image, allow_missing)


def _by_image(people: Sequence[Person]) -> dict[str, list[Person]]:
    groups = collections.defaultdict(list)
    for person in people:
        groups[person.image].append(person)
    return groups


def records_of(
    people: Sequence[Person],
    photographs: Folder | Archive,
    make_record: Callable[..., dict],
    allow_missing: int,
) -> Iterator[tuple[str, dict]]:
    """Yields (id, record) for everybody whose photograph can be read.

    Args:
      people: of one split.
      photographs: where their pictures are.
      make_record: `PoseBuilder.record`.
      allow_missing: how many people's pictures may be missing or unreadable.

    Raises:
      UserError: more people than that are without a picture; names some of them.
    """
    by_image = _by_image(people)
    lost = {n: f"{photographs.where(n)} is missing" for n in photographs.missing(by_image)}

    def cut_out(name, load):
        try:
            image = read_image(load(), photographs.where(name))
        except OSError as error:
            return name, f"{photographs.where(name)} cannot be read ({error.strerror})", []
        except UserError as error:
            return name, str(error), []
        height, width = image.shape[:2]
        told = by_image[name][0].picture_size
        if told is not None and told != (width, height):
            problem = f"is {width} x {height} px, and the annotations say {told[0]} x {told[1]}"
            return name, f"{photographs.where(name)} {problem}", []
        records = [(p.id, _record(p, image, make_record)) for p in by_image[name]]
        return name, None, records

    seen, found = set(lost), 0
    wanted = sorted(name for name in by_image if name not in lost)
    for name, problem, records in _in_threads(cut_out, photographs.read(wanted)):
        seen.add(name)
        if problem:
            lost[name] = problem
        yield from records
        found += len(records)
    for name in by_image.keys() - seen:
        lost[name] = f"{photographs.where(name)} is missing"
    _check_lost(lost, by_image, allow_missing)
    if not found:
        raise UserError(
            f"of a split's {len(people)} people none has a picture and joints that can be used; "
            f"see config.data"
        )


def _record(person: Person, image, make_record) -> dict:
    return make_record(
        image=image,
        joints_source=person.joints_source,
        labelled=person.labelled,
        visible=person.visible,
        center=person.center,
        size=person.size,
        reference=person.reference,
        id=person.id,
    )


def _check_lost(lost: dict[str, str], by_image: dict, allowed: int) -> None:
    count = sum(len(by_image[name]) for name in lost)
    for name in sorted(lost):
        logger.warning("%d people are without a picture: %s", len(by_image[name]), lost[name])
    if count <= allowed:
        return
    some = "; ".join(lost[name] for name in sorted(lost)[:5])
    more = f"; and {len(lost) - 5} more pictures" if len(lost) > 5 else ""
    raise UserError(
        f"{count} people are without a picture: {some}{more}. Unpack the data set again, or go "
        f"on without them with config.data.allow_missing={count}"
    )


def _in_threads(function: Callable, arguments: Iterable[tuple]) -> Iterator:
    """Yields function(*each) in order; a bounded number is under way, for memory's sake.

    Decoding, resizing and encoding release Python's lock, so threads use every core.
    """
    workers = min(cores(), 16)
    arguments = iter(arguments)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        pending = collections.deque(
            pool.submit(function, *each) for each in itertools.islice(arguments, 4 * workers)
        )
        try:
            while pending:
                yield pending.popleft().result()
                pending.extend(
                    pool.submit(function, *each) for each in itertools.islice(arguments, 1)
                )
        finally:
            for future in pending:
                future.cancel()
