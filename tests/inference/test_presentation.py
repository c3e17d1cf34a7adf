"""Poses as text, drawings, tables and files."""

import csv
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from hourglass_jax.data.formats import coco_json
from hourglass_jax.data.skeleton import COCO
from hourglass_jax.errors import UserError
from hourglass_jax.inference.found import Poses


def made(people=2, **fields):
    rng = np.random.default_rng(0)
    joints = rng.uniform(5, 50, (people, 17, 2))
    scores = rng.uniform(0.2, 1, (people, 17)).astype(np.float32)
    boxes = np.array([[4.0, 5, 50, 50]] * people).reshape(-1, 4)
    image = np.full((60, 80, 3), 30, np.uint8)
    return Poses(joints, scores, COCO.joints, boxes, **{"skeleton": COCO, "image": image} | fields)


def test_a_summary_is_printed():
    lines = str(made()).splitlines()
    assert lines[0] == "Poses of 2 people with 17 joints" and len(lines) == 3
    assert "box (4, 5, 50, 50), 16 joints above 0.4" in lines[1]
    assert str(made(1)[[]]) == "Poses of 0 people with 17 joints"
    assert str(made(30)).endswith("and 10 more")


def test_they_draw_themselves(tmp_path):
    poses = made()
    drawn = np.asarray(poses.draw())
    assert drawn.shape == (60, 80, 3) and (drawn != poses.image).any()
    assert (poses.image == 30).all()
    assert poses._repr_png_().startswith(b"\x89PNG")
    poses.save(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), drawn)
    poses.save(tmp_path / "a.jpg")
    assert Image.open(tmp_path / "a.jpg").format == "JPEG"
    alone = made(image=None, skeleton=None)
    assert alone._repr_png_() is None
    Image.fromarray(poses.image).save(tmp_path / "image.png")
    for image in (poses.image, poses.image / 255, tmp_path / "image.png"):
        assert (np.asarray(alone.draw(image)) == np.asarray(alone.draw(poses.image))).all()
    assert (np.asarray(alone.draw(poses.image)) != poses.image).any()
    with pytest.raises(UserError, match=r"a\.csv: No such file or directory; choose another"):
        alone.save(tmp_path / "nowhere/a.csv")
    with pytest.raises(UserError, match=r"give it, as poses\.draw\(image\)"):
        alone.draw()


def test_they_become_data(tmp_path):
    poses = made()
    content = json.loads(json.dumps(poses.to_dict()))
    assert content["people"][1]["joints"]["nose"][:2] == poses.joints[1, 0].tolist()
    assert pickle.loads(pickle.dumps(poses)).to_dict() == content
    poses.save(tmp_path / "k.json", file_name="a.png")
    file = coco_json.read(tmp_path / "k.json", tmp_path)
    (image,) = file.images
    assert image.size == (80, 60) and file.skeleton.limbs == COCO.limbs
    for a, joints in zip(image.annotations, poses.joints, strict=True):
        np.testing.assert_allclose(a.joints, joints, atol=1e-4)
    assert "width" not in made(image=None).to_coco()["images"][0]
    poses.save(tmp_path / "k.csv")
    rows = list(csv.DictReader((tmp_path / "k.csv").open(newline="")))
    assert len(rows) == 34 and rows[17]["person"] == "1" and rows[17]["joint"] == "nose"
    assert float(rows[17]["x"]) == pytest.approx(poses.joints[1, 0, 0], abs=0.01)
    with pytest.raises(UserError, match=r"k\.gif: the suffix of poses must be one of \.png"):
        poses.save(tmp_path / "k.gif")


def test_a_dataframe_has_a_row_per_joint():
    pytest.importorskip("pandas")
    table = made().to_dataframe()
    assert list(table.columns) == ["person", "joint", "x", "y", "score"] and len(table) == 34


def test_without_pandas_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(UserError, match=r'needs pandas; .* "hourglass-jax\[labels\]"'):
        made().to_dataframe()
