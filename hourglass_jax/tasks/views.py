"""Several views of one input (plain, mirrored, scaled), and their combination by a task."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hourglass_jax.image import geometry
from hourglass_jax.image.geometry import Affine
from hourglass_jax.nn.network import Network
from hourglass_jax.tasks.base import Candidates, Instance, Task

Outputs = Float[Array, "batch stacks h w channels"]
_PLAIN = np.eye(2, 3)


def sides_of(model: Network, input_size: int, scales: Sequence[float]) -> list[int]:
    """Returns the sides of a network's inputs at several scales, px."""
    return [model.valid_size(*[round(scale * input_size)] * 2)[0] for scale in scales]


def plain(
    predict: Callable[[Float[Array, "batch height width 3"]], Outputs],
    inputs: Float[Array, "batch height width 3"],
    *,
    scale: Affine = _PLAIN,
) -> list[tuple[Outputs, Affine]]:
    """Returns the outputs for the plain view only; see `flip_test`."""
    return [(predict(inputs), scale)]


def flip_test(
    predict: Callable[[Float[Array, "twice height width 3"]], Outputs],
    inputs: Float[Array, "batch height width 3"],
    *,
    scale: Affine = _PLAIN,
) -> list[tuple[Outputs, Affine]]:
    """Returns the outputs for inputs and for their mirror images, each with the view's map.

    Args:
      predict: the network; called once, with both views in one batch, so that XLA compiles it only
        once.
      inputs: inputs of the plain view.
      scale: map from the plain input to `inputs`.
    """
    plain, mirrored = jnp.split(predict(jnp.concatenate([inputs, jnp.flip(inputs, axis=-2)])), 2)
    mirror = geometry.compose(geometry.mirror(inputs.shape[2]), scale)
    return [(plain, scale), (mirrored, mirror)]


def merge(task: Task, views: Sequence[tuple[Outputs, Affine]]) -> list[tuple[Outputs, Affine]]:
    """Returns several views merged into one, or unchanged if the task combines them in `finish`."""
    if len(views) == 1:
        return list(views)
    batch, stacks = views[0][0].shape[:2]
    flat = [(x.reshape(batch * stacks, *x.shape[2:]), affine) for x, affine in views]
    merged = task.merge(flat)
    if merged is None:
        return list(views)
    return [(merged.reshape(batch, stacks, *merged.shape[1:]), _PLAIN)]


def decode(task: Task, views: Sequence[tuple[Outputs, Affine]]) -> tuple[Candidates, ...]:
    """Returns the candidates of every stack, [batch, stacks, ...], for each view."""

    def decoded(outputs):
        batch, stacks = outputs.shape[:2]
        candidates = task.decode(outputs.reshape(batch * stacks, *outputs.shape[2:]))
        return jax.tree.map(lambda x: x.reshape(batch, stacks, *x.shape[1:]), candidates)

    return tuple(decoded(outputs) for outputs, _ in views)


def maps_of(size: tuple[int, int], flip: bool, scale: Affine = _PLAIN) -> list[Affine]:
    """Returns the maps from inputs of `size` (height, width) to their views."""
    mirror = geometry.compose(geometry.mirror(size[1]), scale)
    return [scale, mirror] if flip else [scale]


def finish(
    task: Task, candidates: Sequence[Candidates], views: Sequence[Affine], to_frame: Affine
) -> list[Instance]:
    """Makes instances from one record's candidates after one stack; see `placed`."""
    return task.finish(placed(candidates, views, to_frame))


def placed(
    candidates: Sequence[Candidates], views: Sequence[Affine], to_frame: Affine
) -> list[tuple[Candidates, Affine]]:
    """Returns one record's candidates with the maps from their views to a frame.

    Args:
      candidates: NumPy candidates of each view, without the batch and stack axes.
      views: maps from the plain input to each view.
      to_frame: map from the plain input to the target frame.
    """
    left = views if len(candidates) == len(views) else [_PLAIN]  # the latter: merged
    return [
        (found, _from_view(view, to_frame)) for found, view in zip(candidates, left, strict=True)
    ]


def _from_view(view: Affine, to_frame: Affine) -> Affine:
    if np.array_equal(view, _PLAIN):
        return to_frame
    return geometry.compose(to_frame, geometry.invert(view))
