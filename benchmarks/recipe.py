"""Networks and their training steps, without data: what several benchmarks measure."""

import pathlib
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import jax
import numpy as np
from alternate import random_batch
from jax.sharding import Mesh
from ml_collections import ConfigDict

from hourglass_jax import config_files, nn, tasks
from hourglass_jax.checkpoint.state import TrainState, create_train_state, state_shapes
from hourglass_jax.config import Config
from hourglass_jax.data.base import AnnotatedImage, Annotation
from hourglass_jax.data.coco.categories import CATEGORIES, CATEGORY_IDS
from hourglass_jax.data.skeleton import MPII, Skeleton
from hourglass_jax.nn.presets import PRESETS, network_of
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks.base import Task
from hourglass_jax.tasks.single_pose.task import SinglePose
from hourglass_jax.training.optimizer import create_optimizer
from hourglass_jax.training.step import make_train_step


class Recipe:
    """What configs/mpii.py trains, without its data.

    Attributes:
      config: with the fields that were asked for.
      task: of MPII's joints, or of COCO's boxes.
      model: the network.
      mesh: that the step runs on.
    """

    def __init__(self, mesh: Mesh, optimizer: str = "", **fields):
        """Makes the parts; `fields` are those of the config's `model` that differ."""
        values = config_files.load("mpii")
        values.model.update(fields)
        values.optimizer.name = optimizer or values.optimizer.name
        self._make(mesh, values, SinglePose(MPII))

    def _make(self, mesh: Mesh, values: ConfigDict, task: Task) -> None:
        self.config, self.mesh, self.task = Config.from_dict(values), mesh, task
        network = self.config.model
        self.model = nn.make_network(
            network.network,
            network.options,
            self.task.heads,
            dtype=network.dtype,
            remat=network.remat,
        )
        self._optimizer, _ = create_optimizer(
            self.config.optimizer, self.config.num_steps, nn.output_layers(self.model)
        )

    def variables(self) -> dict:
        """Returns the network's first variables."""
        return nn.init_variables(self.model, self.config.seed)

    def first_state(self) -> TrainState:
        """Returns the state before the first step, on the mesh."""
        state = create_train_state(self.variables(), self._optimizer)
        return sharding.replicate(state, self.mesh)

    def step(self, **options) -> Callable:
        """Returns the training step; options are those of `make_train_step`."""
        return make_train_step(self.model, self.task, self._optimizer, self.mesh, **options)

    def shapes(self, batch_size: int) -> tuple[TrainState, dict[str, jax.ShapeDtypeStruct]]:
        """Returns what the step's arguments look like, to compile it for them."""
        state = state_shapes(nn.variable_shapes(self.model), self._optimizer, self.mesh)
        batch = {
            name: jax.ShapeDtypeStruct((batch_size, *array.shape[1:]), array.dtype)
            for name, array in self.example().items()
        }
        return state, sharding.with_sharding(batch, self.mesh, sharding.SHARDED)

    def example(self) -> dict[str, np.ndarray]:
        """Returns a training batch of one image."""
        return random_batch(1, self.config.model.input_size)


class Detector(Recipe):
    """A detector of COCO's categories: a preset with the corners of CornerNet, or with centres."""

    def __init__(self, mesh: Mesh, preset: str, **fields):
        """Makes the parts; `fields` are those of the config's `model` besides the preset's."""
        values = config_files.load("default")
        values.model = {"network": network_of(preset), **PRESETS[preset], **fields}
        values.optimizer.update({"name": "adam", "learning_rate": 2.5e-4})  # as published
        side, stride = fields["input_size"], PRESETS[preset].get("stride", 4)
        settings = {
            "options": {"kind": "corners" if preset.startswith("cornernet") else "centres"},
            "categories": CATEGORIES,
            "category_ids": CATEGORY_IDS,
            "skeleton": Skeleton("none", (), (), ()).to_json(),
            "stride": side / -(-side // stride),
            "resolution": side,
        }
        self._make(mesh, values, tasks.from_settings("detection", settings))

    def example(self) -> dict[str, np.ndarray]:
        """Returns a training batch of one image, which has one box."""
        side = self.config.model.input_size
        image = np.zeros((side, side, 3), np.uint8)
        half, quarter = side / 2, side / 4
        box = Annotation("0", np.array([half, half]), half, (quarter, quarter, half, half))
        ((_, record),) = self.task.records(AnnotatedImage("0", "0", lambda: image, [box]))
        size = side, side
        targets = self.task.targets(record, self.task.view(record, None, size), size)
        return {"image": image[None], **{name: array[None] for name, array in targets.items()}}
