"""The command over files and videos."""

import csv
import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from hourglass_jax import predict
from hourglass_jax.errors import UserError


@pytest.fixture
def picture():
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    return cv2.resize(noise, (80, 96), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def folder(tmp_path, picture):
    inputs = tmp_path / "in"
    (inputs / "deeper").mkdir(parents=True)
    for name in ("a.jpg", "a.png", "deeper/b.png"):
        Image.fromarray(picture).save(inputs / name)
    Image.new("RGB", (1, 1)).save(inputs / "one.png")
    (inputs / "broken.jpg").write_text("no picture")
    return inputs


def rows_of(output):
    with (output / "predictions.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_a_folder(finished, folder, tmp_path, capsys):
    output = tmp_path / "out"
    flags = [f"--checkpoint={finished[0]}", f"--output={output}"]
    flags += ["--heatmaps", "--whole"]
    assert predict.main([*flags, f"--input={folder}"]) == 1  # one is broken
    assert "broken.jpg cannot be read" in capsys.readouterr().err
    people = json.loads((output / "predictions.json").read_text())
    assert [p["image_id"] for p in people] == ["a.jpg", "a.png", "deeper/b.png", "one.png"]
    assert all(len(p["keypoints"]) == 3 * 16 and p["category_id"] == 1 for p in people)
    assert len(rows_of(output)) == 4 * 16
    drawn = {str(p.relative_to(output)) for p in output.rglob("*.jpg")}
    names = ("a.jpg", "a.png.jpg", "deeper/b.jpg", "one.jpg")
    assert drawn == {f"{kind}/{name}" for kind in ("overlays", "heatmaps") for name in names}
    assert np.load(output / "heatmaps/a.npz")["heatmaps"].shape == (1, 16, 16, 16)
    # A step's folder is one wherever it lies.
    step = tmp_path / "best"
    shutil.copytree(finished[0] / "checkpoints/8", step)
    flags = [f"--checkpoint={step}", f"--output={tmp_path / 'beside'}", "--whole"]
    assert predict.main([*flags, f"--input={folder}/*.png"]) == 0
    # What it drew is not taken for input, where the folder holds both.
    shutil.rmtree(tmp_path / "beside")
    inside = [f"--checkpoint={finished[0]}", f"--input={tmp_path}", f"--output={output}"]
    inside += ["--whole"]
    with pytest.raises(UserError, match=r"holds results of another command, with --input=.*/in, "):
        predict.main(inside)
    assert predict.main([*inside, "--overwrite"]) == 1
    people = json.loads((output / "predictions.json").read_text())
    assert {p["image_id"].partition("/")[0] for p in people} == {"in"}
    inside = [f"--checkpoint={step}", f"--input={tmp_path}/in", f"--output={tmp_path}/in"]
    inside += ["--whole"]
    assert predict.main(inside) == predict.main(inside) == 1
    assert len(json.loads((tmp_path / "in/predictions.json").read_text())) == 4
    # A pattern finds the same, and a step's folder is a checkpoint as well.
    (step,) = [p for p in (finished[0] / "checkpoints").iterdir() if p.name == "8"]
    (tmp_path / "boxes.json").write_text('{"a.png": [[1, 2, 30, 40], [5, 5, 20, 20]]}')
    flags = [f"--checkpoint={step}", f"--output={tmp_path / 'again'}"]
    flags += [f"--input={folder}/*.png", f"--boxes={tmp_path / 'boxes.json'}"]
    assert predict.main(flags) == 0
    people = json.loads((tmp_path / "again/predictions.json").read_text())
    assert [p["image_id"] for p in people] == ["a.png", "a.png"]
    assert people[0]["bbox"] == [1, 2, 30, 40]


def write_video(path, picture, frames):
    code = cv2.VideoWriter_fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), code, 25.0, picture.shape[1::-1])
    for _ in range(frames):
        writer.write(picture)
    writer.release()


def test_a_video(finished, tmp_path, picture):
    write_video(tmp_path / "walk.mp4", picture, frames=11)
    output = tmp_path / "out"
    flags = [f"--checkpoint={finished[0]}", f"--input={tmp_path / 'walk.mp4'}"]
    assert predict.main([*flags, f"--output={output}", "--box=10,8,40,64"]) == 0
    rows = rows_of(output)
    assert [row["image"] for row in rows[::16]] == [f"walk.mp4#{i}" for i in range(11)]
    capture = cv2.VideoCapture(str(output / "overlays/walk.webm"))
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert frames == 11 and capture.get(cv2.CAP_PROP_FPS) == 25


PEAK = """
import resource, sys
from hourglass_jax import predict
assert predict.main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_a_video(finished, tmp_path, picture):
    large = cv2.resize(picture, (1280, 720))

    def peak(frames):
        video = tmp_path / f"{frames}.mp4"
        write_video(video, large, frames)
        flags = [f"--checkpoint={finished[0]}", f"--input={video}", f"--output={tmp_path}/{frames}"]
        flags += ["--whole"]
        command = [sys.executable, "-c", PEAK, *flags]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return int(done.stdout.splitlines()[-1])

    peak(10)  # compiles
    assert peak(300) < 1.05 * peak(100)


def test_mistakes_are_one_sentence(finished, folder, tmp_path):
    (tmp_path / "others.json").write_text('{"z.jpg": [[1, 2, 3, 4]]}')
    good = {
        "checkpoint": finished[0],
        "input": folder,
        "output": tmp_path / "out",
    }
    for change, says in (
        ({"checkpoint": tmp_path}, "holds no checkpoint"),
        ({"checkpoint": tmp_path / "gone"}, "does not exist"),
        ({"input": tmp_path / "gone"}, "no image or video"),
        ({"output": folder / "a.jpg"}, "choose another folder"),
        ({"box": "1,2,3"}, "a box is x,y,width,height"),
        ({"scales": "large"}, "--scales=large"),
        ({"boxes": tmp_path / "others.json"}, "lists none of the images"),
        ({"num_stacks": 2}, "this network has 1"),
        ({"num_stacks": "two"}, "num_stacks.*two.*--help"),
        ({"box": "1,2,-3,4"}, "the last two at least 1"),
    ):
        with pytest.raises(UserError, match=says):
            predict.main([f"--{name}={value}" for name, value in (good | change).items()])


def test_the_command(tmp_path):
    command = [sys.executable, "-m", "hourglass_jax.predict", f"--checkpoint={tmp_path}"]
    result = subprocess.run(
        [*command, "--input=x", "--output=y"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: --input=x: there is no image or video of that name")
