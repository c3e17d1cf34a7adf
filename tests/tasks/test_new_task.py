"""A task and a data set that are written here alone: they train, resume, evaluate, report, predict.

The task is the middle of a drawn blob; half of the images of the data set have none.
"""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import shrink
from matplotlib.figure import Figure

from hourglass_jax import PoseEstimator, config_files, data, tasks
from hourglass_jax.data.base import AnnotatedImage, Annotation, Source
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.image import geometry
from hourglass_jax.rules import Number, Whole, field
from hourglass_jax.tasks.base import Head, Instance, Metric, Spec, Task
from hourglass_jax.training import train

SIDE = 64


class Blobs(Source):
    """Bright blobs on dark images, and images without one."""

    name = "blobs"
    labels = Skeleton("blob", ("middle",), (), ())

    @dataclasses.dataclass(frozen=True)
    class Options:
        num_blobs: int = field(Whole(1), default=16)

    def __init__(self, *, num_blobs):
        self.num_blobs = num_blobs

    @property
    def settings(self):
        return {"num_blobs": self.num_blobs}

    def count(self, split):
        return self.num_blobs if split == "train" else self.num_blobs // 2

    def images(self, split):
        for i in range(self.count(split)):
            rng = np.random.default_rng([i, split == "train"])
            middle, shown = rng.uniform(16, 48, 2), i % 2 == 0
            y, x = np.mgrid[:SIDE, :SIDE]
            blob = np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 50) * shown
            pixels = np.repeat((40 + 200 * blob).astype(np.uint8)[..., None], 3, axis=2)
            annotation = Annotation(
                id=f"{split}/{i}",
                center=np.array([31.5, 31.5]),
                size=float(SIDE),
                joints=middle[None],
                labelled=np.array([shown]),
                visible=np.array([shown]),
            )
            yield AnnotatedImage(f"{i}", f"blob {i}", lambda pixels=pixels: pixels, [annotation])


@dataclasses.dataclass(frozen=True)
class Mass:
    """The config's section `mass`."""

    sharpness: float = field(Number(0, above=True), default=3.0)


@dataclasses.dataclass(frozen=True)
class Within(Metric):
    """The share of middles that are found to within some px."""

    px: float = 8.0
    headline = "found"

    def _distances(self, found, truth):
        there = [bool(record["middles"].size) for record in truth]
        ends = [record["middles"] for record in truth]
        return np.array(
            [
                np.linalg.norm(one.joints[0] - end[0]) if known else np.nan
                for (one,), end, known in zip(found[-1], ends, there, strict=True)
            ]
        )

    def __call__(self, found, truth):
        known = self._distances(found, truth)
        known = known[~np.isnan(known)]
        return {"found": float((known <= self.px).mean()), "distance": float(known.mean())}

    def errors(self, found, truth):
        return self._distances(found, truth)

    def plots(self, found, truth):
        figure = Figure()
        figure.subplots().plot(np.sort(self._distances(found, truth)))
        return {"Distances": figure}


