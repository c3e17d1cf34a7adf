"""Helper processes: they leave Ctrl-C to the command that started them, and end when it ends.

with ProcessPoolExecutor(4, context, initializer=helpers.end_with_parent) as pool:
    with helpers.starting():
        results = pool.map(function, arguments)
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Returns a context for starting processes, which do not get Ctrl-C.

    A terminal sends it to all processes, and each of them would end with a traceback.
    """
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
