"""VGG with batch norm, for small images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lacuna.fields import Count
from lacuna.models.init import he_initialisation
from lacuna.registry import register

# channels of each 3×3 convolution as multiples of the width; 0: a max pool
_LAYERS = (1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0)


class Vgg(nn.Module):
    """Convolutions with batch norm, five max pools, average pool, linear classifier.

    Takes [n, channels, height, width] of 32×32 and larger; gives logits [n, classes].
    """

    def __init__(self, width: int, classes: int, channels: int):
        super().__init__()
        self.features = nn.Sequential()
        for times in _LAYERS:
            if not times:
                self.features.append(nn.MaxPool2d(2))
                continue
            # batch norm takes away what a bias adds
            self.features.append(nn.Conv2d(channels, width * times, 3, 1, 1, bias=False))
            channels = width * times
            self.features.extend([nn.BatchNorm2d(channels), nn.ReLU(inplace=True)])
        self.classifier = nn.Linear(channels, classes)

    def reset_parameters(self) -> None:
        he_initialisation(self)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


@register("vgg16_bn")
@dataclass(frozen=True, kw_only=True)
class Vgg16:
    """13 convolutions with batch norm and one linear layer, 14.7 million parameters at width 64.

    Simonyan & Zisserman (ICLR 2015), configuration D, with the single linear layer that is usual on CIFAR; images of
    32×32 and larger.
    width: channels of the first two convolutions (the others have 2, 4 and 8 times as many).
    """

    width: Count = 64

    def build(self, classes: int, channels: int) -> nn.Module:
        """The network for `classes` classes and images of `channels` channels, in channels-last layout."""
        return Vgg(self.width, classes, channels).to(memory_format=torch.channels_last)
