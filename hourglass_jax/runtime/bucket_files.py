"""Files that become objects of a bucket when they are closed."""

import io
from typing import Any


class Written(io.BytesIO):
    """Content that becomes an object when it is closed."""

    def __init__(self, path: Any, *, new: bool):
        super().__init__()
        self._path = path
        if new:
            path.swap(b"", 0)

    def abandon(self) -> None:
        """Closes the file without writing it."""
        super().close()

    def close(self) -> None:
        if not self.closed:
            content = self.getvalue()
            super().close()
            self._path.write_bytes(content)

    def __exit__(self, kind, *unused) -> None:
        self.abandon() if kind is not None else self.close()


class Text(io.TextIOWrapper):
    """The text of such a file, or of one that is read."""

    def __exit__(self, kind, *unused) -> None:
        if kind is not None and isinstance(self.buffer, Written):
            self.buffer.abandon()
        else:
            self.close()
