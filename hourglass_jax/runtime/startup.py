"""Settings at start: the compilation cache, memory on CPUs, and garbage collection."""

import ctypes
import gc
import os
import pathlib
import sys

import jax

from hourglass_jax.errors import UserError
from hourglass_jax.runtime import program_cache

# mallopt's parameters, from <malloc.h>.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
# From <sys/mman.h>, and the size of x86's huge pages; where they are larger, it does no harm.
_HUGE_PAGES, _HUGE_PAGE = 14, 2**21


def enable_compilation_cache() -> None:
    """Keeps compiled programs for later runs, in a folder that only the user can read.

    JAX_COMPILATION_CACHE_DIR names another folder, or none if it is empty. Folders that other users
    may write to are not used.
    """
    program_cache.verify()
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return
    folder = pathlib.Path(home) / "hourglass_jax"
    try:
        program_cache.make_private(folder)
    except OSError:  # a home that cannot be written to
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def keep_freed_memory() -> None:
    """Makes freed memory stay with this process, if it computes on CPUs under glibc.

    XLA's CPU client takes a step's temporary memory from glibc and frees it at the end; glibc
    returns it to the system, which clears every page again for the next step. That is a third of
    the time of a small network's step. Kept memory is of huge pages where the system has them:
    with 8 stacks a step walks through gigabytes.

    To be called before JAX starts its CPU client, which reads one of the settings only then.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"):  # another C library
        return
    # The calling thread takes memory from the main heap, which can keep it; the heaps of the
    # client's threads are always unmapped.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    try:
        backend = jax.default_backend()
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        platforms = os.environ.get("JAX_PLATFORMS", "")
        raise UserError(f"JAX_PLATFORMS={platforms}: JAX cannot compute there ({reason})") from None
    if backend != "cpu":
        return
    libc.mallopt(_MMAP_MAX, 0)
    libc.mallopt(_TRIM_THRESHOLD, -1)  # never
    libc.mallopt(_TOP_PAD, 64 * 2**20)
    _ask_for_huge_pages(libc)


def _ask_for_huge_pages(libc: ctypes.CDLL) -> None:
    # The request is for addresses that the heap will grow into. Reserving them takes no memory, but
    # leaves none for others where addresses are limited or count as memory.
    import resource  # not on Windows

    try:
        overcommit = pathlib.Path("/proc/sys/vm/overcommit_memory").read_text("utf-8").strip()
    except OSError:  # a sandbox, which may count either way
        return
    limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
    if overcommit == "2" or limits != [resource.RLIM_INFINITY] * 2:
        return
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    reserved = libc.malloc(size)
    if reserved:
        begin = -(-reserved // _HUGE_PAGE) * _HUGE_PAGE
        libc.madvise(begin, reserved + size - begin, _HUGE_PAGES)
        libc.free(reserved)


def collect_garbage_rarely() -> None:
    """Makes Python look for garbage, but less often; call it after the libraries are imported.

    Tracing a step makes millions of objects that stay; looking through all of them again and
    again takes a tenth of the start.
    """
    gc.freeze()
    gc.set_threshold(200_000, 50, 50)
    gc.enable()
