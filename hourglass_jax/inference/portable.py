"""Networks that can be pickled for other processes, and that name a fork that has broken them."""

import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from hourglass_jax.errors import UserError

# The process that first made a network.
_process: int | None = None


class Portable:
    """An object that is pickled as the arguments that it was made of.

    Other processes compile it again. Threads may share it.
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args, **kwargs):
        check_process()
        made = super().__new__(cls)
        made._arguments = args, kwargs
        return made

    def __reduce__(self):
        args, kwargs = self._arguments
        kept = {name: _on_host(value) for name, value in kwargs.items()}
        return functools.partial(type(self), **kept), tuple(map(_on_host, args))


def _on_host(argument: Any) -> Any:
    """Returns the variables of a network as NumPy arrays, and other arguments as they are."""
    return jax.tree.map(np.asarray, argument) if isinstance(argument, Mapping) else argument


def check_process() -> None:
    """Raises UserError in a forked process, where JAX would wait forever for threads it lacks."""
    global _process
    if _process is None:
        _process = os.getpid()
    elif _process != os.getpid():
        raise UserError(
            "this process was forked from one that uses JAX, whose threads do not survive that; "
            'start it with multiprocessing.get_context("spawn")'
        )
