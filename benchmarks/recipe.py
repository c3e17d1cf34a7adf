"""The network and the training step of configs/mpii.py: what several benchmarks measure."""

import pathlib
import sys
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import jax
from alternate import random_batch
from jax.sharding import Mesh

from hourglass_jax import config_files, nn
from hourglass_jax.checkpoint.state import TrainState, create_train_state, state_shapes
from hourglass_jax.config import Config
from hourglass_jax.data.skeleton import MPII
from hourglass_jax.runtime import sharding
from hourglass_jax.tasks.single_pose.task import SinglePose
from hourglass_jax.training.optimizer import create_optimizer
from hourglass_jax.training.step import make_train_step


class Recipe:
    """What configs/mpii.py trains, without its data.

    Attributes:
      config: with the fields that were asked for.
      task: of MPII's joints.
      model: the network.
      mesh: that the step runs on.
    """

    def __init__(self, mesh: Mesh, **fields):
        """Makes the parts; `fields` are those of the config's `model` that differ."""
        values = config_files.load("mpii")
        values.model.update(fields)
        self.config, self.mesh, self.task = Config.from_dict(values), mesh, SinglePose(MPII)
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
        arrays = random_batch(1, self.config.model.input_size)
        batch = {
            name: jax.ShapeDtypeStruct((batch_size, *array.shape[1:]), array.dtype)
            for name, array in arrays.items()
        }
        return state, sharding.with_sharding(batch, self.mesh, sharding.SHARDED)
