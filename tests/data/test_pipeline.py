"""Streams: every record once an epoch, the same on resume and for any number of processes."""

import dataclasses

import numpy as np
import pytest
from conftest import small_synthetic

from hourglass_jax.data import pipeline
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.experiment import Experiment
from hourglass_jax.image import geometry

PEOPLE, HELD_OUT = 23, 11


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    config = small_synthetic(tmp_path_factory.mktemp("records"), train=PEOPLE, validation=HELD_OUT)
    experiment = Experiment.from_config(config)
    experiment.prepare()
    return experiment


def take(experiment, count, *, first_step=0, seed=3, rows=None, augmentation=None, buffer=8):
    stream = pipeline.training_batches(
        experiment.records,
        experiment.size,
        augmentation or Augmentation(**dataclasses.asdict(experiment.config.augment)),
        rows or pipeline.Rows(6),
        seed=seed,
        shuffle_buffer=buffer,
        first_step=first_step,
    )
    return [next(stream) for _ in range(count)]


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_batches_have_the_shapes_that_the_step_takes(experiment):
    (batch,) = take(experiment, 1)
    assert batch["image"].shape == (6, 64, 64, 3) and batch["image"].dtype == np.uint8
    assert batch["heatmaps"].shape == (6, 16, 16, 16) and batch["heatmaps"].dtype == np.float32
    assert batch["weights"].shape == (6, 16) and batch["weights"].dtype == np.float32


@pytest.mark.parametrize("first_step", [1, 3, 4, 9])
def test_a_stream_taken_up_later_is_the_same_stream(experiment, first_step):
    whole = take(experiment, 12)
    assert_equal(take(experiment, 12 - first_step, first_step=first_step), whole[first_step:])


def test_processes_share_one_global_order(experiment):
    whole = take(experiment, 8)
    for process in range(3):
        part = take(experiment, 8, rows=pipeline.Rows(6, process, 3))
        rows = slice(2 * process, 2 * process + 2)
        assert_equal(part, [{k: v[rows] for k, v in batch.items()} for batch in whole])


def test_every_record_is_seen_once_an_epoch_in_another_order(experiment):
    still = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    batches = take(experiment, PEOPLE, rows=pipeline.Rows(3), augmentation=still, buffer=100)
    images = [image.tobytes() for batch in batches for image in batch["image"]]
    epochs = [images[i * PEOPLE : (i + 1) * PEOPLE] for i in range(3)]
    assert len(set(epochs[0])) == PEOPLE
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2]


def test_each_showing_is_augmented_differently(experiment):
    batches = take(experiment, 2 * PEOPLE, rows=pipeline.Rows(1))
    assert len({batch["image"].tobytes() for batch in batches}) == 2 * PEOPLE


def test_another_seed_gives_another_stream(experiment):
    assert (take(experiment, 1)[0]["image"] != take(experiment, 1, seed=4)[0]["image"]).any()


@pytest.mark.parametrize(
    ("batch_size", "processes"), [(1, 1), (4, 1), (4, 2), (6, 3), (11, 1), (16, 1), (16, 2)]
)
def test_evaluation_sees_everyone_exactly_once(experiment, batch_size, processes):
    seen, lengths = [], []
    for process in range(processes):
        rows = pipeline.Rows(batch_size, process, processes)
        batches = list(
            pipeline.evaluation_batches(experiment.records, "validation", experiment.size, rows)
        )
        lengths.append(len(batches))
        for batch in batches:
            assert len(batch["real"]) == len(batch["records"]) == len(batch["image"]) == rows.local
            pairs = zip(batch["records"], batch["real"], strict=True)
            seen += [record["id"] for record, real in pairs if real]
    assert len(seen) == len(set(seen)) == HELD_OUT
    assert len(set(lengths)) == 1


def test_truth_goes_to_the_input_and_back_exactly(experiment):
    rows = pipeline.Rows(HELD_OUT)
    (batch,) = pipeline.evaluation_batches(experiment.records, "validation", experiment.size, rows)
    for record, to_input in zip(batch["records"], batch["record_to_input"], strict=True):
        to_source = record["record_to_source"].astype(float)
        joints_source = geometry.apply(to_source, record["joints_record"])
        joints_input = geometry.apply(to_input, record["joints_record"])
        back = geometry.apply(geometry.compose(to_source, geometry.invert(to_input)), joints_input)
        np.testing.assert_allclose(back, joints_source, atol=1e-3)
        (person,) = experiment.task.truth(record)
        np.testing.assert_allclose(person.joints, joints_source, atol=1e-3)
        np.testing.assert_array_equal(person.joint_scores > 0, record["labelled"])
        inside = (joints_input > 0) & (joints_input < 63)
        assert inside.all(-1)[record["labelled"]].all()


def test_records_that_another_process_made_in_the_meantime_are_found(tmp_path):
    config = small_synthetic(tmp_path, train=8, validation=2)
    late, first = Experiment.from_config(config), Experiment.from_config(config)
    first.prepare()
    late.prepare()
    assert next(late.training_batches())["image"].shape[0] == config.batch_size
