"""Published PyTorch networks, turned into ours: names and layouts of their tensors.

Two families have the paper's network in the paper's form:

- "PoseNet" of princeton-vl/pytorch_stacked_hourglass, by the paper's group;
- "hg" of bearpaw/pytorch-pose, and anibali/pytorch-stacked-hourglass, which has the same names.

What the network is (stacks, widths, order, ...) is read from the names and shapes of the tensors.
Every parameter of ours is then looked up under the name that the family gives it, so that a tensor
too many, too few or of another shape is an error and not a network that predicts nonsense.
"""

import re
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from hourglass_jax.errors import UserError
from hourglass_jax.model import Normalisation, StackedHourglass

# The hourglasses are what no other network has: "hgs.<stack>..." or "hg.<stack>...". DataParallel
# puts "module." in front of every name, and the Princeton trainer "model." in front of that.
_HOURGLASS = re.compile(r"((?:model\.|module\.)*)(hgs?)\.\d+\.")

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


class _Princeton:
    """Names of `PoseNet`: an inner hourglass lies inside the `low2` of the outer one."""

    normalisation = Normalisation()
    stem = "paper"
    stem_conv, first_features, first_heatmaps = "pre.0.conv", "features.0.1.conv", "outs.0.conv"

    def __init__(self, names: Iterable[str]):
        paths = [name.split(".") for name in names if name.startswith("hgs.")]
        self.num_stacks = _count(path[1] for path in paths)
        self.order = max(1, *(path.count("low2") for path in paths))
        self.num_residuals = 1

    def name(self, *path: str) -> str:
        match path:
            case "stem", "conv" | "bn" as layer:
                return f"pre.0.{layer}"
            case "stem", residual, layer:  # pre.2 is the pooling
                place = {"residual1": 1, "residual2": 3, "residual3": 4}[residual]
                return f"pre.{place}.{self._layer(layer)}"
            case stack, "hourglass", *places, _, layer:
                inside = ".".join(place.replace("up", "up1") for place in places)
                return f"hgs.{_index(stack)}.0.{inside}.{self._layer(layer)}"
            case stack, "out", _, layer:
                return f"features.{_index(stack)}.0.{self._layer(layer)}"
            case stack, layer:
                place = {
                    "conv": "features.{}.1.conv",
                    "bn": "features.{}.1.bn",
                    "heatmaps": "outs.{}.conv",
                    "merge_features": "merge_features.{}.conv.conv",
                    "merge_heatmaps": "merge_preds.{}.conv.conv",
                }[layer]
                return place.format(_index(stack))

    def _layer(self, layer: str) -> str:
        if layer.startswith("bn"):
            return layer
        return "skip_layer.conv" if layer == "skip" else f"{layer}.conv"

    def unused(self, *path: str) -> Iterable[str]:
        """The skip convolution that every residual has, also where the forward pass adds `x`."""
        if path[-1] == "conv1":
            skip = self.name(*path[:-1], "skip")
            yield f"{skip}.weight"
            yield f"{skip}.bias"


class _Bearpaw:
    """Names of `hg`: the levels of an hourglass lie in one list, the innermost first."""

    normalisation = Normalisation(mean=(0.4404, 0.4440, 0.4327))  # MPII's; nothing is divided
    stem = "bearpaw"
    stem_conv, first_features, first_heatmaps = "conv1", "fc.0.0", "score.0"

    def __init__(self, names: Iterable[str]):
        # hg.<stack>.hg.<level>.<place>.<residual>...
        paths = [path for name in names if len(path := name.split(".")) > 5 and path[0] == "hg"]
        self.num_stacks = _count(path[1] for path in paths)
        self.order = _count(path[3] for path in paths)
        self.num_residuals = _count(path[5] for path in paths)

    def name(self, *path: str) -> str:
        match path:
            case "stem", "conv" | "bn" as layer:
                return f"{layer}1"
            case "stem", residual, layer:
                return f"layer{_index(residual)}.0.{self._layer(layer)}"
            case stack, "hourglass", *outer, place, residual, layer:
                # Each "low2" on the way goes one level down, but the last of them is a place.
                level = self.order - 1 - len(outer)
                place = {"up": 0, "low1": 1, "low3": 2, "low2": 3}[place]
                inside = f"{level}.{place}.{_index(residual)}.{self._layer(layer)}"
                return f"hg.{_index(stack)}.hg.{inside}"
            case stack, "out", residual, layer:
                return f"res.{_index(stack)}.{_index(residual)}.{self._layer(layer)}"
            case stack, layer:
                place = {
                    "conv": "fc.{}.0",
                    "bn": "fc.{}.1",
                    "heatmaps": "score.{}",
                    "merge_features": "fc_.{}",
                    "merge_heatmaps": "score_.{}",
                }[layer]
                return place.format(_index(stack))

    def _layer(self, layer: str) -> str:
        return "downsample.0" if layer == "skip" else layer

    def unused(self, *path: str) -> Iterable[str]:
        return ()


