"""The frames that are worth labelling next, where they are known."""

import csv
import json
import pathlib

import numpy as np
import pytest
from fake import FakeEstimator, in_place_of_networks, run, write_images, write_video
from PIL import Image

from hourglass_jax.data.custom.source import CustomSource
from hourglass_jax.errors import UserError
from hourglass_jax.image.frames import open_frames
from hourglass_jax.inference import uncertain

JOINTS = ("nose", "left_hip", "right_hip")
BOX = np.array([10.0, 20, 60, 80])
PLACES = np.array([[30.0, 30], [20, 60], [50, 70]])


def entry(shift=0.0, score=0.9, number=0, joints=JOINTS, **fields):
    table = np.c_[PLACES + np.array([shift, 0]), [0.9] * 3].ravel().tolist() if joints else []
    box = (BOX + np.array([shift, 0, 0, 0])).tolist()
    return {"bbox": box, "keypoints": table, "score": score, "track_id": number, **fields}


@pytest.mark.parametrize("joints", [JOINTS, ()], ids=["joints", "boxes"])
def test_each_sign_is_seen_where_it_is(joints):
    frames = [[entry(2.0 * i, joints=joints)] for i in range(60)]
    frames[10][0]["score"] = 0.3
    frames[20][0]["agreement"] = 0.5
    frames[30] = [entry(60 + 9.0, joints=joints)]  # 9 px from where it should be
    frames[40] = []
    found = uncertain.signs(frames, joints)
    assert found[10].score == 0.3 and found[20].stacks == 0.5
    assert found[40].uncertainty == 1
    assert [i for i, s in enumerate(found) if s.score < 0.9] == [10, 40]
    assert [i for i, s in enumerate(found) if s.stacks < 1] == [20]
    jumps = [i for i, s in enumerate(found) if s.time < 1]
    assert jumps == [29, 30, 31] and min(jumps, key=lambda i: found[i].time) == 30
    if joints:  # COCO's sigmas of nose and hips; people fill 0.53 of their boxes
        sigmas = np.array([0.026, 0.107, 0.107])
        alike = np.exp(-(9.0**2) / (2 * 0.53 * 60 * 80 * (2 * sigmas) ** 2))
        assert found[30].time == pytest.approx(alike.mean(), rel=0.02)
    else:
        assert found[30].time == pytest.approx((60 - 9) / (60 + 9))
    assert found[30].uncertainty == pytest.approx(1 - 0.9 * found[30].time)


def test_people_are_followed_by_their_numbers_and_the_least_certain_one_counts():
    frames = [[entry(2.0 * i), entry(300 - i, 0.8, 1)] for i in range(9)]
    frames[4].reverse()
    frames = [[*frame, entry(600, 0.7, 2)] for frame in frames[:6]] + frames[6:]
    found = uncertain.signs(frames, JOINTS)
    assert [s.score for s in found] == [0.7] * 6 + [0.8] * 3  # who has left is not missing
    assert all(s.time == pytest.approx(1) for s in found)
    # Before somebody comes, and in an image without people, nobody can say.
    assert uncertain.signs([[], [entry()]], JOINTS)[0] == uncertain.NOBODY
    assert uncertain.signs([[]], JOINTS) == [uncertain.NOBODY]
    # A heatmap's peak may be above 1.
    assert uncertain.signs([[entry(score=1.2)]], JOINTS)[0].uncertainty == 0


def test_candidates_of_a_video_are_apart():
    video = np.zeros(40)
    video[8:15] = 0.5, 0.6, 0.7, 0.9, 0.7, 0.6, 0.5
    video[30] = 0.4
    chosen = uncertain.candidates([video, [0.8], [0.85]], 4)
    assert chosen == [(0, 11), (2, 0), (1, 0), (0, 30)]
    everything = uncertain.candidates([video], 100)
    frames = sorted(frame for _, frame in everything)
    assert min(np.diff(frames)) > uncertain.APART
    assert len(frames) >= 5  # the others are at most that far from one


def test_what_looks_alike_is_listed_once():
    looks = np.array([[0.0], [0.01], [1.0], [0.5], [0.0]])
    doubt = np.array([0.9, 0.8, 0.2, 0.3, 0.9])
    # After 0: 0.8 * 0.01, 0.2 * 1, 0.3 * 0.5, and nothing for the copy.
    assert uncertain.choose(doubt, looks, 3) == [0, 2, 3]
    assert uncertain.choose(doubt, looks, 9) == [0, 2, 3, 1]
    assert uncertain.choose(np.zeros(5), looks, 3) == []


