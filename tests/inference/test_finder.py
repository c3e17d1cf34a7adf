"""Poses of people who are found: photograph to boxes to crops to joints."""

import cv2
import numpy as np
import pytest
import small_networks
from fake import content_of, people_in, run, write_images, write_video

from hourglass_jax import COCO, LSP, MPII, Detector, PoseEstimator, predict
from hourglass_jax.checkpoint import trained
from hourglass_jax.errors import UserError
from hourglass_jax.inference.finder import Finder, suitable
from hourglass_jax.inference.found import Detections
from hourglass_jax.tasks.detection.options import CENTRES

TINY = {"num_stacks": 1, "widths": (8, 12), "blocks": (1, 1)}
rng = np.random.default_rng(0)
IMAGES = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((90, 120), (64, 64))]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return (
        small_networks.save(folder / "poses", small_networks.poses(), "stacked_hourglass"),
        small_networks.save(folder / "boxes", small_networks.detector(CENTRES, **TINY)),
    )


def known(*boxes, min_score=0.0):
    """Returns a finder that finds these boxes in every image."""

    def find(images):
        scores = 0.9 - np.arange(len(boxes)) / 10
        found = np.array(boxes, float).reshape(-1, 4)
        return [Detections(found, scores, np.zeros(len(boxes), int), ("person",)) for _ in images]

    find.min_score = min_score
    return find


def estimator(checkpoints, **options):
    return PoseEstimator.from_checkpoint(checkpoints[0], batch_size=4, **options)


