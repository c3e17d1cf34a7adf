"""Ctrl-C, SIGTERM and SIGHUP end a command where nothing is lost, and a second one at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class StoppedError(Exception):
    """The user or the system has asked for the end.

    Attributes:
      status: exit status of a command that ends by the signal, such as 143.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number


class Stopping:
    """Context in which a signal ends the process at once, and between files in the loop."""

    def __init__(self):
        self._number, self._in_loop = 0, False
        self._before = {}

    def __enter__(self) -> "Stopping":
        if threading.current_thread() is threading.main_thread():  # others cannot have handlers
            for number in _SIGNALS:
                # What is ignored, such as SIGHUP under nohup, stays so.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *unused) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame) -> None:
        if self._in_loop and not self._number:
            self._number = number
            return
        # Not by an exception, which would arise anywhere, such as in the middle of an import.
        error = StoppedError(number)
        os.write(2, f"error: {error}\n".encode())
        os._exit(error.status)

    @contextlib.contextmanager
    def in_loop(self) -> Iterator[None]:
        """Returns a context in which the first signal only makes `check` raise."""
        self._in_loop = True
        try:
            yield
        finally:
            self._in_loop = False

    def check(self) -> None:
        """Raises StoppedError if a signal has arrived."""
        if self._number:
            raise StoppedError(self._number)
