"""A small vision transformer (Dosovitskiy et al., ICLR 2021), in the plain form of Beyer et al. (arXiv 2205.01580).

Positions are fixed sines and cosines and the tokens are averaged, so that a network takes images of any size that its
patches divide; no class token, no dropout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from lacuna.errors import LacunaError
from lacuna.fields import Count
from lacuna.registry import register


class Attention(nn.Module):
    """Multi-head self-attention of tokens [n, tokens, width]."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.project(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width))
        return mixed


class Block(nn.Module):
    """Attention and a hidden layer of four times the width, each behind a layer norm and around a shortcut."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        mixed: Tensor = x + self.contract(gelu(self.expand(self.norm2(x))))
        return mixed


class VisionTransformer(nn.Module):
    """Patches, blocks of attention, mean over tokens, linear classifier.

    Takes [n, channels, height, width], height and width multiples of the patch; gives logits [n, classes].
    Raises LacunaError for other images: their edge would go unseen.
    """

    prunes_linear = True

    def __init__(self, patch: int, width: int, depth: int, heads: int, classes: int, channels: int):
        super().__init__()
        self.patch = nn.Conv2d(channels, width, patch, patch)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, classes)

    def reset_parameters(self) -> None:
        """Linear weights from a normal distribution of deviation 0.02, cut off at 2; the rest as PyTorch draws it."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d | nn.LayerNorm):
                module.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        size = self.patch.kernel_size[0]
        if x.shape[2] % size or x.shape[3] % size:
            shape = "×".join(map(str, x.shape[2:]))
            raise LacunaError(f"vit.patch: {size} does not divide {shape}; allowed: a patch that does")
        x = self.patch(x)
        where = positions(x.shape[2], x.shape[3], x.shape[1], x.device).to(x.dtype)
        logits: Tensor = self.classifier(self.norm(self.blocks(x.flatten(2).transpose(1, 2) + where)).mean(1))
        return logits


def positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """The codes of the places of a grid, row by row, float64 [height·width, channels]: the same on every device.

    A quarter of the channels each has sin(ω column), cos(ω column), sin(ω row) and cos(ω row), ω from 1 down to 1e-4.
    """
    quarter = channels // 4
    rates = 1e-4 ** (torch.arange(quarter, device=device, dtype=torch.float64) / max(1, quarter - 1))
    rows, columns = (torch.arange(n, device=device, dtype=torch.float64)[:, None] * rates for n in (height, width))
    both = columns.expand(height, width, quarter), rows[:, None].expand(height, width, quarter)
    return torch.cat([wave for angle in both for wave in (angle.sin(), angle.cos())], 2).flatten(0, 1)


@register("vit")
@dataclass(frozen=True, kw_only=True)
class Vit:
    """A small vision transformer: 5.3 million parameters with the defaults, the size of ViT-Ti (Touvron et al. 2021).

    Its Linear weights are prunable without `include_linear`: there is one convolution, the patches.
    patch: pixels on each side of a patch; must divide height and width of the images.
    width: channels of a token, a multiple of 4 and of heads.
    depth: blocks.
    heads: of attention.
    """

    patch: Count = 4
    width: Count = 192
    depth: Count = 12
    heads: Count = 3

    def build(self, classes: int, channels: int) -> nn.Module:
        """The network for `classes` classes and images of `channels` channels.

        Raises LacunaError if the width cannot be divided among heads and position codes.
        """
        if self.width % self.heads or self.width % 4:
            raise LacunaError(
                f"vit.width: {self.width} is not allowed; allowed: a multiple of 4 and of heads ({self.heads})"
            )
        return VisionTransformer(self.patch, self.width, self.depth, self.heads, classes, channels)