def test_found_boxes_are_as_given_ones(checkpoints):
    boxes = [(5, 6, 40, 50), (50, 2, 60, 80), (-5, -8, 30, 40)]
    given = estimator(checkpoints)(IMAGES[0], boxes)
    found = estimator(checkpoints, finder=known(*boxes))(IMAGES[0], heatmaps=True)
    order = [given.boxes.tolist().index(list(box)) for box in found.boxes.tolist()]
    np.testing.assert_array_equal(found.joints, given.joints[order])
    assert found.heatmaps.shape[0] == len(order)
    for i, score in zip(order, found.person_scores, strict=True):
        joints = np.sort(given.scores[i])[len(given.scores[i]) // 2 :]
        assert score == pytest.approx(np.sqrt((0.9 - i / 10) * joints.mean()))
    assert found.person_scores == sorted(found.person_scores, reverse=True)
    finder = known(*boxes, min_score=found.person_scores[1])
    np.testing.assert_array_equal(
        estimator(checkpoints, finder=finder)(IMAGES[0]).joints, found.joints[:2]
    )
    # A margin that the network was trained with is that of found boxes, too.
    wide = {"box_margin": 2.0}
    found = estimator(checkpoints, finder=known(boxes[1]), **wide)(IMAGES[0])
    np.testing.assert_array_equal(
        found.joints, estimator(checkpoints, **wide)(IMAGES[0], boxes[1]).joints
    )


def test_boxes_that_are_given_win(checkpoints):
    with_finder = estimator(checkpoints, finder=known((5, 6, 40, 50)))
    found = with_finder.predict(IMAGES, [None, [(1, 2, 30, 40), (1, 2, 30, 40)]])
    assert found[0].boxes.tolist() == [[5, 6, 40, 50]] and found[0].box_scores is not None
    assert found[1].boxes.tolist() == [[1, 2, 30, 40]] * 2 and found[1].box_scores is None


def test_somebody_is_found_once_and_nobody_never(checkpoints):
    twice = estimator(checkpoints, finder=known((5, 6, 40, 50), (5, 6, 40, 50)))(IMAGES[0])
    assert twice.boxes.tolist() == [[5, 6, 40, 50]]
    nobody = estimator(checkpoints, finder=known()).predict(IMAGES)
    assert [poses.joints.shape for poses in nobody] == [(0, 2, 2)] * 2
    nobody = estimator(checkpoints, finder=known())(IMAGES[0], heatmaps=True)
    assert nobody.heatmaps.shape[::3] == (0, 2)


def test_people_at_the_border_are_cut_out_as_if_the_image_went_on_in_black(checkpoints):
    noise = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = cv2.resize(noise, (120, 90), interpolation=cv2.INTER_LINEAR)
    padded = np.pad(image, ((50, 50), (50, 50), (0, 0)))
    cut = estimator(checkpoints)._crops
    for box in ((0, 0, 30, 60), (90, 40, 30, 50), (20, 70, 80, 20)):
        (crop,), to_image = cut(image, np.array(box, float))
        (expected,), to_padded = cut(padded, np.add(box, (50.0, 50, 0, 0)))
        np.testing.assert_allclose(to_image[:, 2] + 50, to_padded[:, 2])
        different = np.abs(crop.astype(int) - expected).max(-1) > 10
        assert different.mean() < 0.03  # along the border, where colours and black mix
        assert 0.2 < (crop.max(-1) == 0).mean() < 0.8


def test_a_finder_finds_people_alone(checkpoints):
    detector = Detector.from_checkpoint(checkpoints[1], min_score=0.3)
    everything, people = detector.predict(IMAGES), Finder(detector)(IMAGES)
    for found, expected in zip(people, everything, strict=True):
        of_people = expected.categories == small_networks.CATEGORIES.index("person")
        assert 0 < of_people.sum() < len(of_people)
        np.testing.assert_array_equal(found.boxes, expected.boxes[of_people])
    few = Finder.from_checkpoint(checkpoints[1], max_people=2)(IMAGES)
    for found, expected in zip(few, people, strict=True):
        np.testing.assert_allclose(found.scores, expected.scores[:2], atol=1e-6)
    with pytest.raises(UserError, match="max_people=0 must be at least 1"):
        Finder.from_checkpoint(checkpoints[1], max_people=0)
    cups = small_networks.detector(CENTRES, categories=("cup", "dog"), **TINY)
    with pytest.raises(UserError, match="does not find people, but cup, dog"):
        Finder(Detector(cups.model, cups.variables, cups.task, input_size=small_networks.SIDE))
    with pytest.raises(UserError, match="finder=lsp-small: the task 'single_pose' does not"):
        PoseEstimator.from_checkpoint(checkpoints[0], finder="lsp-small")


@pytest.mark.slow
def test_the_command(checkpoints, tmp_path, caplog):
    caplog.set_level("INFO", "hourglass_jax")
    source, output = tmp_path / "in", tmp_path / "out"
    write_images(source, ["a.png", "b.png"])
    write_video(source / "c.avi", frames=3)
    poses, boxes = (f"--{name}={path}" for name, path in
                    zip(("checkpoint", "finder"), checkpoints, strict=True))  # fmt: skip
    flags = (poses, boxes, "--max_people=3", "--min_score=0.5", "--batch_size=2")
    assert run(source, output, *flags) == 0
    entries = people_in(output)
    finder = Finder.from_checkpoint(checkpoints[1], min_score=0.5, max_people=3)
    expected = PoseEstimator.from_checkpoint(checkpoints[0], finder=finder)(source / "a.png")
    found = [entry for entry in entries if entry["image_id"] == "a.png"]
    assert 0 < len(found) == len(expected.boxes) <= 3
    np.testing.assert_allclose([e["bbox"] for e in found], expected.boxes, atol=0.02)
    np.testing.assert_allclose([e["score"] for e in found], expected.person_scores, atol=1e-3)
    assert {entry["image_id"] for entry in entries} >= {"c.avi#0", "c.avi#2"}
    assert f"{len(entries)} people in 3 of 3 files: {output}" in caplog.text
    before = content_of(output)
    assert run(source, output, *flags) == 0 and content_of(output) == before
    with pytest.raises(UserError, match=r"another command, with .*--finder=.*boxes"):
        run(source, output, poses, "--whole")
    assert run(source, tmp_path / "whole", poses, "--whole") == 0
    assert len(people_in(tmp_path / "whole")) == 2 + 3
    (tmp_path / "boxes.json").write_text('{"a.png": [[1, 2, 10, 12]]}')
    assert run(source, tmp_path / "given", poses, boxes, f"--boxes={tmp_path}/boxes.json") == 0
    assert [entry["bbox"] for entry in people_in(tmp_path / "given")] == [[1, 2, 10, 12]]
    assert run(source, tmp_path / "nobody", poses, boxes, "--min_score=1") == 0
    assert people_in(tmp_path / "nobody") == []
    assert "0 people in 0 of 3 files, and none in 3" in caplog.text
    for name, value in (("--max_people", 2), ("--min_score", 0.5)):
        with pytest.raises(UserError, match=f"^{name} is not for .* give one with --finder"):
            run(source, tmp_path / "x", poses, "--finder=none", f"{name}={value}")


def test_people_are_found_for_networks_whose_joints_are_a_persons(checkpoints):
    for skeleton in (LSP, MPII, COCO):
        assert suitable(skeleton.joints) == "people-small"
    for joints in ((), ("snout", "left ear"), ("left_hip", "left_front_paw"), ("wrist", "thumb")):
        assert suitable(joints) == "none"
    assert isinstance(PoseEstimator.from_checkpoint("lsp-small")._finder, Finder)
    for none in (None, "none"):
        assert PoseEstimator.from_checkpoint("lsp-small", finder=none)._finder is None
    assert PoseEstimator.from_checkpoint(checkpoints[0])._finder is None


@pytest.mark.parametrize(
    ("flags", "network"),
    [
        ([], "people-small"),
        (["--finder=auto"], "people-small"),
        (["--finder=x"], "x"),
        (["--finder=none"], None),
        (["--whole"], None),
        (["--box=1,2,3,4"], None),
    ],
)
def test_the_finder_of_the_command(flags, network):
    task = trained.task_of("lsp-small")
    arguments = predict._arguments(["--input=i", "--output=o", *flags])
    assert predict._finder(arguments, task) == network


def test_a_finder_and_whole_images_exclude_each_other(checkpoints, tmp_path):
    source = tmp_path / "in"
    write_images(source, ["a.png"])
    with pytest.raises(UserError, match="--whole and --finder=x exclude each other"):
        run(source, tmp_path / "out", f"--checkpoint={checkpoints[0]}", "--whole", "--finder=x")
