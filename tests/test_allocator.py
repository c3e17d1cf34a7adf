"""A step's memory is kept for the next: counted in pages that the system had to supply."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

COUNT = """
import resource, sys
from hourglass_jax import allocator
if sys.argv[1] == "keep":
    allocator.keep_memory()
import jax, jax.numpy as jnp
x = jnp.ones((16, 128, 128, 16))
f = jax.jit(lambda x: (jnp.sin(x).reshape(-1, 16) @ jnp.ones((16, 64))).sum())
for _ in range(3):
    f(x).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    f(x).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_later_steps_need_no_new_pages():
    def pages(word):
        environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", COUNT, word]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return int(result.stdout)

    assert pages("keep") < 100 < 1000 < pages("leave")
