"""Messages of every command, the errors that end it, and flags that are paths."""

import argparse
import contextlib
import logging
import os
import sys
import threading
import warnings

import absl.logging

from hourglass_jax import rules
from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import paths

# Prefix of the names of threads whose work is not needed when a command ends.
EXPENDABLE = "expendable"
# What the addresses of streams begin with.
STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "tcp", "udp", "srt")


class Arguments(argparse.ArgumentParser):
    """A parser that reports a wrong flag in one sentence, as a UserError."""

    def error(self, message: str):
        raise UserError(f"{message}; {self.prog} --help lists the flags")


def say(text: str) -> None:
    """Prints a line to stderr; where it cannot be written, as on a full disk, that is no error."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def path(text: str) -> str:
    """Returns the value of a flag that is a path, with `~` for the home folder.

    Raises:
      argparse.ArgumentTypeError: it is empty, or there is no such home folder.
    """
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    try:
        return rules.expand(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def path_or_address(text: str) -> str:
    """Returns the value of a flag that is a path, as `path` does, or the address of a stream."""
    return text if text.partition("://")[0] in STREAMS and "://" in text else path(text)


def path_on_disk(text: str) -> str:
    """Returns the value of a flag as `path` does, for commands that do not know buckets.

    Raises:
      argparse.ArgumentTypeError: as `path`, or the path is in a bucket.
    """
    value = path(text)
    if paths.is_remote(value):
        raise argparse.ArgumentTypeError(f"{value}: this command only knows files on a disk")
    return value


class _Lines(logging.StreamHandler):
    """Prints the log; where nobody reads it any more, that is no error."""

    def handleError(self, record) -> None:  # noqa: N802
        pass


@contextlib.contextmanager
def reporting_errors():
    """Prints the package's log, and ends with one sentence on errors of users, runs and disks.

    Exit status 2 for a user's mistake, 1 for a run that failed.
    """
    for stream in (sys.stdout, sys.stderr):  # file names may have letters that it lacks
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore
    # They name no file.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # read when OpenCV is imported
    output = _Lines(sys.stdout)
    output.setFormatter(logging.Formatter("%(message)s"))
    # Only this package's log: others would bury it, and errors in libraries are raised.
    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.unraisablehook = _report_unraisable
    logger = logging.getLogger("hourglass_jax")
    logger.addHandler(output)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    except (UserError, RunError) as error:
        say(f"error: {error}")
        _end(2 if isinstance(error, UserError) else 1)
    except OSError as error:  # of a disk that has failed where nobody expects it
        say(f"error: {error.filename or _nameless()}: {error.strerror or error}")
        _end(1)
    except SystemExit as end:
        _end(end.code)


def _nameless() -> str:
    """Returns what an error of files is about that names none."""
    try:
        os.getcwd()
    except OSError:
        return "the current folder"
    return "a file"


def _report_unraisable(error: "sys.UnraisableHookArgs") -> None:
    """Prints errors of other threads, but not what TensorStore's meet after a failed write."""
    if str(error.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(error)


def _end(status: int | str | None):
    """Exits; at once if a thread is busy with what is no longer needed, such as compiling."""
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it any more; Python would try again, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if any(thread.name.startswith(EXPENDABLE) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)
    sys.exit(status)
