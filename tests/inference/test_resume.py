"""A stopped prediction goes on, and ends as one that was not stopped."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT
from fake import content_of, fake, people_in, run, write_images, write_video
from PIL import Image

from hourglass_jax.errors import RunError, UserError
from hourglass_jax.inference import journal

__all__ = ["fake"]


@pytest.fixture
def source(tmp_path):
    """Two names that become one drawing's, a video, and a file that is none."""
    write_images(tmp_path / "in", ["a.png", "b.png", "b.jpg", "d.png"])
    write_video(tmp_path / "in/c.avi", frames=20)
    (tmp_path / "in/e.jpg").write_text("no image")
    return tmp_path / "in"


@pytest.fixture
def default_signals():
    """As in a terminal: where the tests run in a shell's background, Ctrl-C is ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.usefixtures("default_signals")
def test_a_signal_ends_it_in_order(fake, source, tmp_path, capfd, number):
    """In the middle of a video: what was found is there, whole, and is not done again."""
    run(source, tmp_path / "whole")
    total, fake.calls = fake.calls, 0
    capfd.readouterr()
    output = tmp_path / "out"
    fake.on_call = lambda call: call == 5 and os.kill(os.getpid(), number)
    assert run(source, output) == 128 + number
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("stopped by ") and line.endswith(
        "; start the same command again to continue"
    )
    names = [person["image_id"] for person in people_in(output)]
    assert names == ["a.png", "b.jpg", "b.png", *(f"c.avi#{i}" for i in range(16))]
    assert run(source, output) == 1  # one is no image
    assert fake.calls == total
    assert content_of(output) == content_of(tmp_path / "whole")
    assert not list(output.rglob(".hourglass-part-*"))


def cut_anywhere(source, tmp_path, times):
    """Yields an output folder as SIGKILL may leave it, again and again."""
    whole = tmp_path / "whole"
    run(source, whole, "--heatmaps")
    lines = (whole / "progress.jsonl").read_bytes()
    chosen = random.Random(0).sample(range(len(lines)), times)
    for i, length in enumerate([0, lines.index(b"\n"), *chosen]):
        output = tmp_path / f"cut{length}"
        shutil.copytree(whole, output)
        (output / "progress.jsonl").write_bytes(lines[:length])
        (output / "overlays/.hourglass-part-7.ivf").write_bytes(b"half")
        if length <= lines.index(b"\n") or i % 2:  # else they were written now and then
            (output / "predictions.json").unlink()
            (output / "predictions.csv").unlink()
        ended = {e.stem for e in journal.Journal(output / "progress.jsonl").entries.values()}
        for drawing in [*output.glob("overlays/[a-z]*"), *output.glob("heatmaps/*")]:
            if drawing.with_suffix("").name not in ended and i % 2:
                drawing.unlink()
        yield output
        shutil.rmtree(output)


@pytest.mark.parametrize("times", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_killed_anywhere(fake, source, tmp_path, times):
    for output in cut_anywhere(source, tmp_path, times):
        assert run(source, output, "--heatmaps") == 1
        assert content_of(output) == content_of(tmp_path / "whole"), output


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_a_damaged_journal(fake, source, tmp_path, times):
    """A flipped bit is found, or without effect."""
    whole, output = tmp_path / "whole", tmp_path / "out"
    run(source, whole)
    lines, rng = (whole / "progress.jsonl").read_bytes(), random.Random(0)
    refused = 0
    for _ in range(times):
        shutil.copytree(whole, output)
        flipped = bytearray(lines)
        flipped[rng.randrange(len(lines))] ^= 1 << rng.randrange(8)
        (output / "progress.jsonl").write_bytes(flipped)
        try:
            assert run(source, output) == 1
        except UserError as error:
            assert "progress.jsonl cannot be read; give --overwrite" in str(error)
            refused += 1
        assert content_of(output) == content_of(whole)
        shutil.rmtree(output)
    assert refused < times / 2


def test_only_what_is_left_is_done(fake, source, tmp_path):
    output = tmp_path / "out"
    assert run(source, output) == 1
    before, fake.calls = content_of(output), 0
    write_images(source, ["e.jpg", "aa.png"])  # one is mended, one is new
    assert run(source, output) == 0 and fake.calls == 2
    write_images(source, ["d.png"], seed=1)
    (source / "a.png").unlink()
    assert run(source, output) == 0 and fake.calls == 3
    after = content_of(output)
    assert after["overlays/d.jpg"] != before["overlays/d.jpg"]
    names = [person["image_id"] for person in people_in(output)]
    assert len(names) == len(set(names)) == 5 + 20 + 1
    assert names[0] == "aa.png" and names[-1] == "a.png"  # what is gone was found
    assert run(source, output) == 0 and fake.calls == 3
    assert content_of(output) == after
    (output / "overlays/mine.jpg").write_text("mine")
    assert run(source, output, "--overwrite") == 0 and len(people_in(output)) == 25
    drawn = {path.name for path in (output / "overlays").iterdir()}
    assert "a.jpg" not in drawn and "mine.jpg" in drawn and len(drawn) == 7


def test_another_command_is_refused(fake, source, tmp_path, monkeypatch):
    output, boxes = tmp_path / "out", tmp_path / "boxes.json"
    boxes.write_text('{"a.png": [[1, 2, 10, 10]]}')
    run(source, output, f"--boxes={boxes}", "--scales=1,1.2")
    before = content_of(output)

    def load(*unused, **options):
        pytest.fail("the network is loaded")

    monkeypatch.setattr("hourglass_jax.inference.estimator.PoseEstimator.from_checkpoint", load)
    same = [f"--boxes={boxes}", "--scales=1,1.2"]
    for flags, says in (
        (same[:1], "with --scales=1,1.2;"),
        (
            [*same, "--no_flip_test", "--decode=quarter"],
            "with no --decode, --no_flip_test=False;",
        ),
        (["--box=1,2,3,4", "--scales=1,1.2"], "no --box"),
    ):
        with pytest.raises(UserError, match=f"holds results of another command.*{says}.*overwrite"):
            run(source, output, *flags)
    with pytest.raises(UserError, match="--input="):
        run(source / "a.png", output, *same)
    boxes.write_text('{"a.png": [[1, 2, 11, 10]]}')
    with pytest.raises(UserError, match=r"--boxes=.*boxes.json as it was then"):
        run(source, output, *same)
    (output / "progress.jsonl").unlink()
    with pytest.raises(UserError, match=r"holds results without progress.jsonl"):
        run(source, output, *same)
    assert content_of(output) == before


def test_a_second_process_is_refused(fake, source, tmp_path):
    def start_another(call):
        with pytest.raises(UserError, match=f"process {os.getpid()} on .* is at work"):
            run(source, tmp_path / "out", "--overwrite")

    fake.on_call = start_another
    assert run(source, tmp_path / "out") == 1 and fake.calls > 5


def test_a_full_disk_ends_it_and_it_goes_on(fake, source, tmp_path, monkeypatch):
    output = tmp_path / "out"
    run(source, tmp_path / "whole")

    def fill(call):
        if call == 4:
            monkeypatch.setattr(journal.os, "write", full)

    def full(*unused):
        raise OSError(28, "No space left on device")

    fake.calls, fake.on_call = 0, fill
    with monkeypatch.context():
        with pytest.raises(RunError, match=r"No space left on device.*run the same command"):
            run(source, output)
        monkeypatch.undo()
    monkeypatch.setattr(
        "hourglass_jax.inference.estimator.PoseEstimator.from_checkpoint",
        classmethod(lambda *a, **k: fake),
    )
    assert len(people_in(output)) == 3
    assert run(source, output) == 1
    assert content_of(output) == content_of(tmp_path / "whole")


@pytest.mark.slow
def test_signals_to_the_command(tmp_path):
    """With a network: in the loop, and while it starts."""
    source, output = tmp_path / "in", tmp_path / "out"
    write_images(source, [f"{i}.png" for i in range(200)])
    command = [sys.executable, "-m", "hourglass_jax.predict", f"--input={source}"]
    command += [f"--output={output}", "--whole", "--no_flip_test", "--num_stacks=1"]

    def stop(number, images):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
        before = len(list(output.glob("overlays/*.jpg")))
        while len(list(output.glob("overlays/*.jpg"))) < before + images:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0 if images else 0.5)
        process.send_signal(number)
        _, errors = process.communicate()
        return process.returncode, errors.decode()

    status, errors = stop(signal.SIGINT, 0)
    assert (status, errors) == (130, "stopped by Ctrl-C\n") and not output.exists()
    for number, expected in ((signal.SIGTERM, 143), (signal.SIGKILL, -9), (signal.SIGINT, 130)):
        status, errors = stop(number, 20)
        assert status == expected and len(errors.splitlines()) == (expected > 0)
    assert 60 <= len(people_in(output)) < 200
    subprocess.run(command, cwd=ROOT, check=True)
    assert len({person["image_id"] for person in people_in(output)}) == 200


def test_a_folder_that_vanishes(fake, source, tmp_path, capsys):
    fake.on_call = lambda call: call == 2 and shutil.rmtree(tmp_path / "out")
    with pytest.raises(RunError, match=r"No such file or directory.*run the same command"):
        run(source, tmp_path / "out")
    assert "Traceback" not in capsys.readouterr().err
    assert run(source, tmp_path / "out") == 1 and len(people_in(tmp_path / "out")) == 24


def peak_of(process):
    """Waits for the end of a process; returns its exit status and its peak of memory in MB."""
    _, status, usage = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024


@pytest.mark.slow
def test_thousands_of_images_killed_three_times(tmp_path):
    """Each image is found once, and memory does not grow with them."""
    rng, few, source, output = random.Random(0), tmp_path / "few", tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for i in range(5000):
        image = Image.fromarray(np.random.default_rng(i).integers(0, 256, (4, 5, 3), np.uint8))
        image.resize((50, 60)).save(source / f"{i:04}.jpg")
    few.mkdir()
    for path in sorted(source.iterdir())[:100]:
        shutil.copy(path, few)

    def start(folder, output):
        command = [sys.executable, "-m", "hourglass_jax.predict", f"--input={folder}"]
        command += [f"--output={output}", "--whole", "--no_flip_test", "--num_stacks=1"]
        return subprocess.Popen(command, cwd=ROOT)

    status, memory = peak_of(start(few, tmp_path / "small"))
    assert status == 0
    for _ in range(3):
        process = start(source, output)
        wanted = len(list(output.glob("overlays/*.jpg"))) + rng.randint(200, 1400)
        while len(list(output.glob("overlays/*.jpg"))) < wanted and process.poll() is None:
            time.sleep(0.1)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    status, peak = peak_of(start(source, output))
    print(f"peak of memory: {memory:.0f} MB for 100 images, {peak:.0f} MB for 5,000")
    assert status == 0 and peak < memory + 60
    names = [person["image_id"] for person in people_in(output)]
    assert names == [path.name for path in sorted(source.iterdir())]
