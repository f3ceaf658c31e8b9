"""Residual networks (He et al., CVPR 2016; 1×1 convolution shortcuts)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lacuna.fields import Count
from lacuna.models.init import he_initialisation
from lacuna.models.kernels import Layers, blocked, plain, rectified
from lacuna.registry import register

Stem = Literal["cifar", "imagenet"]


def _shortcut(channels_in: int, channels_out: int, stride: int) -> Layers:
    """Nothing, or a 1×1 convolution with batch norm where the block changes size."""
    if stride == 1 and channels_in == channels_out:
        return Layers()
    return Layers(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm around a shortcut."""

    expansion = 1

    def __init__(self, channels_in: int, channels_out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut = _shortcut(channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = rectified(self.conv1, self.bn1, x)
        return rectified(self.conv2, self.bn2, y, self.shortcut(x))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions with batch norm around a shortcut; four times as wide outside as inside.

    The 3×3 convolution has the stride, as in all common code (He et al. have it in the first 1×1).
    """

    expansion = 4

    def __init__(self, channels_in: int, width: int, stride: int):
        super().__init__()
        channels_out = self.expansion * width
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        self.shortcut = _shortcut(channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = rectified(self.conv1, self.bn1, x)
        y = rectified(self.conv2, self.bn2, y)
        return rectified(self.conv3, self.bn3, y, self.shortcut(x))


class ResNet(nn.Module):
    """A stem, one group of blocks per width, global average pool, linear classifier.

    stem: cifar is a 3×3 convolution, imagenet a 7×7 one of stride 2 and a 3×3 max pool of stride 2.
    Takes [n, channels, height, width] of any size that survives the strides; gives logits [n, classes].
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        widths: tuple[int, ...],
        classes: int,
        channels: int,
        block: type[BasicBlock] | type[Bottleneck] = BasicBlock,
        stem: Stem = "cifar",
    ):
        super().__init__()
        kernel, stride, padding = (3, 1, 1) if stem == "cifar" else (7, 2, 3)
        self.stem = Layers(
            nn.Conv2d(channels, widths[0], kernel, stride, padding, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(inplace=True),
        )
        if stem == "imagenet":
            self.stem.append(nn.MaxPool2d(3, 2, 1))
        groups, before = [], widths[0]
        for i, (depth, width) in enumerate(zip(blocks, widths, strict=True)):
            group = nn.Sequential()
            for j in range(depth):
                group.append(block(before, width, 2 if i and not j else 1))
                before = width * block.expansion
            groups.append(group)
        self.groups = nn.Sequential(*groups)
        self.classifier = nn.Linear(before, classes)

    def reset_parameters(self) -> None:
        he_initialisation(self)

    def forward(self, x: Tensor) -> Tensor:
        x = plain(self, self.groups(self.stem(blocked(self, x))))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


@dataclass(frozen=True, kw_only=True)
class _ResNet:
    blocks: ClassVar[tuple[int, ...]]
    widths: ClassVar[tuple[int, ...]] = (1, 2, 4)
    block: ClassVar[type[BasicBlock] | type[Bottleneck]] = BasicBlock
    stem: ClassVar[Stem] = "cifar"

    width: Count = 16

    def build(self, classes: int, channels: int) -> nn.Module:
        """The network for `classes` classes and images of `channels` channels, in channels-last layout."""
        widths = tuple(self.width * w for w in self.widths)
        network = ResNet(self.blocks, widths, classes, channels, self.block, self.stem)
        return network.to(memory_format=torch.channels_last)


@register("resnet8")
@dataclass(frozen=True, kw_only=True)
class ResNet8(_ResNet):
    """8 layers, 78 thousand parameters at width 16: the size for a laptop.

    width: channels of the first group (the others have 2 and 4 times as many).
    """

    blocks = (1, 1, 1)


@register("resnet20")
@dataclass(frozen=True, kw_only=True)
class ResNet20(_ResNet):
    """20 layers, 0.27 million parameters at width 16 (He et al. 2016, CIFAR-10).

    width: channels of the first group (the others have 2 and 4 times as many).
    """

    blocks = (3, 3, 3)


@register("resnet18")
@dataclass(frozen=True, kw_only=True)
class ResNet18(_ResNet):
    """18 layers, 11.2 million parameters at width 64: the network of the published CIFAR tables.

    width: channels of the first group (the others have 2, 4 and 8 times as many).
    stem: cifar (3×3, no pooling) or imagenet (7×7 with stride 2, then a max pool of stride 2), for large images.
    """

    blocks = (2, 2, 2, 2)
    widths = (1, 2, 4, 8)

    width: Count = 64
    stem: Stem = "cifar"  # type: ignore[misc]


@register("resnet50")
@dataclass(frozen=True, kw_only=True)
class ResNet50(_ResNet):
    """50 layers in bottlenecks, 23.5 million parameters at width 64.

    width: channels of the stem, and of the first group inside its bottlenecks (the others have 2, 4 and 8 times as
    many; outside, all have 4 times more).
    stem: cifar (3×3, no pooling) or imagenet (7×7 with stride 2, then a max pool of stride 2), for large images.
    """

    blocks = (3, 4, 6, 3)
    widths = (1, 2, 4, 8)
    block = Bottleneck

    width: Count = 64
    stem: Stem = "cifar"  # type: ignore[misc]
