"""Runs a function on many arguments in as many processes as there are cores."""

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from hourglass_jax.data.images import cores

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
    """
    workers = min(cores(), len(arguments) // worth)
    if workers < 2:
        yield from map(function, arguments)
        return
    # Spawned processes: the threads of TensorFlow and JAX do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(function, arguments, chunksize=16)
