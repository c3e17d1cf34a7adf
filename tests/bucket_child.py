"""Runs of the project in processes that are forked off one that has imported everything.

Importing TensorFlow takes most of the time of a short run.
"""

import importlib
import multiprocessing
import os
import pathlib
import sys

_PRELOADED = ["bucket_child", "hourglass_jax.training.train", "hourglass_jax.predict"]


class Runs:
    """Starts processes with variables of the environment; their output goes to a file each."""

    def __init__(self, folder: pathlib.Path, environment: dict[str, str]):
        self._folder, self._environment, self._count = folder, environment, 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)

    def start(self, function, *arguments, **variables: str) -> "Run":
        """Calls a function of this module in a new process, with further variables."""
        self._count += 1
        log = self._folder / f"{self._count}.log"
        process = self._context.Process(
            target=_child, args=(log, self._environment | variables, function, arguments)
        )
        process.start()
        return Run(process, log)


class Run:
    """A process; `end` waits for it and returns its exit status and what it said."""

    def __init__(self, process, log: pathlib.Path):
        self.process, self._log = process, log

    def end(self, seconds: float = 900) -> tuple[int, str]:
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"it does not end: {self.said}"
        return self.process.exitcode, self.said

    @property
    def said(self) -> str:
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""


def _child(log: pathlib.Path, environment: dict[str, str], function, arguments) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ.update(environment)
    os.environ["XLA_FLAGS"] = ""  # one device
    from hourglass_jax.runtime import command_line

    with command_line.reporting_errors():
        function(*arguments)


def train(config: dict, workdir: str) -> None:
    from hourglass_jax.runtime import distributed, paths
    from hourglass_jax.training import train as training

    distributed.initialize()
    training.train_and_evaluate(config, paths.path(workdir, "--workdir"))


def restore(checkpoint: str, address: str, process: int) -> None:
    """Reads a state as one of two processes."""
    import jax
    import numpy as np

    from hourglass_jax.checkpoint import store
    from hourglass_jax.runtime import distributed, paths

    distributed.initialize(address, 2, process)
    like = {
        "step": jax.ShapeDtypeStruct((), np.int32),
        "weights": jax.ShapeDtypeStruct((3, 2), np.float32),
    }
    state = store.read_state(paths.path(checkpoint), like)
    print("restored", int(state["step"]))


def predict(*arguments: str) -> None:
    """Runs the command."""
    sys.exit(importlib.import_module("hourglass_jax.predict").main(list(arguments)))


def merge(*arguments: str) -> None:
    """Runs the command."""
    sys.exit(importlib.import_module("hourglass_jax.merge").main(list(arguments)))
