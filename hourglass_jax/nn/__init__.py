"""The networks, by the names that configs and checkpoints call them.

A network is a Flax module in a file of its own, as `network.Network` describes it, and a line here.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from hourglass_jax import rules
from hourglass_jax.errors import UserError
from hourglass_jax.nn.layers import DECAY as DECAY
from hourglass_jax.nn.network import Network as Network
from hourglass_jax.nn.network import Normalisation as Normalisation
from hourglass_jax.nn.network import forward as forward
from hourglass_jax.nn.network import init_variables as init_variables
from hourglass_jax.nn.network import output_layers as output_layers
from hourglass_jax.nn.network import variable_shapes as variable_shapes

# "module:class", imported when it is asked for, or the class itself.
NETWORKS: dict[str, str | type[Network]] = {
    "stacked_hourglass": "hourglass_jax.nn.stacked_hourglass:StackedHourglass",
}


def network_class(name: str) -> type[Network]:
    """Returns the class of a network; raises UserError for a name that is not in `NETWORKS`."""
    if name not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise UserError(f"unknown network config.model.network={name!r}; it must be one of {known}")
    network = NETWORKS[name]
    if not isinstance(network, str):
        return network
    module, _, attribute = network.partition(":")
    return getattr(importlib.import_module(module), attribute)


def make_network(
    name: str,
    options: Mapping[str, Any],
    heads: Mapping[str, Any],
    *,
    dtype: Any = "float32",
    remat: bool = False,
    normalisation: Normalisation = Normalisation(),
) -> Network:
    """Makes a network from a config or a checkpoint.

    Args:
      name: one of `NETWORKS`.
      options: the fields of the config's `model` that only this network has; those left out are
        the paper's.
      heads: name -> `tasks.base.Head`; their channels are those of the outputs, in order.
      dtype: of the computation.
      remat: recompute parts in the backward pass instead of keeping their activations.
      normalisation: of the input; the network carries it, its caller applies it.

    Raises:
      UserError: names an unknown network or option, a value that is not allowed, or a head that
        this network cannot have.
    """
    kind = network_class(name)
    checked = rules.section(kind.Options, options, "model.")
    return kind.from_options(
        checked, heads, dtype=jnp.dtype(dtype), remat=remat, normalisation=normalisation
    )
