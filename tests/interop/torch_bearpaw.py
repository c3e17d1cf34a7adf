"""The variant of bearpaw/pytorch-pose in PyTorch, its modules named as there.

It differs from `StackedHourglass` of benchmarks/torch_hourglass.py in its stem, in the number of
residual modules at each place, and in all its names: the levels of an hourglass are in one list,
the innermost first.
"""

import torch
import torch.nn.functional as F  # noqa: N812, as everybody calls it
from torch import nn


class Residual(nn.Module):
    """The pre-activation bottleneck, with a convolution on the skip where the widths differ."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half = outputs // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, half, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), nn.Conv2d(half, half, 3, padding=1)
        self.bn3, self.conv3 = nn.BatchNorm2d(half), nn.Conv2d(half, outputs, 1)
        if inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x):
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        y = self.conv3(F.relu(self.bn3(y)))
        return y + (self.downsample(x) if hasattr(self, "downsample") else x)


def residuals(features: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(features, features) for _ in range(count)))


class Hourglass(nn.Module):
    """One hourglass: level `order - 1` is the outermost, level 0 has the bottom as well."""

    def __init__(self, order: int, features: int, num_residuals: int):
        super().__init__()
        self.order = order
        self.hg = nn.ModuleList(
            nn.ModuleList(residuals(features, num_residuals) for _ in range(3 if level else 4))
            for level in range(order)
        )

    def forward(self, x, level: int | None = None):
        level = self.order - 1 if level is None else level
        up, low1, low3, *bottom = self.hg[level]
        low = low1(F.max_pool2d(x, 2))
        low = self(low, level - 1) if level else bottom[0](low)
        return up(x) + F.interpolate(low3(low), scale_factor=2)


class StackedHourglass(nn.Module):
    """Maps images [B, 3, H, W] to the heatmaps of every stack [B, S, K, H/4, W/4]."""

    def __init__(
        self,
        num_stacks: int,
        num_joints: int,
        features: int,
        order: int,
        stem_features: int,
        num_residuals: int,
    ):
        super().__init__()
        stem = stem_features
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(stem)
        self.layer1 = nn.Sequential(Residual(stem, 2 * stem))
        self.layer2 = nn.Sequential(Residual(2 * stem, 4 * stem))
        self.layer3 = nn.Sequential(Residual(4 * stem, features))

        def each(make, count=num_stacks):
            return nn.ModuleList(make() for _ in range(count))

        self.hg = each(lambda: Hourglass(order, features, num_residuals))
        self.res = each(lambda: residuals(features, num_residuals))
        self.fc = each(
            lambda: nn.Sequential(
                nn.Conv2d(features, features, 1), nn.BatchNorm2d(features), nn.ReLU()
            )
        )
        self.score = each(lambda: nn.Conv2d(features, num_joints, 1))
        self.fc_ = each(lambda: nn.Conv2d(features, features, 1), num_stacks - 1)
        self.score_ = each(lambda: nn.Conv2d(num_joints, features, 1), num_stacks - 1)

    def forward(self, images):
        x = F.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(F.max_pool2d(self.layer1(x), 2)))
        heatmaps = []
        for i, hourglass in enumerate(self.hg):
            y = self.fc[i](self.res[i](hourglass(x)))
            heatmaps.append(self.score[i](y))
            if i < len(self.fc_):
                x = x + self.fc_[i](y) + self.score_[i](heatmaps[i])
        return torch.stack(heatmaps, dim=1)
