"""A step's memory is kept for the next, counted in pages that the system had to supply."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

COUNT = """
import ctypes, resource, sys
# Pages of one size: where the system hands out huge ones unasked, one fault stands for 512.
PR_SET_THP_DISABLE = 41
assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
from hourglass_jax import startup
if sys.argv[1] == "keep":
    startup.keep_memory()
import jax, jax.numpy as jnp
x = jnp.ones((16, 128, 128, 16))
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
    # Now and then a heap of the client's own threads happens to stay as well.
    assert any(pages("leave") > 1000 for _ in range(5))


CACHE = """
import sys
from hourglass_jax import startup
startup.keep_compiled()
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
