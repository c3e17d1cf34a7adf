"""The state of training, which checkpoints save."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array

from hourglass_jax.runtime import sharding


@flax.struct.dataclass
class TrainState:
    """Everything that training changes.

    Attributes:
      step: number of updates done.
      params: parameters of the network.
      batch_stats: BatchNorm's running statistics.
      opt_state: state of the optimizer.
      ema: averages of params and batch_stats over past steps, which are evaluated instead of them;
        None if the run does not average.
    """

    step: Array
    params: Any
    batch_stats: Any
    opt_state: optax.OptState
    ema: Any = None

    @property
    def evaluated(self) -> dict:
        """The variables to evaluate: the averages if there are any."""
        return self.ema or {"params": self.params, "batch_stats": self.batch_stats}


def create_train_state(
    variables: dict, optimizer: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
    """Makes the state before the first update, with averages if `ema`."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(variables["params"]),
        ema={key: variables[key] for key in ("params", "batch_stats")} if ema else None,
    )


def state_shapes(
    variables: dict, optimizer: optax.GradientTransformation, mesh: Mesh, *, ema: bool = False
) -> TrainState:
    """Returns the shapes of `create_train_state(variables, ...)`, replicated over the mesh."""
    shapes = jax.eval_shape(lambda v: create_train_state(v, optimizer, ema=ema), variables)
    return sharding.with_sharding(shapes, mesh, sharding.REPLICATED)
