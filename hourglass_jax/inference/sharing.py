"""What a process predicts of an input: all of it, or a shard, of which it writes a table."""

import logging
import pathlib
from collections.abc import Mapping, Sequence

from hourglass_jax.inference import table
from hourglass_jax.inference.results import Results
from hourglass_jax.inference.shards import Shard
from hourglass_jax.runtime import disk

logger = logging.getLogger(__name__)

Files = list[tuple[pathlib.Path, str]]


class Sharing:
    """The part of an input that this process predicts.

    The table of a shard is in the output folder if the shard is finished, and only then.
    """

    def __init__(self, shards: int | None, shard: int | None):
        """Makes the part that flags or the environment name; see `Shard.from_flags`.

        Raises:
          UserError: they name none, or pyarrow is not installed.
        """
        self._shard = Shard.from_flags(shards, shard)
        if self._shard is not None:
            table.arrow(f"a prediction of {self._shard.count} shards")

    def take(self, output: pathlib.Path, files: Files) -> tuple[pathlib.Path, Files]:
        """Returns the output folder of this process, and its files.

        Args:
          output: the output folder of all processes.
          files: the files of the whole input, with their names in the results.

        Raises:
          UserError: the folder holds shards of another number of shards.
        """
        if self._shard is None:
            return output, files
        self._shard.check_others(output)
        self._everything = [name for _, name in files]
        self._output, self._table = output, output / f"{self._shard.name}.parquet"
        mine = [(path, name) for path, name in files if self._shard.has(name)]
        self._mine = [name for _, name in mine]
        logger.info("%s: %d of %d files", self._shard.name, len(mine), len(files))
        return output / self._shard.name, mine

    def begin(self) -> None:
        """Removes the table of this shard, as it is not finished any more."""
        if self._shard is not None:
            with disk.errors(self._output):
                self._table.unlink(missing_ok=True)

    def end(self, results: Results, command: Mapping[str, Sequence[str]]) -> None:
        """Writes the table of this shard.

        Args:
          results: results of this shard.
          command: flags that they depend on.
        """
        if self._shard is not None:
            names = self._everything
            about = table.About(results.written, command, len(names), table.digest(names))
            table.write(self._table, results, self._mine, about)
