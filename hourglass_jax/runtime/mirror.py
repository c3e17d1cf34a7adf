"""Files that grow, in a bucket as well, where nothing can be appended to an object."""

import contextlib
import pathlib
import tempfile
import time
from typing import Any

from hourglass_jax.runtime import paths


class Mirror:
    """A folder on a disk that is copied to a bucket now and then; elsewhere the folder itself.

    Attributes:
      local: the folder to write to.
    """

    def __init__(self, folder: pathlib.Path, *names: str, every: float = 5.0):
        """Makes the folder on the disk.

        Args:
          folder: the folder that it stands for.
          names: files that are there at the beginning, if the folder has them.
          every: seconds between two times at which files are copied; more if that takes long.

        Raises:
          OSError: a file cannot be read.
        """
        self._folder, self._every, self._due = folder, every, 0.0
        self.local, self._temporary = folder, None
        self._copied: dict[pathlib.Path, int] = {}  # bytes
        if paths.is_remote(folder):
            self._temporary = tempfile.TemporaryDirectory(prefix="hourglass-")
            self.local = pathlib.Path(self._temporary.name)
            for name in names:
                source: Any = folder / name
                with contextlib.suppress(FileNotFoundError):
                    source.download(self.local / name)

    @property
    def is_remote(self) -> bool:
        """Whether the folder is in a bucket."""
        return self._temporary is not None

    def publish(self, *, now: bool = False) -> None:
        """Copies what has grown, if that is due or needed now.

        Raises:
          OSError: a file cannot be written.
        """
        begin = time.monotonic()
        if self._temporary is None or not (now or begin >= self._due):
            return
        for file in sorted(path for path in self.local.rglob("*") if path.is_file()):
            size = file.stat().st_size
            if self._copied.get(file) != size:
                target: Any = self._folder / file.relative_to(self.local).as_posix()
                target.upload(file)
                self._copied[file] = size
        took = time.monotonic() - begin
        self._due = begin + max(self._every, 20 * took)

    def close(self) -> None:
        """Copies the rest, and removes the folder on the disk."""
        if self._temporary is not None:
            try:
                self.publish(now=True)
            finally:
                self._temporary.cleanup()
                self._temporary = None
