"""Predictions as a table in a Parquet file: a row for each person or object.

An image in which nothing is found has one row without a person, and so has a file that cannot be
read, whose `error` says why. The numbers are those of predictions.json.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from hourglass_jax.errors import UserError
from hourglass_jax.inference.entries import Entries, Format, as_utf8
from hourglass_jax.inference.results import Results
from hourglass_jax.runtime import disk, extra

# Rows that are written together.
_TOGETHER = 4096
_KEY = b"hourglass_jax"

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class About:
    """What the metadata of a table say.

    Attributes:
      form: how its entries are written.
      command: flags that the results depend on; see `results.Results`.
      inputs: number of files in the whole input.
      digest: checksum of their names; see `digest`.
    """

    form: Format
    command: Mapping[str, Sequence[str]]
    inputs: int
    digest: str

    def schema(self) -> Any:
        """Returns the columns, with the joints' names and all of this in the metadata."""
        pa = arrow()
        number, form = pa.float64(), self.form
        fields = [("image", pa.string()), ("frame", pa.int32())]
        fields += [("object" if form.categories else "person", pa.int32())]
        fields += [("category", pa.string())] if form.categories else []
        fields += [("box", pa.list_(number, 4)), ("score", number)]
        if form.joints:
            fields += [("joints", pa.list_(pa.list_(number, 3), len(form.joints)))]
        about = {
            "form": form.to_json(),
            "command": {flag: list(texts) for flag, texts in self.command.items()},
            "inputs": self.inputs,
            "digest": self.digest,
        }
        metadata = {b"names": json.dumps(form.joints), _KEY: json.dumps(about)}
        return pa.schema([*fields, ("error", pa.string())], metadata=metadata)

    @classmethod
    def of(cls, path: pathlib.Path, copy: pathlib.Path | None = None) -> "About":
        """Returns what a table's metadata say.

        Args:
          path: the table.
          copy: the file that is read for it, if that is another one.

        Raises:
          UserError: it cannot be read, or it is none of this program.
          OSError: the disk or the bucket has failed.
        """
        with _reading(path, copy or path) as file:
            metadata = file.schema_arrow.metadata or {}
        if _KEY not in metadata:
            raise UserError(f"{path} is not a table of predictions")
        about = json.loads(metadata[_KEY])
        return cls(**{**about, "form": Format.from_json(about["form"])})


def arrow(purpose: str = "a Parquet file") -> Any:
    """Returns the module pyarrow; raises UserError if it is not installed."""
    return extra.library("pyarrow", purpose, "parquet")


def digest(names: Iterable[str]) -> str:
    """Returns a text that differs for other names of files, in any order."""
    lines = sorted(as_utf8(name) for name in names)
    return hashlib.sha256("\0".join(lines).encode()).hexdigest()


def rows(
    form: Format, name: str, images: Iterable[tuple[int | None, Entries]], error: str | None = None
) -> Iterator[Row]:
    """Yields the rows of a file.

    Args:
      form: how entries are written.
      name: name of the file in the results.
      images: what was found in the image (frame None) or in the frames.
      error: what went wrong, or None.
    """
    number = "object" if form.categories else "person"
    common, empty = {"image": as_utf8(name), "error": error}, True
    for frame, entries in images:
        empty = False
        for i, entry in enumerate(entries):
            row = {**common, "frame": frame, number: entry.get("track_id", i)}
            row |= {"box": entry.get("bbox"), "score": entry["score"]}
            table, joints = entry.get("keypoints", []), []
            joints = [table[start : start + 3] for start in range(0, len(table), 3)]
            yield {**row, "category": entry.get("category"), "joints": joints}
        if not entries:
            yield {**common, "frame": frame}
    if empty:
        yield common


def entries(form: Format, of_image: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Yields the entries of predictions.json that rows stand for; the inverse of `rows`."""
    ids = dict(zip(form.categories, form.category_ids, strict=False))
    for row in of_image:
        if row["score"] is None:
            continue
        frame = row["frame"]
        entry: dict[str, Any] = {
            "image_id": row["image"] if frame is None else f"{row['image']}#{frame}",
            "category_id": ids.get(row.get("category") or "", form.category_ids[0]),
        }
        if form.categories:
            entry["category"] = row["category"]
        if row["box"] is not None:
            entry["bbox"] = row["box"]
        if form.joints:
            entry["keypoints"] = [value for joint in row["joints"] for value in joint]
        entry["score"] = row["score"]
        if form.tracked and frame is not None:
            entry["track_id"] = row["object" if form.categories else "person"]
        yield entry


def write(path: pathlib.Path, results: Results, names: Iterable[str], about: About) -> None:
    """Writes the results of some files; a file that is there is replaced when all are written."""
    wanted, errors = set(names), results.errors()
    with writing(path, about.schema()) as add:
        for name, images in results.found():
            if name in wanted:
                add(rows(about.form, name, images, errors.get(name)))


@contextlib.contextmanager
def writing(path: pathlib.Path, schema: Any) -> Iterator[Callable[[Iterable[Row]], None]]:
    """Returns a context with a function that adds rows; the file is there when the context ends."""
    pa, pending = arrow(), []
    from pyarrow import parquet

    with (
        disk.errors(path.parent),
        disk.replacing(path) as part,
        part.open("xb") as file,
        parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):

        def write() -> None:
            writer.write_batch(pa.RecordBatch.from_pylist(pending, schema=schema))
            pending.clear()

        def add(several: Iterable[Row]) -> None:
            for row in several:
                pending.append(row)
                if len(pending) == _TOGETHER:
                    write()

        yield add
        write()


def read(path: pathlib.Path, copy: pathlib.Path | None = None) -> Iterator[Row]:
    """Yields the rows of a table; arguments and errors are those of `About.of`."""
    with _reading(path, copy or path) as file:
        for batch in file.iter_batches(_TOGETHER):
            yield from batch.to_pylist()


@contextlib.contextmanager
def _reading(path: pathlib.Path, copy: pathlib.Path) -> Iterator[Any]:
    pa = arrow(str(path))
    from pyarrow import parquet

    try:
        with copy.open("rb") as stream:
            yield parquet.ParquetFile(stream)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno in disk.FAILED:
            raise
        reason = " ".join(str(error).split())[:150]
        raise UserError(f"{path} cannot be read ({reason}); delete it, and make it again") from None
