"""Files that are complete, and disks that fail."""

import errno
import os

import pytest

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.runtime import disk


def test_a_file_is_replaced_when_it_is_complete(tmp_path):
    path, mine = tmp_path / "a.json", tmp_path / "mine"
    mine.write_text("mine")
    path.symlink_to(mine)
    (tmp_path / "a.json.unfinished").symlink_to(mine)  # neither is written through
    with pytest.raises(ZeroDivisionError), disk.replacing(path) as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "mine"
    with disk.replacing(path) as unfinished:
        unfinished.write_text("whole")
    assert path.read_text() == "whole" and mine.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["a.json", "mine"]


def test_paths_that_libraries_do_not_take(tmp_path, monkeypatch):
    odd = tmp_path / "caf\udce9"
    odd.mkdir()
    disk.check_utf8(tmp_path / "café", "--workdir=café")
    for path in (odd, odd / "run"):
        for check in (disk.check_utf8, disk.make_folder):
            with pytest.raises(UserError, match=r"--workdir=x: the path is not UTF-8.*another"):
                check(path, "--workdir=x")
    monkeypatch.chdir(odd)
    with pytest.raises(UserError, match="--workdir=run: the path is not UTF-8"):
        disk.check_utf8("run", "--workdir=run")


def test_a_folder_to_write_to(tmp_path):
    disk.make_folder(tmp_path / "a/b", "--output=x")
    assert not list((tmp_path / "a/b").iterdir())
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file/deeper"):
        with pytest.raises(UserError, match=r"^--output=x: .*; choose another folder"):
            disk.make_folder(folder, "--output=x")


def test_a_failing_disk_is_no_mistake_of_the_user(tmp_path):
    for number, kind in ((errno.ENOSPC, RunError), (errno.EACCES, UserError)):
        error = OSError(number, os.strerror(number))
        refused = disk.refusal(error, "--output=x")
        assert type(refused) is kind and str(refused).startswith(f"--output=x: {error.strerror}; ")
    with (
        pytest.raises(RunError, match=r"No space left.*run the same command"),
        disk.errors(tmp_path),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
