"""Labels on frames of videos: the right frames in any order, and SLEAP's files."""

import concurrent.futures
import json
import pathlib
import shutil

import cv2
import numpy as np
import pytest
from conftest import ROOT
from keypoint_data import images_of
from PIL import Image

from hourglass_jax import import_labels
from hourglass_jax.data import video_frames
from hourglass_jax.data.custom.source import CustomSource
from hourglass_jax.data.video_frames import VideoFrames
from hourglass_jax.errors import UserError
from hourglass_jax.image.frames import open_frames

SAMPLES = ROOT.parent / "shared/data"
FRAMES = 60
XY = np.array([[10.0, 12.5], [30.25, 20.0], [np.nan, np.nan]])


def write_video(path: pathlib.Path) -> list[np.ndarray]:
    """Writes a video whose frames differ in brightness, and returns its frames as decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    for i in range(FRAMES):
        writer.write(np.full((48, 64, 3), 4 * i, np.uint8))
    writer.release()
    with open_frames(path) as frames:
        return [frame for frame, _ in frames]


def test_frames_are_found_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr(video_frames, "_KEPT", 3)
    expected = write_video(tmp_path / "a.avi")
    wanted = np.random.default_rng(0).permutation(FRAMES)[:30].tolist()
    frames = VideoFrames(tmp_path / "a.avi", wanted)
    assert frames.size == (64, 48)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for order in (sorted(wanted), wanted):
            for number, frame in zip(order, pool.map(frames.read, order), strict=True):
                np.testing.assert_array_equal(frame, expected[number])
    with pytest.raises(UserError, match=r"a\.avi has no frame 60; its last one is 59"):
        frames.read(FRAMES)
    np.testing.assert_array_equal(frames.read(5), expected[5])
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"b\.mp4 is not a video"):
        VideoFrames(tmp_path / "b.mp4", [])


def write_slp(folder, videos, numbers=range(0, FRAMES, 6), predicted=False):
    """Writes labels on frames of videos that a file names as another machine does."""
    sleap_io = pytest.importorskip("sleap_io")
    skeleton = sleap_io.Skeleton(
        ["nose", "ear_l", "ear_r"], [("nose", "ear_l"), ("nose", "ear_r")], name="mouse"
    )
    skeleton.add_symmetry("ear_l", "ear_r")
    kind = sleap_io.PredictedInstance if predicted else sleap_io.Instance
    labelled = []
    for name in videos:
        video = sleap_io.Video(filename=f"C:/lab/day 1/{name}", open_backend=False)
        for number in numbers:
            own = [kind.from_numpy(XY + number / 8, skeleton) for _ in range(2)]
            guess = sleap_io.PredictedInstance.from_numpy(XY + 5, skeleton)
            labelled.append(sleap_io.LabeledFrame(video, int(number), [*own, guess]))
    sleap_io.Labels(labelled).save(str(folder / "labels.slp"), verbose=False)
    return folder / "labels.slp"


@pytest.mark.parametrize("place", ["day 1/", "", "elsewhere/", "../day 1/", "../images/"])
def test_labels_of_sleap(tmp_path, place):
    folder = tmp_path / "labels"
    folder.mkdir()
    expected = write_video(folder / place / "ä.avi")
    elsewhere = {"image_dir": str(folder / place)} if place == "elsewhere/" else {}
    source = CustomSource(train_json=str(write_slp(folder, ["ä.avi"])), **elsewhere)
    assert source.labels.joints == ("nose", "ear_l")  # the third one is labelled nowhere
    assert source.labels.limbs == (("nose", "ear_l"),)
    assert [path.name for path in source.large_files] == ["ä.avi"]
    found = images_of(source)
    assert len(found) == 10
    for image in found:
        number = int(image.name.rpartition("#")[2])
        np.testing.assert_array_equal(image.read(), expected[number])
        assert image.size == (64, 48) and len(image.annotations) == 2
        for a in image.annotations:
            np.testing.assert_allclose(a.joints, (XY + number / 8)[:2])


def test_videos_of_sleap_that_are_missing(tmp_path):
    labels = str(write_slp(tmp_path, ["a.avi", "b.avi"]))
    with pytest.raises(UserError, match=r"SLEAP's labels on frames of a\.avi.*image_dir"):
        CustomSource(train_json=labels)
    write_video(tmp_path / "b.avi")
    with pytest.raises(UserError, match=r"image: \S*/a\.avi is missing\. .*allow_missing=18"):
        CustomSource(train_json=labels, allow_missing=1).count("train")
    assert CustomSource(train_json=labels, allow_missing=18).count("validation")


def test_predictions_of_sleap_are_taken_where_there_is_nothing_else(tmp_path, caplog):
    write_video(tmp_path / "a.avi")
    source = CustomSource(train_json=str(write_slp(tmp_path, ["a.avi"], [3, 4], predicted=True)))
    assert len(images_of(source)) == 2 and source.count("train") == 3
    assert "nothing is labelled by hand" in caplog.text


def test_a_package_of_sleap_holds_its_images(tmp_path):
    sleap_io = pytest.importorskip("sleap_io")
    expected = write_video(tmp_path / "day 1/a.avi")
    labels = sleap_io.load_slp(str(write_slp(tmp_path, ["a.avi"])))
    labels.videos[0].replace_filename(str(tmp_path / "day 1/a.avi"))
    labels.save(str(tmp_path / "a.pkg.slp"), embed="user", verbose=False)
    shutil.rmtree(tmp_path / "day 1")
    (tmp_path / "labels.slp").unlink()
    found = images_of(CustomSource(train_json=str(tmp_path / "a.pkg.slp")))
    assert len(found) == 10
    for image in found:
        number = int(image.name.rpartition("/")[2])
        assert abs(image.read().astype(int) - expected[number]).max() <= 2
        np.testing.assert_allclose(image.annotations[0].joints, (XY + number / 8)[:2])


def test_frames_are_imported_as_images(tmp_path):
    expected = write_video(tmp_path / "a.avi")
    labels = write_slp(tmp_path, ["a.avi"], [3, 40])
    assert import_labels.main([str(labels), f"--output={tmp_path / 'coco'}"]) == 0
    found = images_of(CustomSource(train_json=str(tmp_path / "coco/train.json")))
    assert [image.name.rpartition("images/")[2] for image in found] == [
        "a/000003.png",
        "a/000040.png",
    ]
    for image, number in zip(found, (3, 40), strict=True):
        np.testing.assert_array_equal(image.read(), expected[number])


def tracks_in(folder):
    """Returns the track numbers of an imported data set, image by image."""
    content = json.loads((folder / "train.json").read_text())
    found = {image["id"]: [] for image in content["images"]}
    for a in content["annotations"]:
        found[a["image_id"]].append(a.get("track_id"))
    return list(found.values())


def test_tracks_are_kept(tmp_path):
    sleap_io = pytest.importorskip("sleap_io")
    write_video(tmp_path / "a.avi")
    labels = sleap_io.load_slp(str(write_slp(tmp_path, ["a.avi"], [3, 40, 50])))
    tracks = [sleap_io.Track("old"), sleap_io.Track("young")]
    labels.tracks.extend(tracks)
    for frame, order in zip(
        sorted(labels, key=lambda f: f.frame_idx), [(0, 1), (1, 0), (1, None)], strict=True
    ):
        for instance, i in zip(frame.user_instances, order, strict=True):
            instance.track = None if i is None else tracks[i]
    labels.save(str(tmp_path / "b.slp"), verbose=False)
    assert import_labels.main([str(tmp_path / "b.slp"), f"--output={tmp_path / 'b'}"]) == 0
    assert tracks_in(tmp_path / "b") == [[0, 1], [1, 0], [1, None]]
    # From COCO's file, too.
    again = [str(tmp_path / "b/train.json"), f"--output={tmp_path / 'c'}"]
    assert import_labels.main(again) == 0
    assert tracks_in(tmp_path / "c") == [[0, 1], [1, 0], [1, None]]


def test_individuals_of_deeplabcut_are_tracks(tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / name)
    rows = [["scorer", *["s"] * 8], ["individuals", *["m"] * 4, *["n"] * 4]]
    rows += [["bodyparts", *["nose", "nose", "tail", "tail"] * 2], ["coords", *["x", "y"] * 4]]
    rows += [["a.png", *range(1, 9)], ["b.png", *[""] * 4, *range(11, 15)]]
    text = "\n".join(",".join(map(str, row)) for row in rows)
    (tmp_path / "CollectedData_s.csv").write_text(text)
    labels = str(tmp_path / "CollectedData_s.csv")
    assert import_labels.main([labels, f"--output={tmp_path / 'out'}"]) == 0
    assert tracks_in(tmp_path / "out") == [[0, 1], [1]]


def test_without_sleap_io_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sleap_io", None)
    (tmp_path / "a.slp").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match=r'needs sleap-io; .* "hourglass-jax\[labels\]"'):
        CustomSource(train_json=str(tmp_path / "a.slp"))


@pytest.mark.skipif(not SAMPLES.exists(), reason="the sample files are not here")
def test_sleaps_samples():
    pytest.importorskip("sleap_io")
    folder = SAMPLES / "formats/sleap"
    robot = images_of(CustomSource(train_json=str(folder / "small_robot_minimal.slp")))
    assert [image.name.rpartition("#")[2] for image in robot] == ["000000", "000079"]
    np.testing.assert_allclose(
        robot[0].annotations[0].joints[0], [316.489747, 47.691571], atol=1e-5
    )
    dance = CustomSource(
        train_json=str(folder / "dance.mp4.labels.slp"), image_dir=str(SAMPLES / "videos")
    )
    assert len(images_of(dance)) == 3 and dance.count("train") == 2
    package = CustomSource(train_json=str(folder / "minimal_instance.pkg.slp"))
    assert [image.read().shape for image in images_of(package)] == [(384, 384, 3)] * 2
