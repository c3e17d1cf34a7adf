"""The cache of compiled programs: damaged entries are made again, and nobody else may write it."""

import logging
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from hourglass_jax.runtime import program_cache
from hourglass_jax.runtime.program_cache import VerifiedCache

pytestmark = pytest.mark.core

VALUE = np.random.default_rng(0).bytes(3000)


@pytest.fixture
def cache(tmp_path):
    made = VerifiedCache(tmp_path)
    made.put("jit_f-abc", VALUE)
    return made


def test_what_is_put_is_got(cache, tmp_path):
    assert cache.get("jit_f-abc") == VALUE and cache.get("jit_g-abc") is None
    assert VerifiedCache(tmp_path).get("jit_f-abc") == VALUE
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", ["cache", "sha256"])
@pytest.mark.parametrize("count", [5, pytest.param(250, marks=pytest.mark.slow)])
def test_damaged_entries_are_made_again(cache, tmp_path, suffix, count):
    path, rng = tmp_path / f"jit_f-abc-{suffix}", np.random.default_rng(1)
    for i in range(count):
        content = bytearray(path.read_bytes())
        place = rng.integers(len(content))
        content[place] ^= 1 << rng.integers(8)
        path.write_bytes(content if i % 5 else content[:place])
        assert cache.get("jit_f-abc") is None
        cache.put("jit_f-abc", VALUE)
        assert cache.get("jit_f-abc") == VALUE


def test_an_entry_of_another_program_is_none(cache, tmp_path):
    for suffix in ("cache", "sha256"):
        (tmp_path / f"jit_f-abc-{suffix}").rename(tmp_path / f"jit_g-abc-{suffix}")
    assert cache.get("jit_g-abc") is None


@pytest.mark.parametrize("left", ["entry", "digest"])
def test_a_writer_that_was_killed_leaves_nothing_that_is_used(cache, tmp_path, left):
    (tmp_path / f"jit_f-abc-{'sha256' if left == 'entry' else 'cache'}").unlink()
    assert cache.get("jit_f-abc") is None
    cache.put("jit_f-abc", b"other")
    assert cache.get("jit_f-abc") == b"other"


def test_a_disk_that_takes_nothing_costs_no_run(tmp_path):
    cache = VerifiedCache(tmp_path / "folder")
    (tmp_path / "folder").rmdir()
    cache.put("jit_f-abc", VALUE)
    assert cache.get("jit_f-abc") is None


@pytest.mark.skipif(os.name != "posix", reason="owners and modes")
def test_only_a_private_folder_is_used(tmp_path, monkeypatch, caplog):
    folder = tmp_path / "cache"
    program_cache.make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    program_cache.make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert program_cache._open(str(folder)) is not None
    with caplog.at_level(logging.WARNING, "hourglass_jax"):
        folder.chmod(0o777)
        assert program_cache._open(str(folder)) is None
        folder.chmod(0o700)
        monkeypatch.setattr(os, "getuid", lambda: 12345)  # the owner is somebody else
        if folder.stat().st_uid:
            assert program_cache._open(str(folder)) is None
        folder.chmod(0o770)
        assert program_cache._open(str(folder)) is None
        (tmp_path / "file").touch()
        assert program_cache._open(str(tmp_path / "file")) is None
    assert "other users may write there" in caplog.text and "File exists" in caplog.text


PROGRAM = """
import os, sys, warnings
warnings.simplefilter("error")
from hourglass_jax.runtime import startup
startup.enable_compilation_cache()
import jax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
print(jax.jit(lambda x: x * 3 + 1)(2.0).block_until_ready())
"""


@pytest.mark.slow
def test_damaged_programs_change_no_result(tmp_path):
    """For real: a flipped bit in the machine code itself would end the process, or do worse."""

    def run():
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
        del environment["JAX_COMPILATION_CACHE_DIR"]
        command = [sys.executable, "-c", PROGRAM]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    first = run()
    files = {p: p.read_bytes() for p in (tmp_path / "hourglass_jax").glob("*-cache")}
    assert files
    rng = np.random.default_rng(0)
    for _ in range(5):
        for path, content in files.items():
            flipped = bytearray(content)
            flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
            path.write_bytes(flipped)
        assert run() == first
        for path in files:
            assert path.exists() and (path.parent / f"{path.name[:-6]}-sha256").exists()
