"""Damage to records, and to the files that describe them, is found or changes nothing."""

import shutil

import pytest
import tensorflow as tf
from damages import damages
from test_records import Files, task_of

from hourglass_jax.data import pipeline
from hourglass_jax.data.records import Records
from hourglass_jax.errors import UserError
from hourglass_jax.runtime import digests


def content_of(folder):
    """Every record in a folder, as a run would read it."""
    paths = {"source_files": [], "large_files": [], "evaluation_files": []}
    records = Records(Files(**paths), task_of(), str(folder))
    records.prepare()
    pipeline.training_count(records)
    split = records.source.train
    pipeline._check_files(records, split)
    files = sorted(str(path) for path in records.info.splits[split].filepaths)
    with pipeline._naming_damage(records, split):
        return list(tf.data.TFRecordDataset(files).as_numpy_iterator())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return folder, content_of(folder)


@pytest.mark.parametrize("count", [15, pytest.param(600, marks=pytest.mark.slow)])
def test_flips_and_cuts_are_found_or_change_nothing(made, tmp_path, count):
    folder, expected = made
    copy = shutil.copytree(folder, tmp_path / "copy")
    found = 0
    for what in damages(copy, count):
        try:
            assert content_of(copy) == expected, what
        except UserError as error:
            assert "delete " in str(error) and "makes them again" in str(error), what
            found += 1
    assert found > count / 2
    assert content_of(copy) == expected


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:100],
        lambda text: text.replace("1.0.0", "1.0.1"),
        lambda text: text.replace('"train"', '"other"'),
        lambda text: "<html>",
        lambda text: "\udcff",
        None,
    ],
)
@pytest.mark.parametrize("digested", [True, False])
def test_a_damaged_description_is_named(made, tmp_path, damage, digested):
    copy = shutil.copytree(made[0], tmp_path / "copy")
    (path,) = copy.rglob("dataset_info.json")
    assert content_of(copy) == made[1]
    if not digested:  # as earlier versions left it
        (path.parent / digests.NAME).unlink()
        assert content_of(copy) == made[1] and (path.parent / digests.NAME).exists()
        (path.parent / digests.NAME).unlink()
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage(path.read_text()), errors="surrogateescape")
    with pytest.raises(UserError, match=rf"dataset_info\.json.*; delete {path.parent}|no records"):
        content_of(copy)


def test_a_lost_file_of_records_is_named(made, tmp_path):
    copy = shutil.copytree(made[0], tmp_path / "copy")
    next(copy.rglob("*.tfrecord*")).unlink()
    with pytest.raises(UserError, match=r"the records .*tfrecord.* are missing; delete"):
        content_of(copy)
