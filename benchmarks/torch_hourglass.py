"""The network of hourglass_jax.nn.stacked_hourglass in PyTorch, to compare with.

The benchmarks compare speed and memory, tests/interop/test_torch_parity.py outputs and gradients.
The package itself does not use it. Modules are named as in
princeton-vl/pytorch_stacked_hourglass, so that `interop.torch_weights.from_state_dict` reads them.
What saves PyTorch memory and costs nothing, such as rectifying in place, is done.
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F  # noqa: N812, as everybody calls it
from torch import nn


class Conv(nn.Module):
    """A convolution with bias, and BatchNorm with ReLU after it where asked for."""

    def __init__(self, inputs: int, outputs: int, size: int = 1, stride: int = 1, norm=False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2)
        self.bn = nn.BatchNorm2d(outputs) if norm else None  # epsilon 1e-5, momentum 0.1

    def forward(self, x):
        x = self.conv(x)
        return x if self.bn is None else F.relu(self.bn(x), inplace=True)


class Residual(nn.Module):
    """The pre-activation bottleneck; nothing after the sum."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half = outputs // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), Conv(inputs, half)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), Conv(half, half, 3)
        self.bn3, self.conv3 = nn.BatchNorm2d(half), Conv(half, outputs)
        self.skip_layer = Conv(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x), inplace=True))
        y = self.conv2(F.relu(self.bn2(y), inplace=True))
        y = self.conv3(F.relu(self.bn3(y), inplace=True))
        return y.add_(self.skip_layer(x))


class Hourglass(nn.Module):
    """One hourglass, by recursion."""

    def __init__(self, order: int, features: int):
        super().__init__()
        self.up1, self.low1 = Residual(features, features), Residual(features, features)
        inner = Hourglass(order - 1, features) if order > 1 else Residual(features, features)
        self.low2, self.low3 = inner, Residual(features, features)

    def forward(self, x):
        low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2))))
        return self.up1(x).add_(F.interpolate(low, scale_factor=2.0, mode="nearest"))


class StackedHourglass(nn.Module):
    """Maps images [B, 3, H, W] to the heatmaps of every stack [B, S, K, H/4, W/4]."""

    def __init__(
        self,
        num_stacks: int,
        num_joints: int = 16,
        features: int = 256,
        order: int = 4,
        stem_features: int = 64,
    ):
        super().__init__()
        wide = 2 * stem_features
        self.pre = nn.Sequential(
            Conv(3, stem_features, size=7, stride=2, norm=True),
            Residual(stem_features, wide),
            nn.MaxPool2d(2),
            Residual(wide, wide),
            Residual(wide, features),
        )

        def each(make, count=num_stacks):
            return nn.ModuleList(make() for _ in range(count))

        def merge(inputs):  # the last stack has none
            return each(
                lambda: nn.Sequential(OrderedDict(conv=Conv(inputs, features))), num_stacks - 1
            )

        self.hgs = each(lambda: nn.Sequential(Hourglass(order, features)))
        self.features = each(
            lambda: nn.Sequential(Residual(features, features), Conv(features, features, norm=True))
        )
        self.outs = each(lambda: Conv(features, num_joints))
        self.merge_features, self.merge_preds = merge(features), merge(num_joints)

    def forward(self, images):
        x = self.pre(images)
        heatmaps = []
        for i, hourglass in enumerate(self.hgs):
            y = self.features[i](hourglass(x))
            heatmaps.append(self.outs[i](y))
            if i < len(self.merge_preds):
                x = x + self.merge_features[i](y).add_(self.merge_preds[i](heatmaps[i]))
        return torch.stack(heatmaps, dim=1)
