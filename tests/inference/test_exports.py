"""Predictions in the forms of other tools, opened by their own libraries."""

import json
import pathlib

import numpy as np
import pytest
from fake import FakeEstimator, in_place_of_networks, people_in, write_images, write_video

from hourglass_jax import predict
from hourglass_jax.data.custom.source import CustomSource
from hourglass_jax.data.skeleton import LSP
from hourglass_jax.errors import UserError
from hourglass_jax.image.frames import open_frames


@pytest.fixture
def predicted(tmp_path, monkeypatch):
    """Runs the command on two images and a video with two people; returns its output folder."""
    made = FakeEstimator()
    in_place_of_networks(made, monkeypatch)
    write_images(tmp_path / "in", ["a.png", "b.png"])
    write_video(tmp_path / "in/day/walk.avi", frames=7)

    def run(formats, boxes=((1, 2, 12, 14), (10, 3, 14, 20))):
        files = ["a.png", "b.png", "c.png", "day/walk.avi"]
        (tmp_path / "boxes.json").write_text(json.dumps(dict.fromkeys(files, boxes)))
        flags = [
            "--checkpoint=lsp-small",
            f"--input={tmp_path / 'in'}",
            f"--output={tmp_path / 'out'}",
            "--smooth",
        ]
        flags += [f"--boxes={tmp_path / 'boxes.json'}", f"--format={formats}", "--no_overlays"]
        assert predict.main(flags) == 0
        return tmp_path / "out"

    return run


def joints_in(output) -> dict[str, list[np.ndarray]]:
    found: dict[str, list] = {}
    for person in people_in(output):
        found.setdefault(person["image_id"], []).append(np.reshape(person["keypoints"], (14, 3)))
    return found


def test_a_data_set_in_cocos_format(predicted, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    output = predicted("coco")
    data = coco.COCO(str(output / "coco.json"))
    results = data.loadRes(str(output / "coco_results.json"))
    expected = joints_in(output)
    assert [c["keypoints"] for c in data.loadCats(data.getCatIds())] == [list(LSP.joints)]
    assert len(data.getImgIds()) == 9
    for image in data.loadImgs(data.getImgIds()):
        size = (32, 24) if "#" in image["file_name"] else (20, 24)
        assert (image["width"], image["height"]) == size
        anns = data.loadAnns(data.getAnnIds(image["id"]))
        found = results.loadAnns(results.getAnnIds(image["id"]))
        for a, result, joints in zip(anns, found, expected[image["file_name"]], strict=True):
            table = np.reshape(a["keypoints"], (14, 3))
            np.testing.assert_array_equal(table[:, :2], joints[:, :2])
            np.testing.assert_array_equal(table[:, 2], np.where(joints[:, 2] > 0.1, 2, 1))
            np.testing.assert_array_equal(np.reshape(result["keypoints"], (14, 3)), joints)
            assert ("track_id" in a) == ("#" in image["file_name"])


def test_what_was_found_can_be_corrected_and_trained_on(predicted, tmp_path):
    content = (predicted("coco") / "coco.json").read_text()
    (tmp_path / "in/k.json").write_text(content)
    source = CustomSource(train_json=str(tmp_path / "in/k.json"))
    assert source.labels.joints == LSP.joints and source.labels.limbs == LSP.limbs
    found = [image for split in source.splits for image in source.images(split)]
    assert sum(len(image.annotations) for image in found) == 18
    with open_frames(tmp_path / "in/day/walk.avi") as frames:
        pixels = [frame for frame, _ in frames]
    numbered = [image for image in found if image.container]
    assert len(numbered) == 7 and len(source.large_files) == 3
    for image in numbered:
        np.testing.assert_array_equal(image.read(), pixels[int(image.name.rpartition("#")[2])])


@pytest.mark.parametrize("people", [1, 2])
def test_tables_of_deeplabcut(predicted, people):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    output = predicted("deeplabcut", [(1, 2, 12, 14), (10, 3, 14, 20)][:people])
    expected = joints_in(output)
    levels = [0, 1, 2, 3] if people == 2 else [0, 1, 2]
    for stem, rows in (("day/walk", 7), ("images", 2)):
        path = output / "deeplabcut" / stem
        table = pandas.read_hdf(f"{path}.h5")
        text = pandas.read_csv(f"{path}.csv", header=levels, index_col=0)
        # The tracks of a video are individuals, also if there is one alone.
        if stem == "day/walk" and people == 1:
            text = pandas.read_csv(f"{path}.csv", header=[0, 1, 2, 3], index_col=0)
        np.testing.assert_allclose(table.to_numpy(), text.to_numpy(), atol=1e-9)
        names = ["scorer", "individuals", "bodyparts", "coords"]
        assert list(table.columns.names) == [n for n in names if n in table.columns.names]
        bodyparts = table.columns.get_level_values("bodyparts")
        assert list(dict.fromkeys(bodyparts)) == list(LSP.joints)
        assert len(table) == rows
        for key, row in table.iterrows():
            found = expected[key if isinstance(key, str) else f"day/walk.avi#{key}"]
            values = row.to_numpy().reshape(-1, 14, 3)
            there = values[np.isfinite(values[:, 0, 0])]
            order = lambda joints: sorted(joints.tolist())  # noqa: E731
            assert order(there) == order(np.array(found))


def test_labels_of_sleap(predicted, tmp_path):
    sleap_io = pytest.importorskip("sleap_io")
    output = predicted("sleap")
    labels = sleap_io.load_slp(str(output / "predictions.slp"))
    expected = joints_in(output)
    (skeleton,) = labels.skeletons
    assert skeleton.node_names == list(LSP.joints)
    assert {tuple(names) for names in skeleton.edge_names} == set(LSP.limbs)
    assert len(skeleton.symmetries) == len(LSP.pairs)
    assert len(labels) == 9
    by_track = {
        (person["image_id"], person.get("track_id")): np.reshape(person["keypoints"], (14, 3))
        for person in people_in(output)
    }
    for frame in labels:
        video = frame.video.filename
        is_video = isinstance(video, str)
        name = (
            f"day/walk.avi#{frame.frame_idx}"
            if is_video
            else (pathlib.Path(video[frame.frame_idx]).name)
        )
        assert len(frame.instances) == len(expected[name])
        for instance, joints in zip(frame.instances, expected[name], strict=True):
            if is_video:
                joints = by_track[name, int(instance.track.name.rpartition(" ")[2])]
            table = instance.numpy(scores=True)
            np.testing.assert_allclose(table, joints, atol=1e-4)
    assert frame_of(labels, "walk.avi").shape == (24, 32, 3)


def frame_of(labels, name):
    (video,) = [v for v in labels.videos if str(v.filename).endswith(name)]
    return video[3]


def test_formats_are_written_by_a_command_that_has_nothing_left(predicted):
    output = predicted("")
    assert not (output / "coco.json").exists()
    assert (predicted("coco") / "coco.json").exists()
    write_images(output.parent / "in", ["c.png"])
    predicted("")  # what is there stays complete
    images = json.loads((output / "coco.json").read_text())["images"]
    assert "c.png" in [image["file_name"] for image in images]


def test_formats_that_are_wrong_are_named(predicted, monkeypatch):
    with pytest.raises(UserError, match="--format=cvat: choose from coco, deeplabcut, sleap"):
        predicted("cvat")
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UserError, match=r'--format=deeplabcut needs pandas; .*\[labels\]"'):
        predicted("coco,deeplabcut")
