"""Fine-tuning: what of a trained network a new one begins with, and what of it stays as it is."""

import dataclasses
import fnmatch
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Head

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class _Row:
    loaded: int = 0
    new: int = 0

    def __str__(self):
        if not self.new:
            return f"loaded ({self.loaded} arrays)"
        if not self.loaded:
            return f"new ({self.new} arrays)"
        return f"{self.loaded} arrays loaded, {self.new} new"


def warm_start(
    variables: dict,
    heads: Mapping[str, Head],
    source: dict,
    source_heads: Mapping[str, Head],
    model: Any,
    where: str,
) -> tuple[dict, str]:
    """Returns variables with all that a trained network has of the same name and shape.

    Output channels are matched one by one: those of the same head and name keep their weights.
    BatchNorm's statistics come along. Stacks, channels and widths that the trained network does not
    have stay as they were.

    Args:
      variables: of the new network, {"params", "batch_stats"}.
      heads: of the new network's task.
      source: the trained network's variables.
      source_heads: of the trained network's task.
      model: the new network; its `channel_axes` says where the output channels are.
      where: the trained network's place, for messages.

    Returns:
      the variables, and a table of what was loaded and what is new.

    Raises:
      UserError: nothing matches.
    """
    ours: dict[tuple[str, ...], Any] = flatten_dict(variables)
    theirs: dict[tuple[str, ...], Any] = flatten_dict(source)
    channels, source_channels = _channels(heads), _channels(source_heads)
    pairs = [
        (i, source_channels.index(channel))
        for i, channel in enumerate(channels)
        if channel in source_channels
    ]
    rows: dict[str, _Row] = {}
    outputs_loaded = False
    for path, value in ours.items():
        row = rows.setdefault(_part(path, model.channel_axes), _Row())
        found = theirs.get(path)
        axis = model.channel_axes.get(path[-2:])
        if found is not None and axis is not None:
            kernel = (*path[:-1], "kernel")  # without it, biases say nothing
            if np.shape(ours[kernel])[2:3] == np.shape(theirs[kernel])[2:3] or path == kernel:
                found = _by_channel(np.array(value), np.asarray(found), axis, pairs)
            else:
                found = None
            outputs_loaded |= found is not None
        if found is None or np.shape(found) != np.shape(value):
            row.new += 1
        else:
            row.loaded += 1
            ours[path] = found
    # Biases of outputs have no other axis than the channels: they fit any network.
    outputs = {_part(path, model.channel_axes) for path in ours if path[-2:] in model.channel_axes}
    if not any(row.loaded for part, row in rows.items() if part not in outputs):
        raise UserError(
            f"config.init_from={where}: nothing in it has the name and shape of anything in this "
            f"network; take a checkpoint of the same model.features and model.stem_features"
        )
    lines = [f"{part:24}{row}" for part, row in rows.items()]
    if outputs_loaded:
        new = [name for head, name in channels if (head, name) not in source_channels]
        lines.append(
            f"{'outputs':24}{len(pairs)} of {len(channels)} keep the weights of their name"
            + (f"; new: {', '.join(new)}" if new else "")
        )
    return unflatten_dict(ours), "\n".join(lines)


def _channels(heads: Mapping[str, Head]) -> list[tuple[str, str]]:
    """Returns (head, channel) of each output channel, in order."""
    return [(name, channel) for name, head in heads.items() for channel in head.channels]


def _part(path: tuple[str, ...], channel_axes: Mapping[tuple[str, str], int]) -> str:
    """Returns the line of the table that an array belongs to: a module, or a large part of it."""
    _, first, *rest = path
    apart = {"hourglass", *(module for module, _ in channel_axes)}
    return f"{first}/{rest[0]}" if rest and rest[0] in apart else first


def _by_channel(ours: np.ndarray, theirs: np.ndarray, axis: int, pairs) -> np.ndarray | None:
    """Ours with the slices of the channels that both have; None where the rest differs in shape."""
    others = [np.delete(x.shape, axis).tolist() for x in (ours, theirs)]
    if others[0] != others[1] or not pairs:
        return None
    ours, theirs = np.moveaxis(ours, axis, 0).copy(), np.moveaxis(theirs, axis, 0)
    for mine, other in pairs:
        ours[mine] = theirs[other]
    return np.moveaxis(ours, 0, axis)


def with_rates(
    optimizer: optax.GradientTransformation,
    freeze: Sequence[str],
    multipliers: Sequence[str],
    params: dict,
) -> optax.GradientTransformation:
    """Returns the optimizer with some parameters left as they are and others slowed or hastened.

    Args:
      optimizer: of all parameters.
      freeze: patterns of paths, e.g. "stem/*" or "stack0/hourglass/*"; `*` also spans slashes.
      multipliers: "pattern=factor" of the learning rate; the first that fits counts.
      params: of the network, to check that each pattern fits something.

    Raises:
      UserError: a pattern fits nothing, or a factor is none.
    """
    rules = [(pattern, 0.0) for pattern in freeze] + [_rule(text) for text in multipliers]
    paths = ["/".join(path) for path in flatten_dict(params)]
    for pattern, _ in rules:
        if not any(fnmatch.fnmatchcase(path, pattern) for path in paths):
            raise UserError(
                f"the pattern {pattern!r} fits no parameter; paths are such as {paths[0]!r} and "
                f"{paths[-1]!r}"
            )
    if not rules:
        return optimizer

    def factor(path, update):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        fits = (f for pattern, f in rules if fnmatch.fnmatchcase(name, pattern))
        return update * next(fits, 1.0)

    scale = optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(factor, updates))
    return optax.chain(optimizer, scale)


def _rule(text: str) -> tuple[str, float]:
    pattern, _, factor = text.rpartition("=")
    try:
        number = float(factor)
    except ValueError:
        number = -1.0
    if not pattern or not 0 <= number < float("inf"):
        raise UserError(
            f"config.optimizer.multipliers: {text!r} is not pattern=factor, such as 'stem/*=0.1'"
        )
    return pattern, number
