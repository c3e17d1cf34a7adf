"""Runs several processes as one program: joining, waiting for each other, gathering arrays.

Start the same command on every host. On Cloud TPU, SLURM and Open MPI 4 the processes find each
other; elsewhere three variables are needed: JAX_COORDINATOR_ADDRESS (host:port of process 0),
JAX_NUM_PROCESSES and JAX_PROCESS_ID, for which the command has flags as well.
"""

import contextlib
import itertools
import os
import pathlib
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax._src import distributed as jax_distributed  # for the barrier, which has no public name
from jax.experimental import multihost_utils

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import lock

# After so many seconds without a sign of life a process counts as dead, and the others end.
HEARTBEAT_S = 30
# Open MPI 5 gives the rank of a process, but not the address of the first one.
_OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")
# An indexed job gives the rank as well.
_KUBERNETES = "JOB_COMPLETION_INDEX"
_barriers = itertools.count()  # names of barriers must differ


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins the other processes, if there are any; call it before any computation.

    Args:
      coordinator: host:port of process 0; None: from the environment.
      num_processes: number of processes; None: from the environment.
      process_id: index of this process, from 0; None: from the environment.

    Raises:
      UserError: only some of the three are known, or they contradict each other.
    """
    known = _arguments(os.environ, coordinator, num_processes, process_id)
    if known is None:
        return
    jax.config.update("jax_enable_preemption_service", False)  # see preemption.py
    try:
        jax.distributed.initialize(
            **known,
            heartbeat_timeout_seconds=HEARTBEAT_S,
            shutdown_timeout_seconds=HEARTBEAT_S,
            initialization_timeout=300,
        )
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the processes did not find each other ({' '.join(str(error).split())}); start all of "
            f"them within five minutes, with the same JAX_COORDINATOR_ADDRESS and "
            f"JAX_NUM_PROCESSES, and each with its own JAX_PROCESS_ID"
        ) from None


def _arguments(
    environment: Mapping[str, str], coordinator, num_processes, process_id
) -> dict | None:
    """Returns JAX's arguments, {} where it finds them by itself, None for a single process."""
    coordinator = coordinator or environment.get("JAX_COORDINATOR_ADDRESS")
    size, rank = (environment.get(name) for name in _OPEN_MPI)
    rank = rank or environment.get(_KUBERNETES)
    num_processes = _whole(environment, "JAX_NUM_PROCESSES", num_processes, size)
    process_id = _whole(environment, "JAX_PROCESS_ID", process_id, rank)
    named = {
        "JAX_COORDINATOR_ADDRESS": coordinator,
        "JAX_NUM_PROCESSES": num_processes,
        "JAX_PROCESS_ID": process_id,
    }
    if coordinator:
        missing = [name for name, value in named.items() if value is None]
        if missing and not _detects(environment):
            raise UserError(f"JAX_COORDINATOR_ADDRESS={coordinator} needs {' and '.join(missing)}")
        if num_processes is not None and process_id is not None:
            if not 0 <= process_id < num_processes:
                raise UserError(
                    f"JAX_PROCESS_ID={process_id} must be at least 0 and below "
                    f"JAX_NUM_PROCESSES={num_processes}"
                )
            return {
                "coordinator_address": coordinator,
                "num_processes": num_processes,
                "process_id": process_id,
                "cluster_detection_method": "deactivate",
            }
    if _detects(environment):
        return {}
    if (num_processes or 1) > 1 or (process_id or 0) > 0:
        raise UserError(
            f"this is process {process_id} of {num_processes or 'several'}, and the "
            f"address of process 0 is unknown; set JAX_COORDINATOR_ADDRESS to its host:port, and "
            f"JAX_NUM_PROCESSES"
        )
    return None


def _whole(environment, name: str, value: int | None, fallback: str | None) -> int | None:
    text = environment.get(name, fallback)
    if value is not None or text is None:
        return value
    if not text.isdigit():
        raise UserError(f"{name}={text!r} must be a whole number")
    return int(text)


