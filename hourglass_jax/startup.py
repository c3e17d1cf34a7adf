"""What JAX and Python are told first: to keep compiled programs, memory on CPUs, and their calm."""

import ctypes
import gc
import os
import pathlib
import sys

import jax

# mallopt's parameters, from <malloc.h>.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_compiled() -> None:
    """Makes later runs find what this one compiles, in the user's cache folder.

    JAX_COMPILATION_CACHE_DIR names another folder, or none if it is empty.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(home) / "hourglass_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def keep_memory() -> None:
    """Makes freed memory stay with this process, if it computes on CPUs under glibc.

    XLA's CPU client takes a step's temporary memory from glibc and frees it at the end; glibc
    returns it to the system, which clears every page again for the next step. That is a third of
    the time of a small network's step.

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


def collect_rarely() -> None:
    """Makes Python look for garbage less often, to be called when the libraries are imported.

    Tracing a step makes millions of objects that stay; looking through all of them, time and again,
    takes a tenth of a start.
    """
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)
