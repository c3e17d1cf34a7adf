"""Where results go: names of any kind, links, folders that cannot be written to."""

import argparse
import csv
import json
import os
import pathlib
import random
import subprocess
import sys
import unittest.mock

import cv2
import numpy as np
import pytest
from conftest import ROOT
from fake import content_of, fake, people_in, run, write_images, write_video
from PIL import Image

from hourglass_jax import predict
from hourglass_jax.errors import UserError
from hourglass_jax.inference import results
from hourglass_jax.inference.places import Places
from hourglass_jax.runtime import command_line

__all__ = ["fake"]
# A name as an old archive unpacks to, letters in one and in two parts, and what CSV quotes.
NAMES = [os.fsdecode(b"caf\xe9.png"), "café.png", "cafe\u0301.png", 'a,"b"\n.png', "日本.jpg"]


@pytest.fixture
def source(tmp_path):
    write_images(tmp_path / "in", ["a.png", "b.png"])
    return tmp_path / "in"


def names_in_csv(output):
    with (output / "predictions.csv").open(encoding="utf-8", newline="") as lines:
        return list(dict.fromkeys(row["image"] for row in csv.DictReader(lines)))


def test_names_lead_back_to_their_files(fake, tmp_path):
    write_images(tmp_path / "in", NAMES)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    there = sorted(os.listdir(os.fsencode(tmp_path / "in")))
    found = [person["image_id"] for person in people_in(tmp_path / "out")]
    assert sorted(map(os.fsencode, found)) == there
    # In CSV what is no UTF-8 is written as JSON has it.
    escaped = [name.replace("\udce9", r"\udce9") for name in found]
    assert names_in_csv(tmp_path / "out") == escaped
    assert len(os.listdir(tmp_path / "out/overlays")) == len(NAMES)


