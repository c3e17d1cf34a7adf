"""Runs a function on many arguments in as many processes as there are cores."""

import concurrent.futures.process
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from hourglass_jax.data.images import cores
from hourglass_jax.errors import RunError
from hourglass_jax.runtime import helpers

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Argument], Result], arguments: Sequence[Argument], *, worth: int
) -> Iterator[Result]:
    """Yields function(argument) in order.

    Args:
      function: function that can be pickled.
      arguments: its arguments.
      worth: number of arguments for which starting a process pays.

    Raises:
      RunError: a process was killed.
    """
    workers = min(cores(), len(arguments) // worth)
    if workers < 2:
        yield from map(function, arguments)
        return
    # Spawned processes: the threads of TensorFlow and JAX do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ends = helpers.end_with_parent
    with concurrent.futures.ProcessPoolExecutor(workers, context, ends) as pool:
        with helpers.starting():
            results = pool.map(function, arguments, chunksize=16)
        try:
            yield from results
        except concurrent.futures.process.BrokenProcessPool:
            raise RunError(
                "a process that makes the data was ended, as the system does where memory is "
                "short; run the same command again"
            ) from None
