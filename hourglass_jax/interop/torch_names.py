"""Names of the network's tensors in two families of published PyTorch networks.

- `Princeton`: "PoseNet" of princeton-vl/pytorch_stacked_hourglass, by the paper's group;
- `Bearpaw`: "hg" of bearpaw/pytorch-pose, and anibali/pytorch-stacked-hourglass, which has the
  same names.

A family is made from the names in a state dict, without prefix, and reads from them the numbers of
stacks, orders and residual modules. `name` translates the path of a module of this package.
"""

import re
from collections.abc import Iterable

from hourglass_jax.nn.stacked_hourglass import Normalisation


class Princeton:
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
        raise ValueError(f"the network has no module {'/'.join(path)}")

    def _layer(self, layer: str) -> str:
        if layer.startswith("bn"):
            return layer
        return "skip_layer.conv" if layer == "skip" else f"{layer}.conv"

    def unused(self, *path: str) -> Iterable[str]:
        """Yields the skip convolution of a residual, which may not use it in the forward pass."""
        if path[-1] == "conv1":
            skip = self.name(*path[:-1], "skip")
            yield f"{skip}.weight"
            yield f"{skip}.bias"


class Bearpaw:
    """Names of `hg`: the levels of an hourglass lie in one list, the innermost first."""

    normalisation = Normalisation(mean=(0.4404, 0.4440, 0.4327))  # MPII's; there is no division
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
        raise ValueError(f"the network has no module {'/'.join(path)}")

    def _layer(self, layer: str) -> str:
        return "downsample.0" if layer == "skip" else layer

    def unused(self, *path: str) -> Iterable[str]:
        return ()


def _index(name: str) -> int:
    return int(re.findall(r"\d+$", name)[0])


def _count(values: Iterable[str]) -> int:
    # At least one, so that an incomplete state dict leads to the error that names what it lacks.
    return max(1, len(set(values)))