LOCALE = """
import sys
sys.path.insert(0, "tests/inference")
import fake, pytest
from hourglass_jax.runtime import command_line
with pytest.MonkeyPatch.context() as patch, command_line.reporting_errors():
    fake.in_place_of_networks(fake.FakeEstimator(), patch)
    sys.exit(fake.run(*sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_the_locale_does_not_matter(fake, tmp_path, encoding):
    write_images(tmp_path / "in", [*NAMES, "broken.png"])
    (tmp_path / "in" / "broken.png").rename(tmp_path / "in" / "ü\udcff.png")
    (tmp_path / "in" / "ü\udcff.png").write_text("none")
    assert run(tmp_path / "in", tmp_path / "here") == 1
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", LOCALE, f"{tmp_path}/in", f"{tmp_path}/été"],
        env={**environment, "PYTHONIOENCODING": encoding},
        cwd=ROOT,
        capture_output=True,
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert b"5 people in 5 of 6 files" in done.stdout
    assert content_of(tmp_path / "été") == content_of(tmp_path / "here")


def test_the_files_are_whole_at_every_instant(fake, source, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_EVERY", 0)
    monkeypatch.setattr(results, "_MULTIPLE", 0)
    output = tmp_path / "out"
    seen = []
    fake.on_call = lambda call: call > 1 and seen.append((people_in(output), names_in_csv(output)))
    assert run(source, output) == 0
    ((people, names),) = seen
    assert [person["image_id"] for person in people] == names == ["a.png"]


def test_errors_are_where_tools_find_them(fake, source, tmp_path):
    (source / "c.png").write_text("none")
    assert run(source, tmp_path / "out") == 1
    lines = map(json.loads, (tmp_path / "out/progress.jsonl").read_text().splitlines())
    errors = {line["end"]: line["error"] for line in lines if line.get("error")}
    assert list(errors) == ["c.png"] and "cannot be read" in errors["c.png"]


def test_values_that_are_not_finite_are_no_results(fake, source, tmp_path, capsys):
    estimate = fake.estimate

    def damaged(people, heatmaps=False):
        poses = estimate(people)
        poses.joints[0, 3] = np.nan
        return poses

    fake.estimate = damaged
    assert run(source, tmp_path / "out") == 1 and people_in(tmp_path / "out") == []
    assert "not finite" in capsys.readouterr().err


def test_drawings_do_not_cost_results(fake, source, tmp_path, capsys, monkeypatch):
    """Whatever is in their way: a link, a file, an encoder that fails."""
    write_video(source / "c.avi", frames=3)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    for i, hinder in enumerate((pathlib.Path.symlink_to, lambda path, _: path.write_text(""))):
        output = tmp_path / f"out{i}"
        output.mkdir()
        hinder(output / "overlays", elsewhere)
        assert run(source, output) == 1
        assert len(people_in(output)) == 5
        told = capsys.readouterr().err.splitlines()
        drawings = ("a.jpg", "b.jpg", "c.webm")
        assert all(f"{d}: " in line for line, d in zip(told, drawings, strict=True))
        (output / "overlays").unlink()
        assert run(source, output) == 0  # they are made up for
        assert len(people_in(output)) == 5 and len(os.listdir(output / "overlays")) == 3
    assert os.listdir(elsewhere) == ["mine.txt"]
    # One that leads to a file is replaced, and the file is not.
    (output / "overlays/a.jpg").unlink()
    (output / "overlays/a.jpg").symlink_to(elsewhere / "mine.txt")
    assert run(source, output, "--overwrite") == 0
    assert (elsewhere / "mine.txt").read_text() == "mine"
    assert not (output / "overlays/a.jpg").is_symlink()
    monkeypatch.setattr(cv2.VideoWriter, "isOpened", lambda self: False)
    monkeypatch.setattr(Image.Image, "save", lambda *unused, **options: 1 / 0)
    assert run(source, tmp_path / "last", "--heatmaps") == 1
    assert len(people_in(tmp_path / "last")) == 5
    assert "c.webm: OpenCV is installed without the video format VP8" in capsys.readouterr().err
    assert len(list((tmp_path / "last").rglob("*.*"))) == 5  # results, and two .npz


def test_results_without_overlays(fake, source, tmp_path):
    write_video(source / "c.avi", frames=3)
    assert run(source, tmp_path / "drawn") == run(source, tmp_path / "out", "--no_overlays") == 0
    drawn, out = content_of(tmp_path / "drawn"), content_of(tmp_path / "out")
    assert sorted(out) == ["predictions.csv", "predictions.json"] and len(drawn) == 5
    assert out.items() <= drawn.items()
    with pytest.raises(UserError, match="of another command, with --no_overlays=True; give"):
        run(source, tmp_path / "out")


def test_videos_of_any_rate(fake, tmp_path):
    """MPEG-4 takes no rate whose denominator is above 65,535."""
    for rate in (66.667, 107.623):
        write_video(tmp_path / f"in/{rate}.avi", frames=5, rate=rate)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    assert len(people_in(tmp_path / "out")) == 10
    for rate in (66.667, 107.623):
        capture = cv2.VideoCapture(str(tmp_path / f"out/overlays/{rate}.webm"))
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=0.01)
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5


@pytest.mark.parametrize("name", ["progress.jsonl", ".lock"])
def test_results_are_not_written_through_links(fake, source, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out" / name).symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match=r"choose another"):
        run(source, tmp_path / "out")
    for name in ("predictions.json", "predictions.csv"):
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / "new" / name).symlink_to(tmp_path / "mine")
    run(source, tmp_path / "new", "--overwrite")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("hinder", ["file", "predictions.csv", "progress.jsonl"])
def test_an_output_that_cannot_be_written_to(source, tmp_path, monkeypatch, hinder):
    """Is refused before the network is loaded."""
    for network in ("estimator.PoseEstimator", "finder.Finder"):
        monkeypatch.setattr(
            f"hourglass_jax.inference.{network}.from_checkpoint",
            lambda *unused, **options: pytest.fail("the network is loaded"),
        )
    output = tmp_path / "out"
    if hinder == "file":
        output.write_text("")
    else:
        (output / hinder).mkdir(parents=True)
    with pytest.raises(UserError, match=r"out(/p\w+\.\w+ is a folder)?.*; choose another"):
        run(source, output, "--overwrite")


def test_an_error_that_cannot_be_printed_costs_nothing(fake, source, tmp_path, monkeypatch):
    (source / "0.jpg").write_text("no image")
    full = unittest.mock.Mock(write=unittest.mock.Mock(side_effect=OSError("No space left")))
    monkeypatch.setattr("sys.stderr", full)
    assert run(source, tmp_path / "out") == 1
    assert full.write.called and people_in(tmp_path / "out")


def test_home_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert command_line.path("~/poses") == f"{tmp_path}/poses"
    for same in ("poses", "./~/poses", "/a/~b", "lsp-small", "~$draft.jpg"[1:]):
        assert command_line.path(same) == same
    for wrong in ("", "~nobody-of-this-name/poses"):
        with pytest.raises(argparse.ArgumentTypeError):
            command_line.path(wrong)
    with pytest.raises(UserError, match="--output: the path is empty"):
        predict.main(["--input=x", "--output="])
    flags = predict._arguments(
        [f"--{name}=~/x" for name in ("checkpoint", "input", "output", "boxes")]
    )
    assert {flags.checkpoint, flags.input, flags.output, flags.boxes} == {f"{tmp_path}/x"}


PARTS = ["a", "A", "é", "e\u0301", "..", ".", "/", "\\", "x" * 250, ".jpg", ".png", "a.jpg"]
PARTS += ["\udce9", " ", "~", "..\\.."]


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_places_are_inside_and_apart(tmp_path, times):
    rng = random.Random(0)
    for i in range(times):
        output = tmp_path / str(i)
        output.mkdir()
        made = ["".join(rng.choices(PARTS, k=rng.randint(1, 6))) for _ in range(30)]
        names = sorted({str(pathlib.PurePath(name)) for name in made} - {".", "/", "//"})
        places, stems = Places(output), {}
        for name in names:
            stems[name] = places.stem(name)
            part = places.part("overlays", ".jpg")
            part.write_bytes(os.fsencode(name))
            places.put(part, "overlays", stems[name], ".jpg")
        assert len({places.stem(name) for name in names}) == len(names)
        # The same after a stop, in any order.
        rest = rng.sample(names, len(names) // 2)
        again = Places(output, [(stems[name], name) for name in rest])
        assert all(again.stem(name) == stems[name] for name in rest)
        written = [path for path in output.rglob("*") if path.is_file()]
        assert sorted(os.fsdecode(path.read_bytes()) for path in written) == names
    assert sorted(os.listdir(tmp_path)) == sorted(map(str, range(times)))
