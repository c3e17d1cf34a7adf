"""Merging of the shards of a prediction into one table and one predictions.json.

Every file of the input must be in exactly one of them.
"""

import heapq
import itertools
import json
import operator
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from hourglass_jax.errors import UserError
from hourglass_jax.inference import shards, table
from hourglass_jax.inference.journal import differences
from hourglass_jax.inference.results import JOURNAL, JSON
from hourglass_jax.inference.table import About, Row
from hourglass_jax.runtime import disk, paths

TABLE = "predictions.parquet"
Copies = Mapping[pathlib.Path, pathlib.Path]  # tables, and where they are on a disk
_OF_THE_INPUT = "input"  # which may lie elsewhere on each machine; its files are compared


class Merged(NamedTuple):
    """What is in merged shards.

    Attributes:
      shards: number of shards.
      files: number of files in the input.
      found: number of people or objects.
      failed: number of files that could not be read, or not all of them.
      objects: what is found: "people" or "objects".
    """

    shards: int
    files: int
    found: int
    failed: int
    objects: str


def merge(output: pathlib.Path) -> Merged:
    """Merges the shards in an output folder, in the order of the input.

    Raises:
      UserError: shards are missing, do not belong together, or do not hold every file of the input
        exactly once; nothing is written.
      RunError: the disk or the bucket has failed, or the disk is full.
    """
    tables = _complete(output)
    if (output / JOURNAL).exists():
        raise UserError(
            f"{output} holds the results of a command without --shards as well; move them elsewhere"
        )
    with disk.errors(output), paths.all_local(tables) as copies:
        return _merged(output, dict(zip(tables, copies, strict=True)))


_AGAIN = "run the command of each shard again"


def _merged(output: pathlib.Path, copies: Copies) -> Merged:
    about, places = _common(copies), dict[str, pathlib.Path]()
    found, failed, separator = 0, 0, ""
    with (
        disk.replacing(output / JSON) as part,
        table.writing(output / TABLE, about.schema()) as add,
        part.open("x", encoding="utf-8") as objects,
    ):
        objects.write("[")
        for path, name, rows in _in_order(copies):
            if name in places:
                raise UserError(f"{name} is in {_both(places[name], path)}; {_AGAIN}")
            places[name] = path
            rows = list(rows)
            failed += rows[0]["error"] is not None
            add(rows)
            for entry in table.entries(about.form, rows):
                objects.write(f"{separator}\n{json.dumps(entry)}")
                separator, found = ",", found + 1
        objects.write("\n]\n")
        if (len(places), table.digest(places)) != (about.inputs, about.digest):
            raise UserError(
                f"the shards in {output} hold {len(places)} files, which are not the "
                f"{about.inputs} files of the input; {_AGAIN}"
            )
    what = "objects" if about.form.categories else "people"
    return Merged(len(copies), about.inputs, found, failed, what)


def _complete(output: pathlib.Path) -> list[pathlib.Path]:
    """Returns the tables of all shards."""
    tables = shards.found(output, tables=True)
    if not tables:
        raise UserError(
            f"{output} holds no shards that are finished; give the --output of a prediction with "
            f"--shards"
        )
    first, shard = tables[0]
    for path, other in tables:
        if other.count != shard.count:
            raise UserError(
                f"{output} holds shards of {shard.count} and of {other.count}, {first.name} and "
                f"{path.name}; delete those that are not wanted"
            )
    there = {shard.index for _, shard in tables}
    missing = [str(i) for i in range(shard.count) if i not in there]
    if missing:
        listed = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" * (len(missing) > 5))
        raise UserError(
            f"{output} lacks {len(missing)} of {shard.count} shards, with the numbers {listed}: "
            f"they are not finished; run them with --shards={shard.count} --shard={missing[0]}"
        )
    return [path for path, _ in tables]


def _common(copies: Copies) -> About:
    """Returns what the tables say, which must be the same."""
    (begin, copy), *others = copies.items()
    first = About.of(begin, copy)
    for path, copy in others:
        about = About.of(path, copy)
        different = differences(_results_of(about), _results_of(first))
        if different or about.form != first.form:
            raise UserError(
                f"{path} is of another command than {begin.name}, with "
                f"{different or 'another network'}; give all shards the same flags"
            )
        if (about.inputs, about.digest) != (first.inputs, first.digest):
            raise UserError(
                f"{path} is of an input of {about.inputs} files, and {begin.name} of one of "
                f"{first.inputs}, or of other names; {_AGAIN}, which goes on with new files"
            )
    return first


def _results_of(about: About) -> Mapping[str, Sequence[str]]:
    return {flag: texts for flag, texts in about.command.items() if flag != _OF_THE_INPUT}


def _in_order(copies: Copies) -> Iterator[tuple[pathlib.Path, str, Iterator[Row]]]:
    """Yields the rows of each file with its name and its table, as the input is sorted."""

    def files(path: pathlib.Path) -> Iterator[tuple[pathlib.Path, str, Iterator[Row]]]:
        rows = table.read(path, copies[path])
        for name, together in itertools.groupby(rows, operator.itemgetter("image")):
            yield path, name, together

    yield from heapq.merge(*map(files, copies), key=lambda file: pathlib.PurePath(file[1]).parts)


def _both(first: pathlib.Path, second: pathlib.Path) -> str:
    return f"{second} twice" if first == second else f"{first.name} and in {second}"
