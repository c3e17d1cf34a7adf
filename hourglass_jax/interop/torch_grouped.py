"""Converts the tensors of published networks of associative embedding.

princeton-vl/pose-ae-train has 68 outputs, of which no loss and no test reads the last 34; they do
feed the next stack. mmpose's `HourglassAENet` has 34, BatchNorm instead of biases, and takes images
normalised as for ImageNet.
"""

import re

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from hourglass_jax import nn, tasks
from hourglass_jax.data.skeleton import Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.interop import torch_tensors
from hourglass_jax.interop.torch_tensors import StateDict
from hourglass_jax.nn.network import Normalisation
from hourglass_jax.nn.pose_ae import PoseAE
from hourglass_jax.tasks.base import Task

INPUT_SIZE = 512  # px
IMAGENET = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
_PREFIX = r"((?:model\.|module\.|backbone\.)*)"
_INSIDE = r"\.\d+\.0\.(?:low2\.)*(?:up1|low1|low3)\.conv\."
_PRINCETON = re.compile(rf"{_PREFIX}features{_INSIDE}")
_MMPOSE = re.compile(rf"{_PREFIX}hourglass_modules{_INSIDE}")
_STEM = (0, 1, 3, 4)  # 2 is the pooling


def recognises(state_dict: StateDict) -> bool:
    """Returns whether the tensors are those of a network that this module converts."""
    return any(_PRINCETON.match(name) or _MMPOSE.match(name) for name in state_dict)


def from_state_dict(state_dict: StateDict) -> tuple[PoseAE, dict, Normalisation]:
    """Converts a published network; see `torch_weights.from_state_dict`."""
    names = _Names(state_dict)
    model = names.model()
    needed = flatten_dict(nn.variable_shapes(model))
    tensors = {path: names.tensor(*path[1:]) for path in needed}
    known = set(tensors.values())
    known |= {f"{t.rpartition('.')[0]}.num_batches_tracked" for t in known if "running" in t}
    for name in state_dict:
        if name not in known:
            raise UserError(
                f"Tensor {name!r} has no place in this network, which by the other names has "
                f"{model.num_stacks} stacks of order {model.order} and {model.features} features."
            )
    variables = {
        path: torch_tensors.convert(state_dict, tensors[path], like)
        for path, like in needed.items()
    }
    return model, {"batch_stats": {}, **unflatten_dict(variables)}, model.normalisation


def task(model: PoseAE, skeleton: Skeleton) -> Task:
    """Returns the task of a published network, whose heatmaps are of the skeleton's joints."""
    settings = {
        "options": {"published": True, "variant": "higher_hrnet" if model.batch_norm else "newell"},
        "skeleton": skeleton.to_json(),
        "unused": model.heads.get("unused", 0),
        "stride": model.stride,
        "input_size": INPUT_SIZE,
        "resolution": INPUT_SIZE,
    }
    return tasks.from_settings("grouped_pose", settings)


class _Names:
    """The published names of a network's tensors, and what these say of the network."""

    def __init__(self, state_dict: StateDict):
        self._tensors = state_dict
        found = [_MMPOSE.match(name) for name in state_dict]
        self._mmpose = any(found)
        if not self._mmpose:
            found = [_PRINCETON.match(name) for name in state_dict]
        self._prefix = next(match for match in found if match)[1]
        names = {
            "stem": ("pre", "stem"),
            "hourglass": ("features", "hourglass_modules"),
            "outputs": ("outs", "out_convs"),
            "merge_features": ("merge_features", "remap_feature_convs"),
            "merge_outputs": ("merge_preds", "remap_out_convs"),
        }
        self._names = {
            name: f"{self._prefix}{published[self._mmpose]}" for name, published in names.items()
        }

    def model(self) -> PoseAE:
        """Returns the network that the names and shapes describe."""
        hourglass = self._names["hourglass"]
        order = 1
        while f"{hourglass}.0.0{order * '.low2'}.up1.conv.weight" in self._tensors:
            order += 1
        stacks = {
            match[1]
            for name in self._tensors
            if (match := re.match(rf"{re.escape(hourglass)}\.(\d+)\.", name))
        }
        up, low = (self._outputs_of(f"{hourglass}.0.0.{place}.conv") for place in ("up1", "low1"))
        channels = torch_tensors.channels(self._tensors, f"{self._names['outputs']}.0.conv.bias")
        parts = 2 if self._mmpose else 4  # as many channels as joints in each
        if channels % parts or low < up:
            raise UserError(
                f"The state dict is not one of a network with tags: {channels} outputs are not "
                f"{parts} times as many as joints, or {low} features inside its hourglasses are "
                f"fewer than {up} around them."
            )
        joints = channels // parts
        heads = {"heatmaps": joints, "tags": joints}
        return PoseAE(
            heads=heads if self._mmpose else {**heads, "unused": 2 * joints},
            num_stacks=max(len(stacks), 1),
            order=order,
            features=up,
            growth=low - up,
            stem_features=self._outputs_of(f"{self._names['stem']}.0.conv"),
            batch_norm=self._mmpose,
            normalisation=IMAGENET if self._mmpose else Normalisation(),
        )

    def _outputs_of(self, convolution: str) -> int:
        """Returns the number of output channels of a convolution."""
        return np.shape(torch_tensors.get(self._tensors, f"{convolution}.weight"))[0]

    def tensor(self, *path: str) -> str:
        """Returns the tensor that becomes a variable."""
        *modules, leaf = path
        return f"{self._module(*modules)}.{torch_tensors.LEAVES[leaf]}"

    def _module(self, *path: str) -> str:
        match path:
            case "stem", block, layer:
                return f"{self._names['stem']}.{_STEM[_index(block)]}.{layer}"
            case stack, "hourglass", *places, layer:
                inside = ".".join(place.replace("up", "up1") for place in places)
                return f"{self._names['hourglass']}.{_index(stack)}.0.{inside}.{layer}"
            case stack, ("block0" | "block1") as block, layer:
                place = _index(block) + 1
                return f"{self._names['hourglass']}.{_index(stack)}.{place}.{layer}"
            case stack, "outputs":
                return f"{self._names['outputs']}.{_index(stack)}.conv"
            case stack, merge:
                name = f"{self._names[merge.removesuffix('_bn')]}.{_index(stack)}"
                if merge.endswith("_bn"):
                    return f"{name}.bn"
                return f"{name}.conv" if self._mmpose else f"{name}.conv.conv"
        raise ValueError(f"the network has no module {'/'.join(path)}")


def _index(name: str) -> int:
    return int(re.findall(r"\d+$", name)[0])
