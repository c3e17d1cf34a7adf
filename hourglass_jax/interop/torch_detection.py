"""Converts the tensors of published detectors: CornerNet, CornerNet-Squeeze and CenterNet.

princeton-vl/CornerNet and xingyizhou/CenterNet have the same names up to their heads.
princeton-vl/CornerNet-Lite has "hg." in front of those of the hourglasses, and other names for the
corner modules and for the offsets. Everything else is read from names and shapes.

These networks were trained on images in OpenCV's order of channels: blue, green, red. Here they
take RGB, since the converter reverses the kernel of the first convolution.
"""

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from hourglass_jax import nn, tasks
from hourglass_jax.data.coco.categories import CATEGORIES, CATEGORY_IDS
from hourglass_jax.data.skeleton import COCO, Skeleton
from hourglass_jax.errors import UserError
from hourglass_jax.interop import torch_tensors
from hourglass_jax.interop.torch_tensors import StateDict
from hourglass_jax.nn.hourglass104 import Hourglass104
from hourglass_jax.nn.network import Normalisation
from hourglass_jax.tasks.base import Task

# COCO's, of the published configs, turned from BGR to RGB.
NORMALISATION = Normalisation(
    mean=(0.47026115, 0.44719302, 0.40789654), std=(0.27809835, 0.27408164, 0.28863828)
)
# Our names of heads, in the order of the output channels, with their published names.
HEADS = {
    **{
        f"{corner}_{name}": tuple(f"{corner}_{published}" for published in names)
        for corner in ("tl", "br")
        for name, names in (("heat", ["heats"]), ("tag", ["tags"]), ("offset", ["regrs", "offs"]))
    },
    **{name: (name,) for name in ("hm", "wh", "reg", "hps", "hm_hp", "hp_offset")},
}
CORNERS = {"tl": "top_left", "br": "bottom_right"}
_HOURGLASS = re.compile(r"((?:model\.|module\.)*)(?:hg\.hgs|kps)\.\d+\.")

# Within residual and fire modules, corner modules, and other places.
_BLOCK = {
    "conv1/conv": "conv1",
    "conv1/bn": "bn1",
    "conv2/conv": "conv2",
    "conv2/bn": "bn2",
    "skip/conv": "skip.0",
    "skip/bn": "skip.1",
    "squeeze/conv": "conv1",
    "squeeze/bn": "bn1",
    "expand1": "conv_1x1",
    "expand3": "conv_3x3",
    "bn": "bn2",
}
_CORNER = {
    "vertical": "p1_conv1",
    "horizontal": "p2_conv1",
    "out": "conv2",
    "pooled/conv": "p_conv1",
    "pooled/bn": "p_bn1",
    "skip/conv": "conv1",
    "skip/bn": "bn1",
}
_PAIR = {"conv": "0", "bn": "1"}


def recognises(state_dict: StateDict) -> bool:
    """Returns whether the tensors are those of a network that this module converts."""
    return any(_HOURGLASS.match(name) for name in state_dict)


def from_state_dict(state_dict: StateDict) -> tuple[Hourglass104, dict, Normalisation]:
    """Converts a published network; see `torch_weights.from_state_dict`."""
    names = _Names(state_dict)
    model = names.model()
    needed = flatten_dict(nn.variable_shapes(model))
    known = {tensor for path in needed for tensor in names.tensors(path)}
    known |= {
        f"{name.rpartition('.')[0]}.num_batches_tracked" for name in known if "running" in name
    }
    for name in state_dict:
        if name not in known:
            raise UserError(
                f"Tensor {name!r} has no place in this network, which by the other names has "
                f"num_stacks={model.num_stacks}, widths={model.widths} and the heads "
                f"{', '.join(model.heads)}."
            )
    variables = {path: names.convert(path, like) for path, like in needed.items()}
    return model, unflatten_dict(variables), NORMALISATION


