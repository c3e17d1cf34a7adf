"""Fine-tuning: what of a trained network a new one begins with, and what of it stays as it is."""

import dataclasses
import fnmatch
import logging
from collections.abc import Sequence

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError

logger = logging.getLogger(__name__)
# Modules whose parameters have a joint along one axis, and which.
_JOINTS = {
    ("heatmaps", "kernel"): 3,
    ("heatmaps", "bias"): 0,
    ("merge_heatmaps", "kernel"): 2,
}


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
    variables: dict, skeleton: Skeleton, source: dict, source_skeleton: Skeleton, where: str
) -> tuple[dict, str]:
    """Returns variables with all that a trained network has of the same name and shape.

    Heatmaps are matched joint by joint: those of the same name keep their weights. BatchNorm's
    statistics come along. Stacks, joints and widths that the trained network does not have stay as
    they were.

    Args:
      variables: of the new network, {"params", "batch_stats"}.
      skeleton: of the new network.
      source: of the trained network.
      source_skeleton: of the trained network.
      where: the trained network's place, for messages.

    Returns:
      the variables, and a table of what was loaded and what is new.

    Raises:
      UserError: nothing matches.
    """
    ours, theirs = flatten_dict(variables), flatten_dict(source)
    pairs = [
        (skeleton.index(joint), source_skeleton.index(joint))
        for joint in skeleton.joints
        if joint in source_skeleton.joints
    ]
    rows: dict[str, _Row] = {}
    joints_loaded = False
    for path, value in ours.items():
        row = rows.setdefault(_part(path), _Row())
        found = theirs.get(path)
        axis = _JOINTS.get(path[-2:])
        if found is not None and axis is not None:
            kernel = (*path[:-1], "kernel")  # without it, biases say nothing
            if np.shape(ours[kernel])[2:3] == np.shape(theirs[kernel])[2:3] or path == kernel:
                found = _by_joint(np.array(value), np.asarray(found), axis, pairs)
            else:
                found = None
            joints_loaded |= found is not None and path[-2] == "heatmaps"
        if found is None or np.shape(found) != np.shape(value):
            row.new += 1
        else:
            row.loaded += 1
            ours[path] = found
    # Biases of heatmaps have no other axis than the joints: they fit any network.
    if not any(row.loaded for part, row in rows.items() if not part.endswith("/heatmaps")):
        raise UserError(
            f"config.init_from={where}: nothing in it has the name and shape of anything in this "
            f"network; take a checkpoint of the same model.features and model.stem_features"
        )
    lines = [f"{part:24}{row}" for part, row in rows.items()]
    if joints_loaded:
        new = [joint for joint in skeleton.joints if joint not in source_skeleton.joints]
        lines.append(
            f"{'joints':24}{len(pairs)} of {skeleton.num_joints} keep the weights of their name"
            + (f"; new: {', '.join(new)}" if new else "")
        )
    return unflatten_dict(ours), "\n".join(lines)


def _part(path: tuple[str, ...]) -> str:
    """The line of the table that an array belongs to."""
    _, first, *rest = path
    if rest and rest[0] in ("hourglass", "heatmaps", "merge_heatmaps"):
        return f"{first}/{rest[0]}"
    return first


def _by_joint(ours: np.ndarray, theirs: np.ndarray, axis: int, pairs) -> np.ndarray | None:
    """Ours with the slices of the joints that both have; None where the rest differs in shape."""
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