@dataclasses.dataclass(frozen=True)
class MiddleOfMass(Task):
    """Where a blob is; its records have no middle, or one."""

    sharpness: float
    stride: int

    name = "middle_of_mass"
    sections = {"mass": Mass}
    joints = ("middle",)
    heads = {"mass": Head(("middle",), start=0.0)}
    schema = {"middles": Spec((None, 2), np.float32)}

    @classmethod
    def from_config(cls, config, source, stride):
        return cls(config.task_sections(cls.sections)["mass"].sharpness, stride)

    @property
    def settings(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_settings(cls, settings):
        return cls(**settings)

    def records(self, image):
        pixels = image.read()
        for one in image.annotations:
            record = {"image": pixels, "id": one.id, "record_to_source": np.eye(2, 3, dtype="f4")}
            yield one.id, {**record, "middles": one.joints[one.labelled].astype(np.float32)}

    def view(self, record, draws, size):
        middle = np.array([(SIDE - 1) / 2] * 2)
        if draws is None:
            return geometry.crop_map(middle, SIDE, size[1])
        return geometry.crop_map(middle, SIDE, size[1], scale=draws.scale, flip=draws.flip)

    def targets(self, record, to_input, size):
        height, width = (side // self.stride for side in size)
        mass, weight = np.zeros((height, width, 1), np.float32), np.zeros(1, np.float32)
        for middle in geometry.apply(to_input, record["middles"]):
            x, y = geometry.crop_to_heatmap(middle, self.stride)
            rows, columns = np.mgrid[:height, :width]
            mass[..., 0] = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2 / self.sharpness)
            weight[:] = 1
        return {"mass": mass, "weight": weight}

    def totals(self, targets):
        return {"blobs": targets["weight"].sum()}

    def losses(self, outputs, targets, totals):
        weight = targets["weight"].reshape(-1, 1, 1, 1, 1)
        errors = weight * (outputs - targets["mass"][:, None]) ** 2
        return {"mass": errors.sum((0, 2, 3, 4)) / totals["blobs"]}

    def plateau(self, targets, totals):
        weight = targets["weight"].reshape(-1, 1, 1, 1)
        return (weight * targets["mass"] ** 2).sum() / totals["blobs"]

    def merge(self, views):
        plain = [jnp.flip(x, axis=2) if geometry.mirrors(a) else x for x, a in views]
        return sum(plain) / len(plain)

    def decode(self, outputs):
        rows, columns = (jnp.arange(n, dtype=outputs.dtype) for n in outputs.shape[1:3])
        mass = jnp.maximum(outputs[..., 0], 0) + 1e-6
        whole = mass.sum((1, 2))
        x = (mass * columns.reshape(1, 1, -1)).sum((1, 2)) / whole
        y = (mass * rows.reshape(1, -1, 1)).sum((1, 2)) / whole
        return {"middle": jnp.stack([x, y], axis=-1), "peak": outputs.max((1, 2, 3))}

    def finish(self, views):
        ((candidates, to_frame),) = views
        middle = geometry.heatmap_to_crop(candidates["middle"].astype(float), self.stride)
        peak = candidates["peak"]
        joints = geometry.apply(to_frame, middle[None])
        return [Instance(score=float(peak), joints=joints, joint_scores=peak[None])]

    def truth(self, record):
        return [
            Instance(score=1.0, joints=middle[None], joint_scores=np.ones(1))
            for middle in record["middles"].astype(float)
        ]

    def arrays(self, found):
        return {"middles": np.stack([one.joints[0] for (one,) in found])}

    def metrics(self, source, split):
        return [Within()]

    def draw(self, image, found):
        image = image.copy()
        for one in found:
            x, y = np.clip(np.round(one.joints[0]), 0, np.array(image.shape[1::-1]) - 1).astype(int)
            image[y, x] = (255, 0, 0)
        return image


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(data.SOURCES, "blobs", Blobs)
    monkeypatch.setitem(tasks.TASKS, "middle_of_mass", MiddleOfMass)


def blob_config(tmp_path):
    config = shrink(config_files.load("default"))
    config.task, config.data.dataset, config.data.data_dir = (
        "middle_of_mass",
        "blobs",
        str(tmp_path),
    )
    config.data.num_blobs = 16
    config.mass = {"sharpness": 4.0}
    config.augment.update({"scale": 0.1, "flip": 0.5, "colour": 0.1})
    config.num_steps, config.optimizer.learning_rate = 8, 1e-2
    config.optimizer.schedule = "constant"  # so that one compiled step serves any number of them
    return config


def test_it_trains_resumes_evaluates_reports_and_predicts(registered, tmp_path):
    workdir, config = tmp_path / "run", blob_config(tmp_path / "records")
    config.num_steps = 4
    train.train_and_evaluate(config, workdir)
    config.num_steps = 8
    result = train.train_and_evaluate(config, workdir)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 8 and losses[-1] < losses[0]
    assert lines[0]["ratio_to_plateau"] == [pytest.approx(1.0, rel=1e-6)]
    assert set(result["metrics"]) == {"found", "distance"} and result["persons"] == 8
    assert result["step"] in (4, 8) and result["dataset"] == "blobs"
    assert train.evaluate_only(config, workdir)["metrics"] == result["metrics"]

    report = (workdir / "report.html").read_text()
    assert "Distances" in report and "found" in report
    assert np.load(workdir / "predictions.npz")["middles"].shape == (8, 2)
    for name in ("training_batch.png", "pictures/best.png", "pictures/worst.png"):
        assert (workdir / name).stat().st_size > 0

    (image,) = [image for image in Blobs(num_blobs=16).images("train") if image.id == "0"]
    poses = PoseEstimator.from_checkpoint(workdir)(image.read())
    assert poses.names == ("middle",) and poses.joints.shape == (1, 1, 2)
    assert (poses.joints >= 0).all() and (poses.joints <= SIDE).all()


def test_its_section_of_the_config_is_checked(registered, tmp_path):
    config = blob_config(tmp_path)
    config.mass.sharpness = -1
    with pytest.raises(UserError, match=r"config\.mass\.sharpness=-1\.0 must be a number above 0"):
        train.train_and_evaluate(config, tmp_path / "run")
