"""From a labelling tool and back: label file, training, prediction, and the tool's library."""

import collections
import json

import cv2
import label_files
import numpy as np
import pytest
from conftest import load_config, shrink
from label_files import IMAGES, JOINTS

from hourglass_jax import predict
from hourglass_jax.training import train

FRAMES = 12
# Two animals [animal, joint, 2] in the first frame of a video; they move to the right.
STARTS = np.array([[[20, 20], [35, 25], [30, 45]], [[20, 80], [45, 90], [30, 110.5]]])
BOXES = [[14, 14, 60, 40], [14, 74, 60, 45]]


def sleap(folder):
    """Labels with tracks on every second frame of a video; the input is the video."""
    sleap_io = pytest.importorskip("sleap_io")
    writer = cv2.VideoWriter(
        str(folder / "walk.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (160, 128)
    )
    rng = np.random.default_rng(0)
    for i in range(FRAMES):
        frame = rng.integers(0, 60, (128, 160, 3), np.uint8)
        for x, y in (STARTS + np.array([2 * i, 0])).reshape(-1, 2):
            cv2.circle(frame, (round(x), round(y)), 4, (200, 250, 40), -1)
        writer.write(frame)
    writer.release()
    skeleton = sleap_io.Skeleton(list(JOINTS), [("nose", "left_ear")], name="mouse")
    skeleton.add_symmetry("left_ear", "right_ear")
    video = sleap_io.Video(filename=str(folder / "walk.avi"), open_backend=False)
    tracks = [sleap_io.Track("old"), sleap_io.Track("young")]
    frames = []
    for i in range(0, FRAMES, 2):
        animals = [
            sleap_io.Instance.from_numpy(joints + np.array([2 * i, 0]), skeleton, track=track)
            for joints, track in zip(STARTS, tracks, strict=True)
        ]
        frames.append(sleap_io.LabeledFrame(video, i, animals))
    sleap_io.Labels(frames).save(str(folder / "labels.slp"), verbose=False)
    return folder / "labels.slp", folder / "walk.avi", BOXES


def deeplabcut(folder):
    labels = label_files.deeplabcut_h5(folder)
    return labels, labels / "labeled-data/vidéo", label_files.BOXES.tolist()


def coco(folder):
    label_files.write_images(folder / "images")
    (folder / "labels.json").write_text(json.dumps(label_files.coco_content()))
    return folder / "labels.json", folder / "images", label_files.BOXES.tolist()


def read_sleap(output):
    """Returns names of joints, and {(image, track): joints [joint, (x, y, score)]}."""
    sleap_io = pytest.importorskip("sleap_io")
    labels = sleap_io.load_slp(str(output / "predictions.slp"))
    found = {}
    for frame in labels:
        for instance in frame.instances:
            key = f"walk.avi#{frame.frame_idx}", int(instance.track.name.rpartition(" ")[2])
            found[key] = instance.numpy(scores=True)
    (skeleton,) = labels.skeletons
    return skeleton.node_names, found


def read_deeplabcut(output):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    table = pandas.read_hdf(output / "deeplabcut/images.h5")
    text = pandas.read_csv(output / "deeplabcut/images.csv", header=[0, 1, 2, 3], index_col=0)
    np.testing.assert_allclose(table.to_numpy(), text.to_numpy(), atol=1e-9)
    names = list(dict.fromkeys(table.columns.get_level_values("bodyparts")))
    rows = {name: row.to_numpy().reshape(2, -1, 3) for name, row in table.iterrows()}
    return names, {(name, i): row[i] for name, row in rows.items() for i in range(2)}


def read_coco(output):
    module = pytest.importorskip("pycocotools.coco")
    data = module.COCO(str(output / "coco.json"))
    results = data.loadRes(str(output / "coco_results.json"))
    (category,) = data.loadCats(data.getCatIds())
    found = {}
    for image in data.loadImgs(data.getImgIds()):
        for i, a in enumerate(results.loadAnns(results.getAnnIds(image["id"]))):
            found[image["file_name"], i] = np.reshape(a["keypoints"], (-1, 3))
    return category["keypoints"], found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "read"),
    [(sleap, read_sleap), (deeplabcut, read_deeplabcut), (coco, read_coco)],
    ids=lambda function: function.__name__,
)
def test_what_is_found_comes_back_into_the_tool_that_labelled(tmp_path, write, read):
    (tmp_path / "in").mkdir()
    labels, source, boxes = write(tmp_path / "in")
    config = shrink(load_config("custom"))
    config.data.update({"train_json": str(labels), "data_dir": str(tmp_path / "records")})
    train.train_and_evaluate(config, tmp_path / "run")

    names = [source.name] if source.is_file() else [path.name for path in source.glob("*.png")]
    (tmp_path / "boxes.json").write_text(json.dumps(dict.fromkeys(names, boxes)))
    output = tmp_path / "out"
    flags = [f"--checkpoint={tmp_path / 'run'}", f"--input={source}", f"--output={output}"]
    flags += [f"--boxes={tmp_path / 'boxes.json'}", f"--format={write.__name__}", "--no_overlays"]
    assert predict.main([*flags, "--smooth"] if source.is_file() else flags) == 0

    joints, found = read(output)
    assert joints == list(JOINTS)
    people = json.loads((output / "predictions.json").read_text())
    assert len(people) == len(found) == 2 * (FRAMES if write is sleap else IMAGES)
    order = {}
    for person in people:
        name = person["image_id"]
        number = person.get("track_id", order.get(name, 0))
        order[name] = order.get(name, 0) + 1
        expected = np.reshape(person["keypoints"], (-1, 3))
        np.testing.assert_allclose(found[name, number], expected, atol=0.01)
    if write is sleap:  # each animal keeps its number
        counts = collections.Counter(track for _, track in found)
        assert list(counts.values()) == [FRAMES, FRAMES]