class Sure(FakeEstimator):
    """Is sure of everything but images whose middle is bright, as far as the stacks go."""

    def estimate(self, people, *, heatmaps=False):
        poses = super().estimate(people)
        poses.scores[:] = 0.9
        bright = [image[12, 10].mean() / 255 for image, _ in people]
        object.__setattr__(poses, "agreement", 1 - np.array(bright))
        return poses


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    in_place_of_networks(Sure(), monkeypatch)
    write_images(tmp_path / "in", ["a.png", "b.png"])
    write_video(tmp_path / "in/walk.avi", frames=40)
    for i, name in enumerate(("a.png", "b.png", "turned.jpg")):
        pixels = np.full((24, 20, 3), 50 * i, np.uint8)
        pixels[8:16, 6:14] = 60 + 70 * i
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "turned.jpg" else 1
        Image.fromarray(pixels).save(tmp_path / "in" / name, exif=exif, quality=95)
    return tmp_path / "in"


def test_the_command_lists_them_ready_to_be_labelled(inputs, tmp_path, caplog):
    caplog.set_level("INFO")
    output = tmp_path / "out"
    flags = ["--whole", "--no_overlays", "--uncertain=6"]
    assert run(inputs, output, *flags) == 0
    folder = output / "uncertain"
    with (folder / "uncertain.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 6 and f"6 frames to label next: {folder}" in caplog.text
    numbers = np.array([[float(row[n]) for n in list(row)[2:]] for row in rows])
    np.testing.assert_allclose(numbers[:, 0], 1 - numbers[:, 1:].prod(1), atol=2e-4)
    people = json.loads((output / "predictions.json").read_text())
    scores = {person["image_id"]: person["agreement"] * 0.9 for person in people}
    assert rows[0]["source"] in scores and numbers[0, 0] == numbers[:, 0].max()
    source = CustomSource(train_json=str(folder / "coco.json"))
    read = [image for split in source.splits for image in source.images(split)]
    images = {pathlib.PurePath(image.name).name: image for image in read}
    assert len(images) == 6
    with open_frames(inputs / "walk.avi") as frames:
        pixels = [frame for frame, _ in frames]
    joints = {p["image_id"]: np.reshape(p["keypoints"], (14, 3))[:, :2] for p in people}
    numbers_of_frames = []
    for row in rows:
        image = images[row["image"]]
        if "#" in row["source"]:
            number = int(row["source"].rpartition("#")[2])
            numbers_of_frames.append(number)
            np.testing.assert_array_equal(image.read(), pixels[number])
            assert row["image"] == f"walk-{number:06d}.png"
        (person,) = image.annotations
        np.testing.assert_allclose(person.joints, joints[row["source"]], atol=1e-3)
    assert len(numbers_of_frames) >= 3
    assert min(np.diff(sorted(numbers_of_frames))) > uncertain.APART
    # Corrections are not written over, and copies are no inputs.
    (folder / "coco.json").write_text("corrected")
    assert run(inputs, output, *flags) == 0
    assert (folder / "coco.json").read_text() == "corrected" and "is kept as it is" in caplog.text
    assert run(inputs, inputs, *flags) == run(inputs, inputs, *flags) == 0
    count = len({p["image_id"] for p in json.loads((inputs / "predictions.json").read_text())})
    assert count == len(scores)


def test_images_alone_are_upright_and_the_first_are_the_least_certain(inputs, tmp_path):
    assert run(f"{inputs}/*.[pj]*g", tmp_path / "out", "--whole", "--uncertain=9") == 0
    folder = tmp_path / "out/uncertain"
    with (folder / "uncertain.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["source"] for row in rows] == ["turned.jpg", "a.png", "b.png"]
    assert [row["image"] for row in rows] == ["turned.png", "a.png", "b.png"]
    assert Image.open(folder / "images/turned.png").size == (24, 20)
    assert (folder / "images/a.png").read_bytes() == (inputs / "a.png").read_bytes()
    sizes = [
        (i["width"], i["height"]) for i in json.loads((folder / "coco.json").read_text())["images"]
    ]
    assert sizes == [(24, 20), (20, 24), (20, 24)]


def test_numbers_that_list_nothing_are_refused(inputs, tmp_path):
    with pytest.raises(UserError, match="--uncertain=0 must be at least 1"):
        run(inputs, tmp_path / "out", "--uncertain=0")
