"""Numbers of people in videos who cross, are lost for a while, or are new."""

import csv
import json

import numpy as np
import pytest
import small_networks
from fake import content_of, people_in, run, write_video

from hourglass_jax.data.skeleton import COCO
from hourglass_jax.inference import detector as detectors
from hourglass_jax.inference.tracking import MEMORY, OneEuro, Tracker
from hourglass_jax.tasks.detection.options import CENTRES

POSE = np.random.default_rng(3).uniform(0, 1, (17, 2)) * (40, 100)


def person(x, y=50.0, noise=0.0, joints=True, score=0.9, category=1):
    """Returns the entry of a person whose box begins at x, y."""
    table = np.concatenate([POSE + np.array([x, y]) + noise, np.full((17, 1), score)], axis=1)
    entry = {"category_id": category, "bbox": [x, y, 40.0, 100.0], "score": score}
    return {**entry, "keypoints": table.ravel().tolist()} if joints else entry


def numbers(tracker, *people):
    return [entry["track_id"] for entry in tracker(people)]


@pytest.mark.parametrize("joints", [True, False])
def test_people_who_cross_keep_their_numbers(joints):
    """In whatever order they are found."""
    tracker, rng = Tracker(COCO.joints if joints else ()), np.random.default_rng(0)
    for t in range(60):
        both = [person(6.0 * t, joints=joints), person(360 - 6.0 * t, 58.0, joints=joints)]
        order = rng.permutation(2)
        assert numbers(tracker, *(both[i] for i in order)) == order.tolist(), t


def test_who_is_lost_is_remembered_for_some_frames():
    tracker = Tracker(COCO.joints)
    assert numbers(tracker, person(0), person(300)) == [0, 1]
    for t in range(1, 4):
        assert numbers(tracker, person(4.0 * t), person(300)) == [0, 1]
    for _ in range(MEMORY):
        assert numbers(tracker, person(300)) == [1]
    # Where somebody is expected who went on.
    assert numbers(tracker, person(300), person(12.0 + 3.5 * (MEMORY + 1))) == [1, 0]
    for _ in range(MEMORY + 1):
        assert numbers(tracker) == []
    assert numbers(tracker, person(300)) == [2]


def test_who_is_new_has_a_new_number():
    tracker = Tracker(COCO.joints)
    assert numbers(tracker) == []
    assert numbers(tracker, person(0)) == [0]
    assert numbers(tracker, person(500), person(2.0)) == [1, 0]
    assert numbers(tracker, person(2.0, category=2)) == [2]  # another category


def test_of_two_boxes_in_one_place_the_joints_tell_who_is_who():
    tracker = Tracker(COCO.joints)
    upside_down = person(2.0)
    table = np.reshape(upside_down["keypoints"], (17, 3)).copy()
    table[:, 1] = 200 - table[:, 1]
    upside_down["keypoints"] = table.ravel().tolist()
    assert numbers(tracker, person(0.0), upside_down) == [0, 1]
    assert numbers(tracker, upside_down, person(0.0)) == [1, 0]


def test_smoothing_removes_trembling_and_follows_motion():
    rng = np.random.default_rng(1)
    raw, smooth = [], []
    tracker = Tracker(COCO.joints, smooth=True)
    for _ in range(80):
        raw.append(person(100.0, noise=rng.normal(0, 1.0, (17, 2))))
        smooth += tracker([raw[-1]])
    raw, smooth = (
        np.reshape([entry["keypoints"] for entry in entries[20:]], (60, 17, 3))
        for entries in (raw, smooth)
    )
    assert smooth[..., :2].std(0).mean() < 0.6 * raw[..., :2].std(0).mean()
    np.testing.assert_array_equal(smooth[..., 2], raw[..., 2])
    tracker = Tracker(COCO.joints, smooth=True)
    for t in range(30):
        (moved,) = tracker([person(6.0 * t)])
    lag = np.array(person(6.0 * t)["keypoints"]) - moved["keypoints"]
    assert 0 < np.abs(lag).max() < 3  # half of what they move in a frame


def test_joints_without_confidence_are_not_smoothed():
    euro, sure = OneEuro(), np.array([True, False])
    first, second = np.zeros((2, 2)), np.full((2, 2), 8.0)
    np.testing.assert_array_equal(euro(first, sure, 100.0), first)
    found = euro(second, sure, 100.0)
    assert (found[0] < 8).all() and (found[0] > 0).all() and (found[1] == 8).all()
    # Seen again: it begins there.
    assert (euro(first, np.array([True, True]), 100.0)[1] == 0).all()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    loaded = small_networks.detector(CENTRES, num_stacks=1, widths=(8, 12), blocks=(1, 1))
    return small_networks.save(tmp_path_factory.mktemp("detector") / "run", loaded)


def test_the_command_numbers_those_in_videos(checkpoint, tmp_path, monkeypatch):
    write_video(tmp_path / "in/a.avi", frames=6)
    flags = (f"--checkpoint={checkpoint}", "--min_score=0.9", "--batch_size=2")
    whole = tmp_path / "whole"
    assert run(tmp_path / "in", whole, *flags) == 0
    entries = people_in(whole)
    frames = {}
    for entry in entries:
        frames.setdefault(entry["image_id"], []).append(entry["track_id"])
    assert all(len(set(ids)) == len(ids) for ids in frames.values())
    with (whole / "predictions.csv").open() as lines:
        assert [int(row["object"]) for row in csv.DictReader(lines)] == [
            entry["track_id"] for entry in entries
        ]
    # Numbers are computed from the journal, so that they are the same after a stop.
    lines = [json.loads(line) for line in (whole / "progress.jsonl").read_text().splitlines()]
    assert lines[0]["tracked"] and not any("track_id" in str(line) for line in lines)
    predict, calls = detectors.Detector.predict, []

    def stopping(self, *args, **options):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(self, *args, **options)

    monkeypatch.setattr(detectors.Detector, "predict", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "in", tmp_path / "parts", *flags)
    assert run(tmp_path / "in", tmp_path / "parts", *flags) == 0
    assert content_of(tmp_path / "parts") == content_of(whole)
