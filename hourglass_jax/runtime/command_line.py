"""What every command does with its messages, and with the errors that end it."""

import argparse
import contextlib
import logging
import os
import sys
import threading

import absl.logging

from hourglass_jax.errors import RunError, UserError

# Begins the names of threads whose work nobody needs any more when a command ends.
EXPENDABLE = "expendable"


class Arguments(argparse.ArgumentParser):
    """A parser that says in one sentence, as a UserError, what is wrong with a flag."""

    def error(self, message: str):
        raise UserError(f"{message}; {self.prog} --help lists the flags")


@contextlib.contextmanager
def reporting_errors():
    """Prints this package's messages, and ends with one sentence where it cannot go on.

    Exit status 2 for the user's mistake, 1 for a run that failed.
    """
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(logging.Formatter("%(message)s"))
    # Ours alone: the libraries' own chatter would bury it, and what goes wrong in them is raised.
    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    logger = logging.getLogger("hourglass_jax")
    logger.addHandler(output)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    except (UserError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        _end(2 if isinstance(error, UserError) else 1)
    except SystemExit as end:
        _end(end.code)


def _end(status: int | str | None):
    """Exits; at once where a thread is busy with what is no longer needed, such as compiling."""
    if any(thread.name.startswith(EXPENDABLE) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)
    sys.exit(status)
