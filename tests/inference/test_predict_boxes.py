"""The command with a network that finds boxes: results, drawings, videos, and flags."""

import csv
import json

import numpy as np
import pytest
import small_networks
from fake import content_of, people_in, run, write_images, write_video
from PIL import Image

from hourglass_jax import Detector
from hourglass_jax.errors import UserError
from hourglass_jax.inference import detector as detectors
from hourglass_jax.tasks.detection.options import JOINTS


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    loaded = small_networks.detector(JOINTS, num_stacks=1, widths=(8, 12), blocks=(1, 1))
    return small_networks.save(tmp_path_factory.mktemp("detector") / "run", loaded)


@pytest.fixture
def source(tmp_path, caplog):
    caplog.set_level("INFO", "hourglass_jax")
    folder = tmp_path / "in"
    write_images(folder, ["a.png", "b.png"])
    Image.new("RGB", (50, 40)).save(folder / "nothing.png")
    write_video(folder / "c.avi", frames=5)
    return folder


def flags(checkpoint, *more):
    return (f"--checkpoint={checkpoint}", "--min_score=0.95", "--batch_size=2", *more)


def test_results(checkpoint, source, tmp_path, caplog):
    output = tmp_path / "out"
    assert run(source, output, *flags(checkpoint)) == 0
    entries = people_in(output)
    detector = Detector.from_checkpoint(checkpoint)
    for name in ("a.png", "b.png", "nothing.png"):
        expected = detector(source / name, min_score=0.95)
        found = [entry for entry in entries if entry["image_id"] == name]
        assert len(found) == len(expected.scores) < 20
        np.testing.assert_allclose(
            np.reshape([e["bbox"] for e in found], (-1, 4)), expected.boxes, atol=0.02
        )
        np.testing.assert_allclose([e["score"] for e in found], expected.scores, atol=1e-3)
        assert [(e["category_id"], e["category"]) for e in found] == [
            (small_networks.IDS[i], small_networks.CATEGORIES[i]) for i in expected.categories
        ]
        joints = np.reshape([e["keypoints"] for e in found], (-1, 2, 3))
        np.testing.assert_allclose(joints[..., :2], expected.joints, atol=0.02)
    frames = {entry["image_id"] for entry in entries if "#" in entry["image_id"]}
    assert frames <= {f"c.avi#{i}" for i in range(5)} and len(frames) > 2
    with (output / "predictions.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(entries)
    assert float(rows[0]["width"]) == entries[0]["bbox"][2]
    assert float(rows[0]["left_eye/x"]) == pytest.approx(entries[0]["keypoints"][0], abs=0.01)
    assert {row["category"] for row in rows} == {entry["category"] for entry in entries}
    header = json.loads((output / "progress.jsonl").read_text().splitlines()[0])
    assert header["categories"] == ["cup", "person"] and header["category_ids"] == [3, 7]
    assert header["joints"] == ["left_eye", "right_eye"]
    drawn = {str(path.relative_to(output / "overlays")) for path in output.rglob("overlays/*")}
    assert drawn == {"a.jpg", "b.jpg", "nothing.jpg", "c.webm"}
    images = {entry["image_id"].partition("#")[0] for entry in entries}
    rest = f", and none in {4 - len(images)}" if len(images) < 4 else ""
    assert f"{len(entries)} people in {len(images)} of 4 files{rest}: {output}" in caplog.text


def test_nothing_is_no_error(checkpoint, source, tmp_path, caplog):
    assert run(source, tmp_path / "out", *flags(checkpoint, "--min_score=0.9999")) == 0
    assert people_in(tmp_path / "out") == []
    assert "0 people in 0 of 4 files, and none in 4" in caplog.text
    assert len(list((tmp_path / "out/overlays").iterdir())) == 4
    # With another score it is another command.
    with pytest.raises(UserError, match=r"holds results of another command, with --min_score=0\.9"):
        run(source, tmp_path / "out", *flags(checkpoint))


def test_a_stopped_command_goes_on(checkpoint, source, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    assert run(source, whole, *flags(checkpoint)) == 0
    predict, calls = detectors.Detector.predict, []

    def stopping(self, *args, **options):
        calls.append(args)
        if len(calls) == 4:  # in the middle of the video
            raise KeyboardInterrupt
        return predict(self, *args, **options)

    monkeypatch.setattr(detectors.Detector, "predict", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "parts", *flags(checkpoint))
    assert 0 < len(people_in(tmp_path / "parts")) < len(people_in(whole))
    assert run(source, tmp_path / "parts", *flags(checkpoint)) == 0
    assert content_of(tmp_path / "parts") == content_of(whole)
    # Where all is done, tables are written again without the network.
    (tmp_path / "parts/predictions.csv").unlink()
    monkeypatch.setattr(detectors.Detector, "from_checkpoint", None)
    assert run(source, tmp_path / "parts", *flags(checkpoint)) == 0
    assert content_of(tmp_path / "parts") == content_of(whole)


@pytest.mark.parametrize(
    "flag",
    ["--box=1,2,30,40", "--boxes=x.json", "--num_stacks=1", "--decode=refined", "--heatmaps"],
)
def test_flags_of_other_networks_are_refused(checkpoint, source, tmp_path, flag):
    name = flag.partition("=")[0]
    with pytest.raises(
        UserError, match=f"^{name} is not for .*, a network that finds boxes itself$"
    ):
        run(source, tmp_path / "out", *flags(checkpoint, flag))
    with pytest.raises(UserError, match="--min_score is not for lsp-small"):
        run(source, tmp_path / "out", "--checkpoint=lsp-small", "--min_score=0.5", "--whole")


def test_wrong_values(checkpoint, source, tmp_path):
    for flag, problem in (
        ("--min_score=2", r"min_score=2\.0 must be a number from 0 to 1"),
        ("--batch_size=0", "batch_size=0 must be at least 1"),
        ("--scales=0.5,x", "--scales=0.5,x: give numbers"),
    ):
        with pytest.raises(UserError, match=problem):
            run(source, tmp_path / "out", *flags(checkpoint, flag))


def test_a_file_that_fails_costs_no_other_of_its_batch(checkpoint, source, tmp_path, monkeypatch):
    (source / "ab.png").write_text("none")
    Image.new("RGB", (9000, 2000)).save(source / "large.png")
    batches = []
    predict = detectors.Detector.predict

    def noted(self, images, *args, **options):
        batches.append(len(images))
        return predict(self, images, *args, **options)

    monkeypatch.setattr(detectors.Detector, "predict", noted)
    assert run(source, tmp_path / "out", *flags(checkpoint, "--batch_size=6")) == 1
    assert batches == [3, 5, 1]  # the images, the frames, and the large one
    drawn = {path.name for path in (tmp_path / "out/overlays").iterdir()}
    assert drawn == {"a.jpg", "b.jpg", "c.webm", "large.jpg", "nothing.jpg"}
    whole = people_in(tmp_path / "out")

    def failing(self, images, *args, **options):
        if len(images) == 3:
            raise MemoryError
        return predict(self, images, *args, **options)

    monkeypatch.setattr(detectors.Detector, "predict", failing)
    assert run(source, tmp_path / "again", *flags(checkpoint, "--batch_size=6")) == 1
    again = people_in(tmp_path / "again")
    assert [entry["image_id"] for entry in again] == [entry["image_id"] for entry in whole]


def test_images_of_any_sizes_in_one_batch(checkpoint, source):
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (90, 30), (64, 64), (7, 200), (1, 1)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    detector = Detector.from_checkpoint(
        checkpoint, scales=(1.0, 0.5), min_score=0.5, batch_size=3, flip_test=False
    )
    for image, found in zip(images, detector.predict(images), strict=True):
        alone = detector(image)
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-3)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)
        assert (found.scores >= 0.5).all()
    assert detector.predict([]) == []
    with pytest.raises(UserError, match="a detector finds boxes itself"):
        detector.predict(images[:1], [[(1, 2, 3, 4)]])
