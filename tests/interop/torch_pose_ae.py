"""The networks of associative embedding in PyTorch, their modules named as published.

Newell et al., "Associative Embedding", NIPS 2017: princeton-vl/pose-ae-train, and mmpose's
`HourglassAENet` with BatchNorm.
"""

import torch
import torch.nn.functional as F  # noqa: N812, as everybody calls it
from torch import nn


class Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int = 3, stride=1, norm=False, relu=True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.relu = F.relu if relu else nn.Identity()

    def forward(self, x):
        return self.relu(self.bn(self.conv(x)))


class Merge(nn.Module):
    """One module more around a convolution, as in pose-ae-train."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = Conv(inputs, outputs, 1, relu=False)

    def forward(self, x):
        return self.conv(x)


class Hourglass(nn.Module):
    def __init__(self, order: int, width: int, growth: int, norm: bool):
        super().__init__()
        inner = width + growth
        self.up1 = Conv(width, width, norm=norm)
        self.low1 = Conv(width, inner, norm=norm)
        deeper = order > 1
        self.low2 = (
            Hourglass(order - 1, inner, growth, norm) if deeper else Conv(inner, inner, norm=norm)
        )
        self.low3 = Conv(inner, width, norm=norm)

    def forward(self, x):
        low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2))))
        return self.up1(x) + F.interpolate(low, scale_factor=2)


class Network(nn.Module):
    """Maps images [B, 3, H, W] to the outputs of every stack [B, S, C, h, w]."""

    def __init__(self, joints: int, *, mmpose: bool, stacks=2, width=6, growth=3, stem=4, order=2):
        super().__init__()
        first = [Conv(3, stem, 7, 2, norm=mmpose), Conv(stem, 2 * stem, norm=mmpose)]
        last = [Conv(2 * stem, 2 * stem, norm=mmpose), Conv(2 * stem, width, norm=mmpose)]
        modules = {
            "pre": nn.Sequential(*first, nn.MaxPool2d(2), *last),
            "features": several(
                stacks,
                lambda: nn.Sequential(
                    Hourglass(order, width, growth, mmpose),
                    Conv(width, width, norm=mmpose),
                    Conv(width, width, norm=mmpose),
                ),
            ),
        }
        outputs = 2 * joints if mmpose else 4 * joints
        modules["outs"] = several(stacks, lambda: Conv(width, outputs, 1, relu=False))
        merge = (lambda n: Conv(n, width, 1, norm=True, relu=False)) if mmpose else None
        merge = merge or (lambda n: Merge(n, width))
        modules["merge_preds"] = several(stacks - 1, lambda: merge(outputs))
        modules["merge_features"] = several(stacks - 1, lambda: merge(width))
        self.parts = {}
        holder = nn.Module() if mmpose else self
        if mmpose:
            self.backbone = holder
        for name, module in modules.items():
            setattr(holder, MMPOSE[name] if mmpose else name, module)
            self.parts[name] = [module]  # not registered twice

    def forward(self, images):
        pre, features, outs, preds, merges = (self.parts[n][0] for n in MMPOSE)
        x, found = pre(images), []
        for i in range(len(outs)):
            y = features[i](x)
            found.append(outs[i](y))
            if i < len(preds):
                x = x + preds[i](found[-1]) + merges[i](y)
        return torch.stack(found, 1)


MMPOSE = {
    "pre": "stem",
    "features": "hourglass_modules",
    "outs": "out_convs",
    "merge_preds": "remap_out_convs",
    "merge_features": "remap_feature_convs",
}


def several(count: int, make) -> nn.ModuleList:
    return nn.ModuleList(make() for _ in range(count))
