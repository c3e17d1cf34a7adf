"""Helper processes: they leave signals to the command that started them, and end when it ends.

with ProcessPoolExecutor(4, context, initializer=helpers.end_with_parent) as pool:
    with helpers.starting():
        results = pool.map(function, arguments)
"""

import contextlib
import multiprocessing
import os
import signal
import threading

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def starting():
    """Returns a context for starting processes, which do not get signals of terminals and systems.

    A terminal sends Ctrl-C to all processes, and each of them would end with a traceback.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
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
