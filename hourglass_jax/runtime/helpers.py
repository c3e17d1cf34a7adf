"""Helper processes: they leave Ctrl-C to the command that started them, and end when it ends.

They do not import the program that started them, as those of `multiprocessing` do, so that a script
needs no `if __name__ == "__main__"`; the functions that they run must be those of modules.

with ProcessPoolExecutor(4, context, initializer=helpers.end_with_parent) as pool:
    with helpers.starting():
        results = pool.map(function, arguments)
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from multiprocessing import resource_tracker


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Returns a context for starting processes, which neither run the program nor get Ctrl-C.

    A terminal sends Ctrl-C to all processes, and each of them would end with a traceback.
    """
    program = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")  # there is no file to run
    try:
        with _without_interrupts():
            yield
    finally:
        sys.modules["__main__"] = program


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
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
    """Makes this process end as soon as its parent has ended, even if that was killed."""
    parent = multiprocessing.parent_process()

    def wait():
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
