"""On CPUs: keep the memory of a step for the next one.

XLA's CPU client takes a step's temporary memory from glibc and gives it back at the end, and glibc
gives it back to the system, which clears every page again for the next step. That is a third of the
time of a small network's step.
"""

import ctypes
import sys

import jax

# mallopt's parameters, from <malloc.h>.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_memory() -> None:
    """Makes freed memory stay with this process, if it computes on CPUs under glibc.

    To be called before JAX starts its CPU client, which reads one of the settings only then.
    """
    # In the calling thread memory comes from the main heap, which can be told to keep it; the
    # client's own threads have heaps that are unmapped whatever one says.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if sys.platform != "linux" or jax.default_backend() != "cpu":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_TOP_PAD, 64 * 2**20)