def task(model: Hourglass104, categories: Sequence[str] | None = None) -> tuple[Task, int]:
    """Returns the task of a published network, and the side of its input.

    Args:
      model: network from `from_state_dict`.
      categories: names of the categories, in the order of the heatmaps; None: COCO's 80, or
        "person" if there is only one.

    Raises:
      UserError: the number of categories is another one, or joints are not COCO's.
    """
    corners = "tl_heat" in model.heads
    count = model.heads["tl_heat" if corners else "hm"]
    ids = range(1, count + 1)
    if categories is None:
        if count not in (1, len(CATEGORIES)):
            raise UserError(
                f"the network has {count} categories, and not COCO's {len(CATEGORIES)}; name them "
                f"in the order of its heatmaps, as --categories=car,cat"
            )
        categories, ids = CATEGORIES[:count], CATEGORY_IDS[:count]  # the first is "person"
    if len(categories) != count:
        raise UserError(
            f"--categories names {len(categories)} categories, and the network has {count}"
        )
    if model.heads.get("hm_hp", COCO.num_joints) != COCO.num_joints:
        raise UserError(
            f"the network has {model.heads['hm_hp']} joints, and only COCO's {COCO.num_joints} are "
            f"supported"
        )
    joints = "hm_hp" in model.heads
    side = 511 if corners else 512
    settings = {
        "options": {
            "kind": "corners" if corners else "centres_and_joints" if joints else "centres",
            "min_iou": 0.3 if corners else "published",
            "published": True,
        },
        "categories": categories,
        "category_ids": ids,
        "skeleton": (COCO if joints else Skeleton("none", (), (), ())).to_json(),
        "stride": side / -(-side // model.stride),
        "resolution": side,
    }
    return tasks.from_settings("detection", settings), side


class _Names:
    """The published names of a network's tensors, and what these say of the network."""

    def __init__(self, state_dict: StateDict):
        self._tensors = state_dict
        prefix = next(found[1] for name in state_dict if (found := _HOURGLASS.match(name)))
        lite = any(name.startswith(f"{prefix}hg.") for name in state_dict)
        self._backbone = f"{prefix}hg." if lite else prefix
        self._hourglasses = f"{prefix}hg.hgs" if lite else f"{prefix}kps"
        self._corner = f"{prefix}{{}}_modules" if lite else f"{prefix}{{}}_cnvs"
        present = {name.removeprefix(prefix).partition(".")[0] for name in state_dict}
        # Our name -> published name, in the order of the output channels.
        self._heads = {
            name: f"{prefix}{published}"
            for name, several in HEADS.items()
            for published in several
            if published in present
        }
        if not self._heads:
            known = ", ".join(published for several in HEADS.values() for published in several)
            raise UserError(f"The state dict has hourglasses, and none of the heads {known}.")

    def model(self) -> Hourglass104:
        """Returns the network that the names and shapes describe."""
        order = 1
        while f"{self._level(order)}.up1.0.bn2.weight" in self._tensors:
            order += 1
        places = [f"{self._level(i)}.up1" for i in range(order)] + [self._level(order)]
        corners = {name: CORNERS[name[:2]] for name in self._heads if name[:2] in CORNERS}
        pooled = f"{self._corner.format('tl')}.0.p1_conv1.bn.weight"
        return Hourglass104(
            heads={name: self._size(f"{head}.0.1.bias") for name, head in self._heads.items()},
            corners=corners,
            num_stacks=self._count(self._hourglasses),
            widths=tuple(self._size(f"{place}.0.bn2.weight") for place in places),
            blocks=tuple(self._count(place) for place in places),
            stem_features=self._size(f"{self._backbone}pre.0.bn.weight"),
            corner_features=self._size(pooled) if corners else Hourglass104.corner_features,
            stride=2 ** max(2, self._count(f"{self._backbone}pre")),
            squeeze=any(".conv_1x1." in name for name in self._tensors),
            normalisation=NORMALISATION,
        )

    def _level(self, level: int, stack: int = 0) -> str:
        """Returns the name of an hourglass at a level, of which the outermost is 0."""
        return f"{self._hourglasses}.{stack}" + level * ".low2"

    def _size(self, name: str) -> int:
        return torch_tensors.channels(self._tensors, name)

    def _count(self, place: str) -> int:
        """Returns how many numbers follow the name of a place: at least 1, to name what lacks."""
        found = (re.match(rf"{re.escape(place)}\.(\d+)\.", name) for name in self._tensors)
        return max(1, len({each[1] for each in found if each}))

    def tensors(self, path: Sequence[str]) -> list[str]:
        """Returns the tensors that become a variable; several for the outputs."""
        _, stack, *inside, leaf = path
        if inside == ["outputs"]:
            modules = [f"{head}.{_index(stack)}.1" for head in self._heads.values()]
        else:
            modules = [self._module(stack, *inside)]
        return [f"{module}.{torch_tensors.LEAVES[leaf]}" for module in modules]

    def _module(self, *path: str) -> str:
        """Returns the name of a module."""
        match path:
            case "stem", "conv", layer:
                return f"{self._backbone}pre.0.{layer}"
            case "stem", residual, *layer:
                return f"{self._backbone}pre.{_index(residual)}.{_BLOCK['/'.join(layer)]}"
            case stack, "hourglass", *levels, "upsample":
                return f"{self._level(len(levels), _index(stack))}.up2"
            case stack, "hourglass", *inside:
                i = next(i for i, name in enumerate(inside) if name.startswith("block"))
                *levels, place = inside[:i]
                # The last "low2" is the lowest level, which is a place.
                level = self._level(len(levels) + (place == "low2"), _index(stack))
                place = {"up": ".up1", "low1": ".low1", "low3": ".low3", "low2": ""}[place]
                return f"{level}{place}.{_index(inside[i])}.{_BLOCK['/'.join(inside[i + 1 :])]}"
            case stack, "features", layer:
                return f"{self._backbone}cnvs.{_index(stack)}.{layer}"
            case stack, "merge_input", layer:
                return f"{self._backbone}inters_.{_index(stack)}.{_PAIR[layer]}"
            case stack, "merge_features", layer:
                return f"{self._backbone}cnvs_.{_index(stack)}.{_PAIR[layer]}"
            case stack, "merge", *layer:
                return f"{self._backbone}inters.{_index(stack)}.{_BLOCK['/'.join(layer)]}"
            case stack, "top_left" | "bottom_right" as corner, place, layer:
                name = self._corner.format({"top_left": "tl", "bottom_right": "br"}[corner])
                inside = _CORNER.get(f"{place}/{layer}") or f"{_CORNER[place]}.{layer}"
                return f"{name}.{_index(stack)}.{inside}"
            case stack, head:
                return f"{self._heads[head.removeprefix('head_')]}.{_index(stack)}.0.conv"
        raise ValueError(f"the network has no module {'/'.join(path)}")

    def convert(self, path: Sequence[str], like: Any) -> np.ndarray:
        """Returns a variable of the given shape; see `torch_tensors.convert`."""
        tensors = self.tensors(path)
        if len(tensors) > 1:
            sizes = [self._size(f"{head}.0.1.bias") for head in self._heads.values()]
            parts = [jax.ShapeDtypeStruct((*like.shape[:-1], n), like.dtype) for n in sizes]
            pairs = zip(tensors, parts, strict=True)
            return np.concatenate([torch_tensors.convert(self._tensors, *p) for p in pairs], -1)
        value = torch_tensors.convert(self._tensors, tensors[0], like)
        if path[-2:] == ("upsample", "kernel"):  # published as [in, out], and applied mirrored
            value = value[::-1, ::-1].swapaxes(2, 3)
        if path[1:] == ("stem", "conv", "conv", "kernel"):
            value = value[:, :, ::-1]  # from BGR to RGB
        return np.ascontiguousarray(value)


def _index(name: str) -> int:
    return int(re.findall(r"\d+$", name)[0])
