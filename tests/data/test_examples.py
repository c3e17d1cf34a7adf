"""Examples inside tf.data are those of the task and of augment.py, whatever fields records have."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from hourglass_jax.data import augment, parsing, pipeline
from hourglass_jax.data.augment import Augmentation
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source
from hourglass_jax.data.records import Records
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.image import geometry
from hourglass_jax.tasks.base import Spec
from hourglass_jax.tasks.single_pose.task import SinglePose

SIZE = (32, 48)
NONE = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
ALL = Augmentation(0.25, 40.0, 0.7, 0.1, 0.5, 0.3)
# How many dots each image has: none at all in the first, and in a whole batch of two.
COUNTS = [0, 3, 1, 5, 0, 0, 2]


def dots_of(i):
    return np.random.default_rng([i, 1]).uniform(5, 40, (COUNTS[i], 2)).astype(np.float32)


class Dots(Source):
    """Images of noise, of different sizes, with different numbers of dots in them."""

    name = "dots"
    labels = Skeleton("dots", ("left_dot", "right_dot"), (("left_dot", "right_dot"),), ())

    def count(self, split):
        return len(COUNTS)

    def images(self, split):
        for i in range(len(COUNTS)):
            rng = np.random.default_rng(i)
            pixels = rng.integers(0, 256, (40 + i, 50 - i, 3), dtype=np.uint8)
            labelled = np.array([True, i % 3 > 0])
            joints = rng.uniform(5, 40, (2, 2))
            person = Annotation(
                f"dots/{i}", np.array([22.0, 20.5]), 30.0 + i, joints=joints, labelled=labelled,
                visible=labelled, key=i,
            )  # fmt: skip
            yield AnnotatedImage(f"{i}", f"{i}", lambda pixels=pixels: pixels, [person])


@dataclasses.dataclass(frozen=True)
class CountDots:
    """As much of a task as records and examples use."""

    name = "count_dots"
    schema = {
        "dots": Spec((None, 2), np.float32),
        "kinds": Spec((None,), np.int32),
        "corners": Spec((None, 2, 2), np.int64),
        "odd": Spec((), np.bool_),
        "pair": Spec((2,), np.int32),
    }
    record_version = 1
    record_settings = {}
    record_bytes = 4000.0

    def record(self, i):
        dots = dots_of(i)
        return {
            "id": f"dots/{i}",
            "record_to_source": np.array([[1, 0, i], [0, 1, 0]], np.float32),
            "dots": dots,
            "kinds": np.arange(len(dots), dtype=np.int32) + 10 * i,
            "corners": np.arange(4 * len(dots)).reshape(-1, 2, 2) - i,
            "odd": np.bool_(i % 2),
            "pair": np.array([i, -i], np.int32),
        }

    def records(self, image):
        yield int(image.id), {**self.record(int(image.id)), "image": image.read()}

    def view(self, record, draws, size):
        # From all fields: what reaches a task in training is what was written.
        assert record["dots"].dtype == np.float32 and record["dots"].shape[1:] == (2,)
        assert record["kinds"].dtype == np.int32 and record["odd"].dtype == np.bool_
        assert record["corners"].shape == (len(record["dots"]), 2, 2)
        center = record["dots"].sum(0) / max(len(record["dots"]), 1) + 20.0
        if draws is None:
            return geometry.crop_map(center, 40.0, size[1])
        return geometry.crop_map(
            center, 40.0, size[1], scale=draws.scale, rotation=draws.rotation, flip=draws.flip
        )

    def targets(self, record, to_input, size):
        dots = geometry.apply(to_input, record["dots"])
        figures = [len(dots), record["kinds"].sum(), record["corners"].sum(), record["odd"]]
        sums = np.array([*figures, *record["pair"]], np.float64)
        return {"sums": sums, "inside": (dots > 0).all(-1).sum()[None], "place": dots.sum(0)}


@pytest.mark.parametrize(
    "spec", [Spec((2,), np.float64), Spec((), np.str_), Spec((), np.uint64), Spec((2, None), "i4")]
)
def test_a_field_that_records_cannot_hold_is_named(folder, spec):
    task = CountDots()
    task.__dict__["schema"] = {**CountDots.schema, "wrong": spec}
    with pytest.raises(ValueError, match="records cannot hold wrong"):
        Records(Dots(), task, str(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


def made(task, folder):
    """Prepared records, and what the file of the training split holds, parsed by TensorFlow."""
    records = Records(Dots(), task, str(folder))
    records.prepare()
    files = sorted(str(path) for path in records.info.splits["train"].filepaths)
    serialized = list(tf.data.TFRecordDataset(files).as_numpy_iterator())
    jpegs = {}
    for content in serialized:
        feature = tf.train.Example.FromString(content).features.feature
        jpegs[feature["id"].bytes_list.value[0].decode()] = feature["image"].bytes_list.value[0]
    return records, serialized, jpegs


@pytest.fixture(scope="module")
def dots(folder):
    return made(CountDots(), folder)


def ids_of(serialized):
    examples = [tf.train.Example.FromString(content) for content in serialized]
    return [e.features.feature["id"].bytes_list.value[0].decode() for e in examples]


def draws_of(count, *seed):
    return np.random.default_rng(seed).uniform(size=(count, augment.DRAWS))


def test_training_examples_are_those_of_the_task(dots):
    records, serialized, jpegs = dots
    draws = draws_of(len(COUNTS), 1)
    function = parsing.training_function(records, SIZE, ALL)
    eager = function(tf.constant(serialized), tf.constant(draws))
    assert list(eager) == ["image", "sums", "inside", "place"]
    for row, (name, numbers) in enumerate(zip(ids_of(serialized), draws, strict=True)):
        record = records.task.record(int(name.removeprefix("dots/")))
        to_input = records.task.view(record, ALL.draw(numbers), SIZE)
        colours = ALL.colours(numbers[None])
        (image,) = augment.sample([jpegs[name]], to_input[None], SIZE, colours)
        expected = {"image": image, **records.task.targets(record, to_input, SIZE)}
        for key, value in expected.items():
            np.testing.assert_array_equal(eager[key][row], value, err_msg=f"{name} {key}")
    parts = tf.data.Dataset.from_tensor_slices((serialized, draws)).batch(2, drop_remainder=True)
    for i, part in enumerate(parts.map(function).as_numpy_iterator()):
        for key in eager:
            np.testing.assert_array_equal(part[key], eager[key][2 * i : 2 * i + 2], err_msg=key)


def test_examples_are_functions_of_record_and_draws(dots):
    records, serialized, _ = dots
    function = parsing.training_function(records, SIZE, ALL)
    one, again, other = (
        function(tf.constant(serialized), tf.constant(draws_of(len(COUNTS), seed)))
        for seed in (1, 1, 2)
    )
    for key in one:
        np.testing.assert_array_equal(one[key], again[key])
    assert (one["image"].numpy() != other["image"].numpy()).any((1, 2, 3)).all()


def test_shapes_of_targets_are_known_before_the_first_batch(dots):
    records, _, _ = dots
    shapes = pipeline.target_shapes(records, SIZE)
    assert shapes == {
        "image": ((*SIZE, 3), np.uint8),
        "sums": ((6,), np.float64),
        "inside": ((1,), np.int64),
        "place": ((2,), np.float64),
    }
    stream = pipeline.training_batches(
        records, SIZE, ALL, pipeline.Rows(2), seed=0, shuffle_buffer=4
    )
    batch = next(stream)
    found = {name: (array.shape[1:], array.dtype) for name, array in batch.items()}
    assert found == shapes


@pytest.mark.parametrize("batch_size", [1, 2, 7, 32])
def test_evaluation_gives_back_what_the_task_wrote(dots, batch_size):
    """Fields of any number of rows too, where no record of a batch has one, and in its filling."""
    records, _, jpegs = dots
    seen = []
    rows = pipeline.Rows(batch_size)
    for batch in pipeline.evaluation_batches(records, "validation", SIZE, rows):
        assert len(batch["records"]) == batch_size
        for i, record in enumerate(batch["records"]):
            expected = records.task.record(int(record["id"].removeprefix("dots/")))
            assert record.keys() == expected.keys()
            for name, value in expected.items():
                np.testing.assert_array_equal(record[name], value, err_msg=name)
                assert np.shape(record[name]) == np.shape(value)
                if name in records.schema:
                    assert record[name].dtype == records.schema[name].dtype
            to_input = records.task.view(expected, None, SIZE)
            np.testing.assert_array_equal(batch["record_to_input"][i], to_input)
            (image,) = augment.sample([jpegs[record["id"]]], to_input[None], SIZE)
            np.testing.assert_array_equal(batch["image"][i], image)
        seen += [record["id"] for record, real in zip(
            batch["records"], batch["real"], strict=True
        ) if real]  # fmt: skip
    assert sorted(seen) == [f"dots/{i}" for i in range(len(COUNTS))]


def test_without_augmentation_training_and_evaluation_see_the_same(dots, folder):
    for records, serialized, _ in (dots, made(SinglePose(Dots.labels), folder)):
        content = tf.constant(serialized)
        draws = tf.constant(draws_of(len(COUNTS), 5))
        training = parsing.training_function(records, (64, 64), NONE)(content, draws)
        evaluation = parsing.evaluation_function(records, (64, 64))(content)
        np.testing.assert_array_equal(training["image"], evaluation["image"])
    # Training and evaluation use the same truth.
    assert training["heatmaps"].shape == (len(COUNTS), 16, 16, 2)
    task = records.task
    for i in range(len(COUNTS)):
        record = {name: evaluation[name][i].numpy() for name in task.schema}
        targets = task.targets(record, evaluation["record_to_input"][i].numpy(), (64, 64))
        for name, array in targets.items():
            np.testing.assert_array_equal(training[name][i], array)


class ForgetsTargets(CountDots):
    def targets(self, record, to_input, size):
        targets = super().targets(record, to_input, size)
        if len(record["dots"]) == 5:
            del targets["inside"]
        return targets


def test_an_error_of_the_task_is_not_taken_for_damaged_records(folder):
    records, _, _ = made(ForgetsTargets(), folder)
    rows = pipeline.Rows(len(COUNTS))
    batches = pipeline.training_batches(records, SIZE, NONE, rows, seed=0, shuffle_buffer=8)
    with pytest.raises(tf.errors.OpError, match="KeyError: 'inside'"):
        next(batches)
