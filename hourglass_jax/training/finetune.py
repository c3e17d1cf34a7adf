"""Fine-tuning: initialisation from a trained network, and learning rates per parameter."""

import dataclasses
import fnmatch
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from hourglass_jax import nn
from hourglass_jax.errors import UserError
from hourglass_jax.tasks.base import Head

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class _Row:
    loaded: int = 0
    new: int = 0
    other_shape: int = 0  # of the new ones

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
    source_model: Any,
    where: str,
) -> tuple[dict, str]:
    """Initialises a network with the arrays of a trained one that have the same name and shape.

    Output channels are matched one by one: those with the same head and name are loaded, too,
    where case, spaces and punctuation make no difference ("Left wrist" is "left_wrist"). So are
    BatchNorm's statistics. Everything else keeps its initial value.

    Args:
      variables: initial variables of the new network, {"params", "batch_stats"}.
      heads: heads of the new network's task.
      source: variables of the trained network.
      source_heads: heads of the trained network's task.
      model: the new network; its `channel_axes` locate the output channels.
      source_model: the trained network.
      where: location of the trained network, for messages.

    Returns:
      The variables, and a table of what was loaded and what is new.

    Raises:
      UserError: nothing matches.
    """
    arrays: dict[tuple[str, ...], Any] = flatten_dict(variables)
    source_arrays: dict[tuple[str, ...], Any] = flatten_dict(source)
    channels, source_channels = _channels(heads), _channels(source_heads)
    pairs = [
        (i, source_channels.index(channel))
        for i, channel in enumerate(channels)
        if channel in source_channels
    ]
    rows: dict[str, _Row] = {}
    outputs_loaded = False
    for path, value in arrays.items():
        row = rows.setdefault(_part(path, model.channel_axes), _Row())
        loaded = source_arrays.get(path)
        axis = model.channel_axes.get(path[-2:])
        if loaded is not None and axis is not None:
            kernel = (*path[:-1], "kernel")  # a bias is of no use without its kernel
            inputs = np.shape(arrays[kernel])[2:3], np.shape(source_arrays[kernel])[2:3]
            if inputs[0] == inputs[1] or path == kernel:
                loaded = _by_channel(np.array(value), np.asarray(loaded), axis, pairs)
            else:
                loaded = None
            outputs_loaded |= loaded is not None
        if loaded is None or np.shape(loaded) != np.shape(value):
            row.new += 1
            row.other_shape += loaded is not None
        else:
            row.loaded += 1
            arrays[path] = loaded
    # The outputs do not count: their biases fit any network.
    outputs = {
        _part(path, model.channel_axes) for path in arrays if path[-2:] in model.channel_axes
    }
    inner = {part: row for part, row in rows.items() if part not in outputs}
    other = ", ".join(nn.differences(source_model, model)) or "another structure"
    if not any(row.loaded for row in inner.values()):
        raise UserError(
            f"config.init_from={where}: nothing in it has the same name and shape as in this "
            f"network; it has {other}"
        )
    if partly := [part for part, row in inner.items() if row.loaded and row.other_shape]:
        logger.warning(
            "%s has %s, so that only parts of %s were loaded; set the same to load all of it",
            *(where, other, ", ".join(partly)),
        )
    lines = [f"{part:24}{row}" for part, row in rows.items()]
    if outputs_loaded:
        kept = {i for i, _ in pairs}
        names = [channel for head in heads.values() for channel in head.channels]
        new = [name for i, name in enumerate(names) if i not in kept]
        lines.append(
            f"{'outputs':24}{len(pairs)} of {len(channels)} loaded by name"
            + (f"; new: {', '.join(new)}" if new else "")
        )
    return unflatten_dict(arrays), "\n".join(lines)


def _channels(heads: Mapping[str, Head]) -> list[tuple[str, str]]:
    """Returns (head, channel) for each output channel, in order, with only letters and digits."""
    return [
        (name, re.sub(r"[\W_]", "", channel).lower() or channel)
        for name, head in heads.items()
        for channel in head.channels
    ]


def _part(path: tuple[str, ...], channel_axes: Mapping[tuple[str, str], int]) -> str:
    """Returns the table's row for an array: its module, or a large part of the module."""
    _, first, *rest = path
    apart = {"hourglass", *(module for module, _ in channel_axes)}
    return f"{first}/{rest[0]}" if rest and rest[0] in apart else first


def _by_channel(
    array: np.ndarray, source: np.ndarray, axis: int, pairs: Sequence[tuple[int, int]]
) -> np.ndarray | None:
    """Returns the array with matching channels from the source; None if other sides differ.

    Args:
      array: array of the new network.
      source: array of the trained network.
      axis: axis of the channels in both.
      pairs: indices of matching channels in `array` and `source`.
    """
    others = [np.delete(x.shape, axis).tolist() for x in (array, source)]
    if others[0] != others[1] or not pairs:
        return None
    array, source = np.moveaxis(array, axis, 0).copy(), np.moveaxis(source, axis, 0)
    for index, source_index in pairs:
        array[index] = source[source_index]
    return np.moveaxis(array, 0, axis)


def with_rates(
    optimizer: optax.GradientTransformation,
    freeze: Sequence[str],
    multipliers: Sequence[str],
    params: dict,
) -> optax.GradientTransformation:
    """Returns the optimizer with some parameters frozen, and other learning rates multiplied.

    Args:
      optimizer: optimizer of all parameters.
      freeze: patterns of parameter paths, such as "stem/*" or "stack0/hourglass/*"; `*` also
        matches slashes.
      multipliers: "pattern=factor" of the learning rate; the first matching pattern applies.
      params: parameters of the network, to check that each pattern matches.

    Raises:
      UserError: a pattern matches nothing, or a factor is invalid.
    """
    rules = rates_of(freeze, multipliers, params)
    if not rules:
        return optimizer

    def factor(path, update):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        matching = (f for pattern, f in rules if fnmatch.fnmatchcase(name, pattern))
        return update * next(matching, 1.0)

    scale = optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(factor, updates))
    return optax.chain(optimizer, scale)


def rates_of(
    freeze: Sequence[str], multipliers: Sequence[str], params: dict
) -> list[tuple[str, float]]:
    """Returns patterns of parameter paths with factors of the learning rate; see `with_rates`."""
    rules = [(pattern, 0.0) for pattern in freeze] + [_rule(text) for text in multipliers]
    paths = ["/".join(path) for path in flatten_dict(params)]
    for pattern, _ in rules:
        if not any(fnmatch.fnmatchcase(path, pattern) for path in paths):
            raise UserError(
                f"the pattern {pattern!r} matches no parameter; paths look like {paths[0]!r} or "
                f"{paths[-1]!r}"
            )
    return rules


def _rule(text: str) -> tuple[str, float]:
    pattern, _, factor = text.rpartition("=")
    try:
        number = float(factor)
    except ValueError:
        number = -1.0
    if not pattern or not 0 <= number < float("inf"):
        raise UserError(
            f"config.optimizer.multipliers: {text!r} must be pattern=factor, such as 'stem/*=0.1'"
        )
    return pattern, number
