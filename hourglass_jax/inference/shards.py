"""Shards of a prediction: each process of an array job takes the files that a hash gives it.

The files of a shard go to the folder `predictions-00001-of-00004` in the output folder. When it is
finished, its table stands beside that folder, `predictions-00001-of-00004.parquet`.
"""

import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Mapping

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import disk

# Variables with a process's index: of arrays of SLURM, of Kubernetes' indexed jobs (and of JobSet,
# which makes such jobs), and of the tasks that `srun` starts.
_ARRAY, _JOB, _TASK = "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "SLURM_PROCID"
_ARRAY_SIZE, _TASKS = "SLURM_ARRAY_TASK_COUNT", "SLURM_STEP_NUM_TASKS"
_NAME = re.compile(r"predictions-(\d{5,})-of-(\d{5,})(\.parquet)?")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One of the parts of an input.

    Attributes:
      index: number of the part, from 0.
      count: number of parts.
    """

    index: int
    count: int

    @classmethod
    def from_flags(
        cls, shards: int | None, shard: int | None, variables: Mapping[str, str] = os.environ
    ) -> "Shard | None":
        """Returns the part that this process takes; None if it takes the whole input.

        Flags take precedence. Without --shards, an array of SLURM says how many there are, or the
        number of tasks that `srun` started, if there are several.

        Args:
          shards: value of --shards.
          shard: value of --shard.
          variables: environment variables.

        Raises:
          UserError: there is no such part, or only one of the two numbers is known.
        """
        if shards is not None and shards < 1:
            raise UserError(f"--shards={shards} must be at least 1")
        if shard is not None:
            if shards is None:
                raise UserError(f"--shard={shard}: give --shards as well, the number of shards")
            return cls._checked(f"--shard={shard}", shard, shards)
        if shards == 1:
            return cls(0, 1)
        if shards is None:
            shards = _count(variables)
            if shards is None:
                return None
        # The batch script of a job has the index of a task, but is none of them.
        indices = (_ARRAY, _JOB, *([_TASK] if _TASKS in variables else []))
        for name in indices:
            if name in variables:
                return cls._checked(f"{name}={variables[name]}", _int(name, variables), shards)
        raise UserError(
            f"--shards={shards}: give --shard as well, from 0 to {shards - 1}; there is no "
            f"{_ARRAY} or {_JOB} to take it from"
        )

    @classmethod
    def _checked(cls, source: str, index: int, count: int) -> "Shard":
        if not 0 <= index < count:
            raise UserError(f"{source} must be from 0 to {count - 1}, as there are {count} shards")
        return cls(index, count)

    @property
    def name(self) -> str:
        """The name of the shard's folder and, with a suffix, of its table."""
        return f"predictions-{self.index:05}-of-{self.count:05}"

    def has(self, name: str) -> bool:
        """Returns whether a file is in this shard.

        Args:
          name: name of the file in the results, relative to the input.
        """
        content = name.encode("utf-8", "surrogateescape")
        digest = hashlib.blake2b(content, digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index

    def check_others(self, output: pathlib.Path) -> None:
        """Raises UserError if an output folder holds shards of another number of shards."""
        for path, other in found(output, tables=False):
            if other.count != self.count:
                raise UserError(
                    f"--output={output} holds {path.name}, and this is one of {self.count} shards; "
                    f"give --shards={other.count}, or choose another folder"
                )


def found(output: pathlib.Path, *, tables: bool) -> list[tuple[pathlib.Path, Shard]]:
    """Returns the tables, or the folders, of the shards in an output folder, sorted by name.

    Raises:
      OSError: the disk or the bucket has failed.
    """
    try:
        names = sorted(path.name for path in output.iterdir())
    except OSError as error:
        if error.errno in disk.FAILED:
            raise
        return []  # it is made later, or refused there
    matches = [(name, _NAME.fullmatch(name)) for name in names]
    return [
        (output / name, Shard(int(match[1]), int(match[2])))
        for name, match in matches
        if match and bool(match[3]) == tables
    ]


def _count(variables: Mapping[str, str]) -> int | None:
    """Returns how many processes share the input, if variables say so."""
    if _ARRAY in variables and _ARRAY_SIZE in variables:
        count = _int(_ARRAY_SIZE, variables)
        # Some of an array's tasks, started again, would be taken for all of them.
        for end, wanted in (("SLURM_ARRAY_TASK_MIN", 0), ("SLURM_ARRAY_TASK_MAX", count - 1)):
            if end in variables and _int(end, variables) != wanted:
                raise UserError(
                    f"{end}={variables[end]}: number the array from 0 without gaps, or give "
                    f"--shards, the number of all shards"
                )
        return count
    if _TASK in variables and _TASKS in variables:
        tasks = _int(_TASKS, variables)
        return tasks if tasks > 1 else None
    return None


def _int(name: str, variables: Mapping[str, str]) -> int:
    try:
        return int(variables[name])
    except ValueError:
        raise UserError(f"{name}={variables[name]} must be a whole number") from None
