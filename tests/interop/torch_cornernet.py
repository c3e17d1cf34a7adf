"""CornerNet, CornerNet-Squeeze and CenterNet in PyTorch, their modules named as published.

Law and Deng, ECCV 2018; Law et al., "CornerNet-Lite", 2019; Zhou et al., "Objects as Points", 2019.
"""

import torch
import torch.nn.functional as F  # noqa: N812, as everybody calls it
from torch import nn

WIDTHS, BLOCKS = (6, 8, 10), (1, 2, 1)


class Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, norm: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=not norm)
        self.bn = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def unrectified(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.skip = nn.Sequential() if same else unrectified(inputs, outputs, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.skip(x))


class Fire(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        half = outputs // 2
        self.conv1, self.bn1 = nn.Conv2d(inputs, half, 1, bias=False), nn.BatchNorm2d(half)
        self.conv_1x1 = nn.Conv2d(half, half, 1, stride, bias=False)
        self.conv_3x3 = nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.same = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.bn1(self.conv1(x))
        y = self.bn2(torch.cat([self.conv_1x1(y), self.conv_3x3(y)], 1))
        return F.relu(x + y if self.same else y)


class Hourglass(nn.Module):
    def __init__(self, kind, widths=WIDTHS, blocks=BLOCKS):
        super().__init__()
        (outer, inner, *rest), (count, bottom, *_) = widths, blocks
        self.up1 = nn.Sequential(*(kind(outer, outer) for _ in range(count)))
        further = (kind(inner, inner) for _ in range(count - 1))
        self.low1 = nn.Sequential(kind(outer, inner, 2), *further)
        if rest:
            self.low2 = Hourglass(kind, widths[1:], blocks[1:])
        else:
            self.low2 = nn.Sequential(*(kind(inner, inner) for _ in range(bottom)))
        further = (kind(inner, inner) for _ in range(count - 1))
        self.low3 = nn.Sequential(*further, kind(inner, outer))
        self.up2 = nn.Upsample(scale_factor=2)
        if kind is Fire:
            self.up2 = nn.ConvTranspose2d(outer, outer, 4, 2, 1)

    def forward(self, x):
        return self.up1(x) + self.up2(self.low3(self.low2(self.low1(x))))


class Corner(nn.Module):
    def __init__(self, width: int, pooled: int, flipped: bool):
        super().__init__()
        self.p1_conv1, self.p2_conv1 = Conv(width, pooled, 3), Conv(width, pooled, 3)
        self.p_conv1 = nn.Conv2d(pooled, width, 3, padding=1, bias=False)
        self.p_bn1 = nn.BatchNorm2d(width)
        self.conv1, self.bn1 = nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = Conv(width, width, 3)
        self.flipped = flipped

    def pool(self, x, axis: int):
        if not self.flipped:
            return x.cummax(axis).values
        return x.flip(axis).cummax(axis).values.flip(axis)

    def forward(self, x):
        pooled = self.pool(self.p1_conv1(x), 2) + self.pool(self.p2_conv1(x), 3)
        return self.conv2(F.relu(self.p_bn1(self.p_conv1(pooled)) + self.bn1(self.conv1(x))))


class Backbone(nn.Module):
    """Returns the features of every stack; "hg." in CornerNet-Lite, else without that prefix."""

    def __init__(self, lite: bool, stacks: int):
        super().__init__()
        width, kind = WIDTHS[0], Fire if lite else Residual
        stem = [Conv(3, 5, 7, 2), Residual(5, width, 2), Residual(width, width, 2)]
        self.pre = nn.Sequential(*stem[: 3 if lite else 2])
        setattr(self, "hgs" if lite else "kps", several(stacks, lambda: Hourglass(kind)))
        self.hourglasses = [getattr(self, "hgs" if lite else "kps")]  # not registered twice
        self.cnvs = several(stacks, lambda: Conv(width, width, 3))
        self.inters = several(stacks - 1, lambda: Residual(width, width))
        self.inters_ = several(stacks - 1, lambda: unrectified(width, width))
        self.cnvs_ = several(stacks - 1, lambda: unrectified(width, width))

    def forward(self, x):
        x, found = self.pre(x), []
        for i, (hourglass, conv) in enumerate(zip(self.hourglasses[0], self.cnvs, strict=True)):
            found.append(conv(hourglass(x)))
            if i < len(self.inters):
                x = self.inters[i](F.relu(self.inters_[i](x) + self.cnvs_[i](found[-1])))
        return found


class Detector(nn.Module):
    """Maps images [B, 3, H, W] to the outputs of every stack [B, S, C, h, w].

    `heads` are published names -> channels; those of CornerNet begin with "tl_" and "br_".
    """

    def __init__(self, heads: dict[str, int], *, lite: bool = False, stacks: int = 2):
        super().__init__()
        width = WIDTHS[0]
        backbone = Backbone(lite, stacks)
        if lite:
            self.hg = backbone
        else:
            for name, module in backbone.named_children():
                setattr(self, name, module)
        self.backbone, self.heads = [backbone], heads
        self.modules_of = {}
        for corner in sorted({name[:2] for name in heads} & {"tl", "br"}):
            module = several(stacks, lambda c=corner: Corner(width, 4, flipped=c == "tl"))
            setattr(self, f"{corner}_modules" if lite else f"{corner}_cnvs", module)
            self.modules_of[corner] = [module]
        for name, channels in heads.items():
            size = 1 if lite else 3
            setattr(self, name, several(stacks, lambda s=size, c=channels: self.head(s, c)))

    def head(self, size: int, channels: int) -> nn.Sequential:
        width = WIDTHS[0]
        return nn.Sequential(Conv(width, width, size, norm=False), nn.Conv2d(width, channels, 1))

    def forward(self, images):
        outputs = []
        for i, features in enumerate(self.backbone[0](images)):
            read = {corner: modules[0][i](features) for corner, modules in self.modules_of.items()}
            heads = [getattr(self, n)[i](read.get(n[:2], features)) for n in self.heads]
            outputs.append(torch.cat(heads, 1))
        return torch.stack(outputs, 1)


def several(count: int, make) -> nn.ModuleList:
    return nn.ModuleList(make() for _ in range(count))
