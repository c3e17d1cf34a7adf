"""The networks that have a name, for `config.model.preset` and for programs."""

from typing import Any

from hourglass_jax import rules
from hourglass_jax.errors import UserError
from hourglass_jax.nn import hourglass104, pose_ae, stacked_hourglass

_BY_NETWORK = {
    "stacked_hourglass": stacked_hourglass.PRESETS,
    "hourglass104": hourglass104.PRESETS,
    "pose_ae": pose_ae.PRESETS,
}
# Name -> options of the network.
PRESETS: dict[str, dict[str, Any]] = {
    name: options for presets in _BY_NETWORK.values() for name, options in presets.items()
}


def network_of(preset: str) -> str:
    """Returns the name in `NETWORKS` of the network that a preset is for.

    Raises:
      UserError: there is no such preset.
    """
    for network, presets in _BY_NETWORK.items():
        if preset in presets:
            return network
    hint = rules.did_you_mean(preset, PRESETS) or f"; it must be one of {', '.join(PRESETS)}"
    raise UserError(f"unknown preset config.model.preset={preset!r}{hint}")
