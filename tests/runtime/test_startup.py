"""A step's memory is kept for the next, counted in pages that the system had to supply."""

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import ROOT

COUNT = """
import ctypes, resource, sys
# Pages of one size: where the system hands out huge ones unasked, one fault stands for 512.
PR_SET_THP_DISABLE = 41
assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
from hourglass_jax.runtime import startup
if sys.argv[1] == "keep":
    startup.keep_freed_memory()
import jax, jax.numpy as jnp
x = jnp.ones((20, 256, 128, 16))  # of more than 32 MB, which glibc hands back whatever it learns
f = jax.jit(lambda x: (jnp.sin(x).reshape(-1, 16) @ jnp.ones((16, 64))).sum())
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        f(x).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
# Each thread's heap grows once, when its turn first comes, which may be in a later round.
print(sorted(pages() for _ in range(10))[5])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_later_steps_need_no_new_pages():
    def pages(word):
        environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", COUNT, word]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return int(result.stdout)

    assert pages("keep") < 100
    assert pages("leave") > 1000


LARGE = """
import ctypes, pathlib, re, resource, sys
from hourglass_jax.runtime import startup
startup.keep_freed_memory()
libc, size = ctypes.CDLL(None), int(2.2 * 2**30)  # glibc's integers end at 2 GB
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    memory = libc.malloc(size)
    libc.memset(memory, 1, size)
    huge = re.search(r"AnonHugePages: +(\\d+)", pathlib.Path("/proc/self/smaps_rollup").read_text())
    libc.free(memory)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, int(huge[1]) * 1024 / size
fill()
print(*fill())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_gigabytes_are_kept_in_huge_pages():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LARGE]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    pages, share_of_huge = map(float, result.stdout.split())
    assert pages < 100
    offered = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if offered.is_file() and "[never]" not in offered.read_text():
        assert share_of_huge > 0.5


CACHE = """
import sys
from hourglass_jax.runtime import startup
startup.enable_compilation_cache()
import jax, pathlib, warnings
warnings.simplefilter("error")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.jit(lambda x: x + 1)(1.0).block_until_ready()
folder = jax.config.jax_compilation_cache_dir
print(folder if any(pathlib.Path(folder).iterdir()) else "nothing is kept")
"""


def test_compiled_programs_are_kept_where_the_user_says(tmp_path):
    def folder(**environment):
        kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
        environment = {**kept, "PYTHONPATH": str(ROOT), **environment}
        command = [sys.executable, "-c", CACHE]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert folder(XDG_CACHE_HOME=str(tmp_path)) == str(tmp_path / "hourglass_jax")
    assert folder(XDG_CACHE_HOME="", HOME=str(tmp_path)) == str(tmp_path / ".cache/hourglass_jax")
    assert folder(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "x")) == str(tmp_path / "x")


def test_devices_that_are_not_there_are_one_sentence():
    program = "from hourglass_jax.runtime import startup; startup.keep_freed_memory()"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "nowhere"},
        capture_output=True,
        text=True,
    )
    assert "UserError: JAX_PLATFORMS=nowhere: JAX cannot compute there" in result.stderr