def from_state_dict(
    state_dict: Mapping[str, np.ndarray],
) -> tuple[StackedHourglass, dict, Normalisation]:
    """Turns the tensors of a published network into ours.

    Args:
      state_dict: name to array, as PyTorch saves them: convolutions [out, in, height, width]. The
        prefixes "model." and "module." are stripped, and `num_batches_tracked` is dropped.

    Returns:
      The model, its `variables` = {"params", "batch_stats"} as float32 NumPy arrays, convolutions
      [height, width, in, out], and what these weights expect to be taken from a picture.

    Raises:
      UserError: the tensors are those of another network. Names the first one that is missing, has
        another shape than the rest implies, or is unexpected.
    """
    prefix, family = _recognise(state_dict)
    model = StackedHourglass(
        num_stacks=family.num_stacks,
        num_joints=_channels(state_dict, f"{prefix}{family.first_heatmaps}.bias"),
        features=_channels(state_dict, f"{prefix}{family.first_features}.bias"),
        order=family.order,
        num_residuals=family.num_residuals,
        stem=family.stem,
        stem_features=_channels(state_dict, f"{prefix}{family.stem_conv}.bias"),
    )
    side = 4 * 2**model.order
    picture = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    needed = flatten_dict(jax.eval_shape(model.init, jax.random.key(0), picture))

    variables, known = {}, set()
    for (collection, *path, leaf), like in needed.items():
        module = prefix + family.name(*path)
        name = f"{module}.{_LEAVES[leaf]}"
        variables[collection, *path, leaf] = _convert(state_dict, name, like)
        known |= {name, *(prefix + unused for unused in family.unused(*path))}
        if collection == "batch_stats":
            known.add(f"{module}.num_batches_tracked")
    for name in state_dict:
        if name not in known:
            raise UserError(f"Tensor {name!r} of the state dict has no place in {model}.")
    return model, unflatten_dict(variables), family.normalisation


def _recognise(state_dict):
    for name in state_dict:
        if found := _HOURGLASS.match(name):
            prefix, hourglass = found.groups()
            family = {"hgs": _Princeton, "hg": _Bearpaw}[hourglass]
            return prefix, family([n.removeprefix(prefix) for n in state_dict])
    first = f"it starts with {next(iter(state_dict))!r}" if state_dict else "it is empty"
    raise UserError(
        "The state dict is neither of princeton-vl/pytorch_stacked_hourglass nor of "
        f"bearpaw/pytorch-pose, whose hourglasses are called 'hgs.0...' and 'hg.0...': {first}."
    )


def _get(state_dict, name):
    if name not in state_dict:
        raise UserError(f"The state dict lacks tensor {name!r}; is the file complete?")
    return np.asarray(state_dict[name])


def _channels(state_dict, name):
    bias = _get(state_dict, name)
    if bias.ndim != 1 or not bias.size:
        raise UserError(f"Tensor {name!r} has shape {bias.shape} and not one number a channel.")
    return bias.size


def _convert(state_dict, name, like):
    value = _get(state_dict, name)
    is_kernel = len(like.shape) == 4
    shape = tuple(like.shape[i] for i in (3, 2, 0, 1)) if is_kernel else like.shape
    if value.shape != shape:
        raise UserError(
            f"Tensor {name!r} has shape {value.shape}, and the others of the state dict imply "
            f"{shape}."
        )
    return np.array(value.transpose(2, 3, 1, 0) if is_kernel else value, like.dtype, order="C")


def _index(name: str) -> int:
    return int(re.search(r"\d+$", name)[0])


def _count(values: Iterable[str]) -> int:
    # At least one, so that a mutilated state dict still gets as far as naming what it lacks.
    return max(1, len(set(values)))
