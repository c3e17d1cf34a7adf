"""FLIC: splits, sides, boxes and what is refused, on a file in the published structure."""

import numpy as np
import pytest
import scipy.io
from mpii_files import structs
from PIL import Image

from hourglass_jax.data.flic import source as flic
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
    source = flic.FlicSource(manual_dir=str(tmp_path))
    counts = {split: source.count(split) for split in source.splits}
    assert counts == {"train": TRAIN - 2, "validation": 2, "test": TEST}
    for frame in source.images("test"):
        (annotation,) = frame.annotations
        assert annotation.id == frame.id and frame.read().shape == (48, 72, 3)
        xy = coords[int(annotation.id[5:13])][:, flic.LABELLED].T - 1
        expected = xy if sides == "person" else xy[FLIC.flip_order]
        np.testing.assert_array_equal(annotation.joints, expected)
        left, right = FLIC.index("left_shoulder"), FLIC.index("right_shoulder")
        assert annotation.labelled.all()
        assert annotation.joints[left, 0] > annotation.joints[right, 0]
        # As the file names them: its fourth labelled joint and its seventh.
        assert annotation.reference == pytest.approx(np.linalg.norm(xy[3] - xy[6]))
        assert annotation.size == pytest.approx(44)
        np.testing.assert_allclose(annotation.center, (24, 23.5))


def test_missing_frames_are_counted_in_each_split(tmp_path):
    write(tmp_path, sides="person")
    for path in sorted((tmp_path / "FLIC/images").iterdir())[:: TRAIN + TEST - 1]:
        path.unlink()  # one of train and one of test
    with pytest.raises(UserError, match=r"film-000000(00|25).jpg is missing.*allow_missing=1"):
        flic.FlicSource(manual_dir=str(tmp_path), allow_missing=0).count("train")
    assert flic.FlicSource(manual_dir=str(tmp_path), allow_missing=1).count("test") == TEST


def test_files_that_are_not_flics_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"lacks examples\.mat"):
        _ = flic.FlicSource(manual_dir=str(tmp_path)).source_files
    path = tmp_path / "examples.mat"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as FLIC's examples"):
        flic.read(path)
    scipy.io.savemat(path, {"examples": structs([{"coords": np.zeros((2, 3))}])})
    with pytest.raises(UserError, match="cannot be read as FLIC's examples"):
        flic.read(path)
