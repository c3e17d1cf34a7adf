"""FLIC: splits, sides, boxes and what is refused, on a file in the published structure."""

import numpy as np
import pytest
import scipy.io
from conftest import load_config
from mpii_files import structs
from PIL import Image

from hourglass_jax.data.flic import source as flic
from hourglass_jax.data.pipeline import prepare
from hourglass_jax.data.skeleton import FLIC
from hourglass_jax.errors import UserError

TRAIN, TEST = 20, 6


def write(folder, *, sides):
    """Writes FLIC/examples.mat; `sides` says where a left shoulder lies of the right one."""
    rng = np.random.default_rng(0)
    (folder / "FLIC/images").mkdir(parents=True)
    rows, coords = [], []
    for i in range(TRAIN + TEST):
        name = f"film-{i:08d}.jpg"
        noise = rng.integers(0, 256, (48, 72, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "FLIC/images" / name)
        xy = np.full((2, 29), np.nan)
        xy[:, flic.LABELLED] = rng.uniform(10, 40, (2, len(flic.LABELLED)))
        xy[0, 0], xy[0, 3] = (30, 20) if sides == "person" else (20, 30)  # shoulders
        coords.append(xy)
        rows.append(
            {
                "coords": xy,
                "filepath": name,
                "imgdims": np.array([48.0, 72.0, 3.0]),
                "torsobox": np.array([10.0, 5.0, 40.0, 45.0]),
                "istrain": float(i < TRAIN),
                "istest": float(i >= TRAIN),
            }
        )
    scipy.io.savemat(folder / "FLIC/examples.mat", {"examples": structs(rows)})
    return np.array(coords)


@pytest.mark.parametrize("sides", ["person", "observer"])
def test_joints_come_out_person_centric(tmp_path, sides):
    coords = write(tmp_path, sides=sides)
    config = load_config("flic").data
    config.update({"manual_dir": str(tmp_path), "data_dir": str(tmp_path)})
    builder = flic.FlicPose.from_config(config)
    prepare(builder, str(tmp_path))
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert counts == {"train": TRAIN - 2, "validation": 2, "test": TEST}
    for row in builder.as_dataset(split="test").as_numpy_iterator():
        xy = coords[int(row["id"][5:13])][:, flic.LABELLED].T - 1
        to_source = row["record_to_source"]
        joints = row["joints_record"] @ to_source[:, :2].T + to_source[:, 2]
        expected = xy if sides == "person" else xy[FLIC.flip_order]
        np.testing.assert_allclose(joints, expected, atol=1e-4)
        left, right = FLIC.index("left_shoulder"), FLIC.index("right_shoulder")
        assert row["labelled"].all() and joints[left, 0] > joints[right, 0]
        # As the file names them: its fourth labelled joint and its seventh.
        assert row["reference"] == pytest.approx(np.linalg.norm(xy[3] - xy[6]), rel=1e-5)
        assert row["size_record"] * to_source[0, 0] == pytest.approx(44, rel=1e-5)
        center = to_source[:, :2] @ row["center_record"] + to_source[:, 2]
        np.testing.assert_allclose(center, (24, 23.5), atol=1e-4)


def test_what_is_no_flic_is_told(tmp_path):
    with pytest.raises(UserError, match=r"lacks examples\.mat"):
        flic.FlicPose.source_files(load_config("flic").data)
    path = tmp_path / "examples.mat"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as FLIC's examples"):
        flic.read(path)
    scipy.io.savemat(path, {"examples": structs([{"coords": np.zeros((2, 3))}])})
    with pytest.raises(UserError, match="cannot be read as FLIC's examples"):
        flic.read(path)
