"""The networks, by their names in configs and checkpoints.

Each network is a Flax module in a separate file that follows `network.Network`, and a line in
`NETWORKS`.
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

# "module:class", imported on first use, or the class itself.
NETWORKS: dict[str, str | type[Network]] = {
    "stacked_hourglass": "hourglass_jax.nn.stacked_hourglass:StackedHourglass",
    "hourglass104": "hourglass_jax.nn.hourglass104:Hourglass104",
    "pose_ae": "hourglass_jax.nn.pose_ae:PoseAE",
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
      options: fields of the config's `model` that only this network has; defaults are the paper's.
      heads: name -> `tasks.base.Head`; their channels, in order, are the output channels.
      dtype: dtype of the computation.
      remat: recompute parts in the backward pass instead of keeping their activations.
      normalisation: normalisation of the input, which the network stores and its caller applies.

    Raises:
      UserError: the network, an option, an option's value or a head is not supported.
    """
    kind = network_class(name)
    checked = rules.section(kind.Options, options, "model.")
    return kind.from_options(
        checked, heads, dtype=jnp.dtype(dtype), remat=remat, normalisation=normalisation
    )


def differences(network: Network, other: Network) -> list[str]:
    """Returns the options of `network` that `other` lacks or has with another value.

    They are written as fields of a config: "model.features=256".
    """
    names = rules.names(network.Options)
    values = {name: getattr(network, name) for name in names if hasattr(network, name)}
    missing = object()
    return [
        f"model.{name}={value}"
        for name, value in values.items()
        if getattr(other, name, missing) != value
    ]
