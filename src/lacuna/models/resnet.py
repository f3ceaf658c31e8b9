"""Residual networks for small images (He et al., CVPR 2016, section 4.2; 1×1 convolution shortcuts)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from lacuna.fields import Count
from lacuna.registry import register


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm around a shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """3×3 stem without pooling, one group of blocks per width, global average pool, linear classifier.

    Takes [n, channels, height, width] of any size that survives the strides; gives logits [n, classes].
    """

    def __init__(self, blocks: tuple[int, ...], widths: tuple[int, ...], classes: int, channels: int):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        groups, before = [], widths[0]
        for i, (depth, width) in enumerate(zip(blocks, widths, strict=True)):
            strides = [1 if i == 0 else 2] + [1] * (depth - 1)
            groups.append(
                nn.Sequential(*(BasicBlock(before if j == 0 else width, width, s) for j, s in enumerate(strides)))
            )
            before = width
        self.groups = nn.Sequential(*groups)
        self.classifier = nn.Linear(before, classes)

    def reset_parameters(self) -> None:
        """He initialisation of convolutions (fan out), batch norm at the identity, PyTorch's default classifier."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d | nn.Linear):
                module.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.groups(self.stem(x)).mean((2, 3)))


@dataclass(frozen=True, kw_only=True)
class _CifarResNet:
    blocks: ClassVar[tuple[int, ...]]
    widths: ClassVar[tuple[int, ...]] = (1, 2, 4)

    width: Count = 16

    def build(self, classes: int, channels: int) -> nn.Module:
        """The network for `classes` classes and images of `channels` channels, in channels-last layout."""
        network = ResNet(self.blocks, tuple(self.width * w for w in self.widths), classes, channels)
        return network.to(memory_format=torch.channels_last)


@register("resnet8")
@dataclass(frozen=True, kw_only=True)
class ResNet8(_CifarResNet):
    """8 layers, 78 thousand parameters at width 16: the size for a laptop.

    width: channels of the first group (the others have 2 and 4 times as many).
    """

    blocks = (1, 1, 1)


@register("resnet20")
@dataclass(frozen=True, kw_only=True)
class ResNet20(_CifarResNet):
    """20 layers, 0.27 million parameters at width 16 (He et al. 2016, CIFAR-10).

    width: channels of the first group (the others have 2 and 4 times as many).
    """

    blocks = (3, 3, 3)


@register("resnet18")
@dataclass(frozen=True, kw_only=True)
class ResNet18(_CifarResNet):
    """18 layers with a 3×3 stem, 11.2 million parameters at width 64: the network of the published CIFAR tables.

    width: channels of the first group (the others have 2, 4 and 8 times as many).
    """

    blocks = (2, 2, 2, 2)
    widths = (1, 2, 4, 8)

    width: Count = 64
