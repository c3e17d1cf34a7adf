"""What --input stands for: folders, links, patterns and names of any kind."""

import logging
import os
import pathlib

import pytest
from PIL import Image

from hourglass_jax.errors import UserError
from hourglass_jax.inference.inputs import inputs

pytestmark = pytest.mark.core


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    (folder / "day1").mkdir(parents=True)
    for name in ("a.jpg", "B.JPG", "clip.MTS", "notes.txt", "day1/c.png"):
        (folder / name).write_bytes(b"x")
    return folder


def names(pattern, output="out"):
    return [name for _, name in inputs(str(pattern), pathlib.Path(output))]


def test_a_folder_a_file_and_patterns(folder):
    assert names(folder) == ["B.JPG", "a.jpg", "clip.MTS", "day1/c.png"]
    assert names(folder / "notes.txt") == ["notes.txt"]  # asked for by name
    assert names(folder / "*.jpg") == ["a.jpg"]
    assert names(folder / "**/*.???") == ["B.JPG", "a.jpg", "clip.MTS", "day1/c.png", "notes.txt"]
    assert names(folder / "day*") == ["c.png"]  # a folder is what is in it
    for nothing in (folder / "*.mp4", folder / "gone", "x" * 5000):
        with pytest.raises(UserError, match="there is no image or video"):
            names(nothing)


def test_patterns_in_folders_with_brackets(folder, monkeypatch):
    other = folder.rename(folder.parent / "in[1]")
    assert names(other) == ["B.JPG", "a.jpg", "clip.MTS", "day1/c.png"]
    assert names(other / "*.jpg") == ["a.jpg"]
    assert names(other / "**/*.png") == ["c.png"]
    monkeypatch.chdir(other)
    assert names("*.[jm]*") == ["a.jpg"] and names("**/*.png") == ["c.png"]


def test_links_are_followed_once(folder):
    (folder / "again").symlink_to(folder / "day1")
    (folder / "day1/loop").symlink_to(folder)
    (folder / "self").symlink_to("self")
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "d.jpg").write_bytes(b"x")
    (outside / "back").symlink_to(outside)
    (folder / "linked").symlink_to(outside)
    (folder / "one.jpg").symlink_to(outside / "d.jpg")
    expected = ["B.JPG", "a.jpg", "clip.MTS", "day1/c.png", "linked/d.jpg", "one.jpg"]
    assert names(folder) == expected
    found = names(folder / "**/*.jpg")
    assert found == ["a.jpg", "linked/d.jpg", "one.jpg"]
    (folder.parent / "link").symlink_to(folder)
    assert names(folder.parent / "link") == expected


def test_files_that_cannot_be_opened_are_not_left_out_in_silence(folder):
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "round.jpg").symlink_to("round.jpg")
    os.mkfifo(folder / "pipe.jpg")  # would wait for ever
    assert names(folder)[-2:] == ["gone.jpg", "round.jpg"]


def test_folders_that_cannot_be_opened_are_named(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("day1"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(folder) == ["B.JPG", "a.jpg", "clip.MTS", "day1"]
    with pytest.raises(UserError, match="day1: the folder cannot be opened"):
        names(folder / "day1")


def test_notes_of_macos_are_not_images(folder, caplog):
    (folder / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (folder / "day1/._c.png").write_bytes(b"\0\5\x16\7")
    caplog.set_level(logging.INFO)
    assert names(folder) == ["B.JPG", "a.jpg", "clip.MTS", "day1/c.png"]
    assert "skipped 3 files" in caplog.text


def test_names_that_are_not_text(folder):
    odd = [os.fsdecode(b"caf\xe9.jpg"), "cafe\u0301.png", "café.png", "a\\b.jpg", "new\nline.jpg"]
    for name in odd:
        (folder / name).write_bytes(b"x")
    assert set(odd) <= set(names(folder))
    assert names(folder / odd[0]) == odd[:1]


def test_drawings_of_a_former_run_are_not_inputs(folder):
    (folder / "out/overlays").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "out/overlays/a.jpg")
    assert "out/overlays/a.jpg" not in names(folder, folder / "out")
    assert "out/overlays/a.jpg" in names(folder, folder / "other")