def _detects(environment: Mapping[str, str]) -> bool:
    """Returns whether JAX finds the other processes by itself."""
    # A batch script has no step before it calls srun, and a shell of salloc has a step of one task:
    # both are single processes.
    tasks = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1"))
    slurm = "SLURM_STEP_NODELIST" in environment and tasks != "1"
    open_mpi = "OMPI_MCA_orte_hnp_uri" in environment
    # Several hosts of a TPU: by name on Kubernetes, by the worker's number on Cloud TPU VMs.
    tpu = "," in environment.get("TPU_WORKER_HOSTNAMES", "")
    slices = "MEGASCALE_COORDINATOR_ADDRESS" in environment
    return slurm or open_mpi or tpu or slices or _on_tpu_vm(environment)


def _on_tpu_vm(environment: Mapping[str, str]) -> bool:
    if environment.get("JAX_PLATFORMS", "tpu").split(",")[0] not in ("", "tpu"):
        return False
    from jax._src import cloud_tpu_init
    from jax._src.clusters import ClusterEnv

    # A notebook's TPU belongs to no cluster.
    clusters = (kind for kind in ClusterEnv._cluster_types if not kind.opt_in_only_method)
    return cloud_tpu_init.running_in_cloud_tpu_vm and any(c.is_env_present() for c in clusters)


@contextlib.contextmanager
def ending_with_others():
    """Ends this process with one sentence, and status 1, when another one has died."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise RunError(
                f"the device has too little memory ({' '.join(str(error).split())[:200]}); lower "
                f"config.batch_size, or set config.model.remat=True, config.accumulate or "
                f"config.model.dtype=bfloat16"
            ) from error
        if jax.process_count() == 1:
            raise
        reason = " ".join(str(error).split())[:300]
        print(
            f"error: process {jax.process_index()} lost another one ({reason}); start all of them "
            f"again to resume from the last checkpoint",
            file=sys.stderr,
        )
        sys.stderr.flush()
        os._exit(1)  # a normal exit would wait for the dead process


def is_first() -> bool:
    """Returns whether this is the process that writes what only one may write."""
    return jax.process_index() == 0


def together(function: Callable[[], Any], name: str, *, first: bool) -> None:
    """Calls a function in some processes; if it fails in one of them, all processes fail.

    Args:
      function: function to call.
      name: name of the barrier at which processes wait for each other, for a day at most.
      first: call it in the first process alone; otherwise in the others alone.

    Raises:
      UserError: the function raised it in some process.
      RunError: the function raised any other error in another process.
    """
    failure = None
    try:
        if is_first() == first:
            function()
    except Exception as error:
        failure = error
    wait_for_all(name)
    mine = None if failure is None else (isinstance(failure, UserError), str(failure))
    everyone = gather_objects(mine)
    if failure is not None:
        raise failure
    for process, other in enumerate(everyone):
        if other is not None:
            mistake, text = other
            raise (UserError if mistake else RunError)(f"process {process}: {text}")


@contextlib.contextmanager
def owning(folder: pathlib.Path, flag: str):
    """Claims a folder for all processes, in the name of the first one; see `lock.claim`."""
    with contextlib.ExitStack() as claim:

        def own():
            claim.enter_context(lock.claim(folder, flag))

        together(own, "folder", first=True)
        yield


def wait_for_all(name: str, seconds: int = 24 * 3600) -> None:
    """Waits until every process has made the same call."""
    client = jax_distributed.global_state.client
    if client is not None:
        client.wait_at_barrier(f"{name} {next(_barriers)}", seconds * 1000)


def gather(array: np.ndarray) -> np.ndarray:
    """Returns the arrays of all processes, of one shape and dtype, along a new first axis."""
    if jax.process_count() == 1:
        return array[None]
    # As bytes: JAX would round float64, and has no strings.
    raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    rows = np.ascontiguousarray(multihost_utils.process_allgather(raw))
    return rows.view(array.dtype).reshape(jax.process_count(), *array.shape)


def gather_objects(value: Any) -> list[Any]:
    """Returns the values of all processes, in their order; the values must be picklable."""
    if jax.process_count() == 1:
        return [value]
    content = pickle.dumps(value)
    lengths = gather(np.array(len(content)))
    padded = np.zeros(lengths.max(), np.uint8)
    padded[: len(content)] = np.frombuffer(content, np.uint8)
    return [
        pickle.loads(row[:length].tobytes())
        for row, length in zip(gather(padded), lengths.tolist(), strict=True)
    ]
