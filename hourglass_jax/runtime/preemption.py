"""Signals that end a run: Ctrl-C, SIGTERM (for preempted machines), SIGHUP (for closed terminals).

A command ends at once, wherever it is: a power cut leaves no time either, so that files are
complete at any moment, or recognised as unfinished. Only the training loop saves first.
"""

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import signal
import stat
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing import resource_tracker
from typing import Any, NoReturn

STOPPED = 75  # exit status: stopped by SIGTERM or SIGHUP; start again to resume
_NAMES = {
    signal.SIGINT: "Ctrl-C",
    signal.SIGTERM: "SIGTERM",
    signal.SIGHUP: "SIGHUP, as from a closed terminal",
}


class StoppedError(Exception):
    """Ends an evaluation in the training loop, which then saves and exits."""


class StopSignal:
    """Notes signals while the training loop runs; several processes agree on when to stop.

    Attributes:
      received: the first signal of this process, or None.
      notice: sentence for the first Ctrl-C.
    """

    def __init__(self, notice: str = "saving; press Ctrl-C again to stop without it"):
        self.received: signal.Signals | None = None
        self.notice = notice
        self._agreed, self._points = False, itertools.count(1)
        self._manager = None

    @contextlib.contextmanager
    def in_loop(self):
        """Returns a context in which signals are noted, except for a second Ctrl-C."""
        global _loop
        with contextlib.ExitStack() as stack:
            if not _watching:  # the loop is part of another program
                stack.callback(_handle(self._interrupt))
            self._manager = _agreement(stack)
            _loop = self
            try:
                yield
            finally:
                _loop = None
        if self.received is not None:  # after the last step, or while it was being saved
            os.kill(os.getpid(), self.received)

    def note(self, number: signal.Signals) -> bool:
        """Notes a signal; returns whether it is one that does not wait: another Ctrl-C."""
        if self.received is not None and number == signal.SIGINT:
            return True
        self.received = self.received or number
        if self._manager is not None and number != signal.SIGTERM:
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    def _interrupt(self, number: int, frame) -> None:
        if self.note(signal.Signals(number)):
            raise KeyboardInterrupt

    def requested_by_any(self) -> bool:
        """Returns whether to stop here; the same in all processes, which call it equally often."""
        if self._manager is None:
            return self.received is not None
        self._agreed = self._agreed or self._manager.reached_sync_point(next(self._points))
        return self._agreed

    def check(self) -> None:
        """Raises StoppedError if `requested_by_any`."""
        if self.requested_by_any():
            raise StoppedError

    def wait(self, future: Future) -> Any:
        """Returns the result of a future, such as of compiling; a single process also `check`s."""
        while self._manager is None and not future.done():
            self.check()
            concurrent.futures.wait([future], timeout=0.1)
        return future.result()

    @property
    def cause(self) -> str:
        """What stopped this process, for messages."""
        return _NAMES[self.received or signal.SIGTERM]

    def exit(self) -> NoReturn:
        """Exits after saving; a repeated signal of the system no longer changes the status."""
        if _watching:
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        sys.exit(_status(self.received or signal.SIGTERM, resumes=True))


_loop: StopSignal | None = None
_watching = False


def _agreement(stack: contextlib.ExitStack):
    """Returns JAX's manager by which several processes agree on a point, closed by the stack.

    It handles SIGTERM, and finds a point that no process has passed yet. It is not the one that JAX
    keeps itself, to which Orbax reports other points.
    """
    from jax._src import distributed
    from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]

    if distributed.global_state.client is None:
        return None
    # JAX's handler is not Python's, which is set again afterwards.
    stack.callback(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
    manager = _jax.create_preemption_sync_manager()
    manager.initialize(distributed.global_state.client)
    stack.callback(manager.shutdown)
    return manager


def end_at_once(resumes: Callable[[], bool]) -> None:
    """Makes signals end this process from now on, with one sentence on stderr.

    The exit status is 128 and the signal's number, as in shells; it is `STOPPED` for signals other
    than Ctrl-C if `resumes()`. A thread waits for the signals: the main thread may be compiling,
    when Python handles none for minutes.

    Args:
      resumes: returns whether the same command continues the work; called on a signal.
    """
    global _watching
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    # Libraries may replace the wakeup descriptor for a while; then only the handler is called.
    _handle(lambda number, frame: os.write(writes, bytes([number | 128])))
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reads, resumes), daemon=True).start()
    _watching = True


@contextlib.contextmanager
def starting_helpers():
    """Returns a context in which new processes do not get Ctrl-C: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # it allows Ctrl-C again where it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which they inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Makes this helper process end when its parent does, even if that is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _watch(reads: int, resumes: Callable[[], bool]) -> None:
    received, handled = Counter(), Counter()
    while True:
        byte = os.read(reads, 1)[0]
        number = byte & 127
        (handled if byte > 127 else received)[number] += 1
        if number not in _NAMES or (byte > 127 and handled[number] <= received[number]):
            continue
        received[number] = max(received[number], handled[number])
        number, loop = signal.Signals(number), _loop
        if number == signal.SIGHUP:
            _leave_terminal()
        if loop is None:
            _end(number, f"stopped by {_NAMES[number]}", resumes())
        elif loop.note(number):
            _end(number, "stopped by Ctrl-C without saving", resumes())
        elif number == signal.SIGINT and loop.notice:
            _say(loop.notice)


def _end(number: signal.Signals, sentence: str, resumes: bool) -> None:
    _say(f"{sentence}; start the same command again to continue" if resumes else sentence)
    if os.isatty(1):
        os.write(1, b"\033[?25h")  # a progress bar hides the cursor
    os._exit(_status(number, resumes))


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError):  # the terminal is closed
        os.write(2, f"{sentence}\n".encode())


def _leave_terminal() -> None:
    """Discards further output to a terminal, where writing fails once it is closed."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(nowhere, descriptor)


def _status(number: signal.Signals, resumes: bool) -> int:
    return STOPPED if resumes and number != signal.SIGINT else 128 + number


def _handle(handler: Callable) -> Callable[[], None]:
    """Handles signals, but those that are ignored, as by nohup; returns a function to undo it."""
    before = {}
    if threading.current_thread() is threading.main_thread():  # others cannot
        for number in _NAMES:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)

    def undo():
        for number, former in before.items():
            signal.signal(number, former)

    return undo
