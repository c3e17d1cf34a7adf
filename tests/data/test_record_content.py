"""Records hold everybody once, with joints and pixels where the map to the source puts them."""

import mpii_files
import numpy as np
import pytest
from PIL import Image
from test_mpii import ABSENT, NUM_IMAGES, first_people

from hourglass_jax.data import pipeline
from hourglass_jax.data.mpii.source import MpiiSource
from hourglass_jax.data.records import Records
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.data.synthetic_people.source import SyntheticPeopleSource
from hourglass_jax.image import geometry
from hourglass_jax.tasks.single_pose.limits import Limits
from hourglass_jax.tasks.single_pose.metrics import pckh
from hourglass_jax.tasks.single_pose.task import SinglePose


@pytest.fixture(scope="module")
def mpii(tmp_path_factory):
    """MPII's images of noise, and the records of its validation split."""
    folder = tmp_path_factory.mktemp("manual")
    mpii_files.write(folder, first_people(), NUM_IMAGES)
    source = MpiiSource(manual_dir=str(folder), allow_missing=ABSENT)
    made = Records(source, SinglePose(MPII), str(tmp_path_factory.mktemp("records")))
    made.prepare()
    return folder, source, made


def test_every_person_becomes_one_record(mpii):
    _, source, made = mpii
    for split in source.splits:
        assert made.count(split) == source.count(split) > 5
        ids = {row["id"].decode() for row in made.as_dataset(split=split).as_numpy_iterator()}
        assert ids == {a.id for image in source.images(split) for a in image.annotations}


def test_the_truth_carried_to_the_input_and_back_scores_one(mpii):
    """Source to record to input and back, without heatmaps, at every threshold down to 0.01."""
    _, source, made = mpii
    known = {a.id: a for image in source.images("validation") for a in image.annotations}
    truth, carried, heads, labelled = [], [], [], []
    rows = pipeline.Rows(16)
    for batch in pipeline.evaluation_batches(made, "validation", (256, 256), rows):
        for record, to_input, real in zip(
            batch["records"], batch["record_to_input"], batch["real"], strict=True
        ):
            if real:
                to_source = record["record_to_source"].astype(np.float64)
                joints = geometry.apply(to_input, record["joints_record"].astype(np.float64))
                back = geometry.compose(to_source, geometry.invert(to_input))
                carried.append(geometry.apply(back, joints))
                person = known.pop(record["id"])
                truth.append(np.where(person.labelled[:, None], person.joints, 0))
                labelled.append(person.labelled)
                heads.append(person.reference)
                np.testing.assert_array_equal(record["labelled"], person.labelled)
                np.testing.assert_array_equal(record["visible"], person.visible)
                assert record["reference"] == pytest.approx(person.reference, rel=1e-6)
                center = geometry.apply(to_source, record["center_record"][None].astype(float))[0]
                np.testing.assert_allclose(center, person.center, atol=1e-3)
                scale = geometry.scale_of(to_source)
                assert record["size_record"] * scale == pytest.approx(person.size, rel=1e-5)
    assert not known
    for threshold in (0.01, 0.1, 0.5):
        arrays = map(np.array, (truth, carried, labelled, heads))
        assert pckh(*arrays, threshold).total == 1


@pytest.mark.parametrize("resolution", [256, 64])
def test_pixels_of_records_are_the_sources_where_the_map_says(mpii, tmp_path, resolution):
    folder, source, made = mpii
    if resolution != 256:
        limits = Limits(resolution=resolution)
        made = Records(source, SinglePose(MPII, limits=limits), str(tmp_path))
        made.prepare()
    differences = []
    for row in list(made.as_dataset(split="validation").as_numpy_iterator())[:8]:
        name = row["id"].decode().partition("/")[0]
        image = np.asarray(Image.open(folder / "images" / name).convert("RGB"), float)
        affine = row["record_to_source"].astype(float)
        step = affine[0, 0] / 2
        height, width = row["image"].shape[:2]
        assert row["size_record"] <= resolution * 1.01  # sides are rounded to whole px
        for u, v in np.random.default_rng(0).integers(4, (width - 4, height - 4), (40, 2)):
            x, y = geometry.apply(affine, np.array([[u, v]], float))[0]
            area = image[
                max(round(y - step), 0) : round(y + step) + 1,
                max(round(x - step), 0) : round(x + step) + 1,
            ]
            differences.append(np.abs(row["image"][v, u] - area.mean((0, 1))).mean())
    assert np.mean(differences) < 8 and np.max(differences) < 40


def test_drawn_people_are_kept_no_larger_than_asked(tmp_path):
    source = SyntheticPeopleSource(num_train=5, num_validation=2)
    made = Records(source, SinglePose(MPII, limits=Limits(resolution=64)), str(tmp_path))
    made.prepare()
    people = {
        a.id: a for s in source.splits for image in source.images(s) for a in image.annotations
    }
    rows = list(made.as_dataset(split="all").as_numpy_iterator())
    assert len({row["image"].tobytes() for row in rows}) == len(people) == 7
    for row in rows:
        person = people.pop(row["id"].decode())
        assert row["size_record"] <= 64 * 1.01  # sides are rounded to whole px
        joints = geometry.apply(row["record_to_source"].astype(float), row["joints_record"])
        shown = person.labelled
        np.testing.assert_allclose(joints[shown], person.joints[shown], atol=1e-3)
    assert not people
