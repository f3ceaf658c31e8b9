"""Shifted-window transformers (Liu et al., ICCV 2021): torchvision's network, lacuna's initialisation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from lacuna.errors import LacunaError
from lacuna.fields import Count, UnitHalfOpen
from lacuna.registry import register

# channels of one head of attention
_HEAD = 32


class Swin(nn.Module):
    """Takes [n, channels, height, width], at least one patch; gives logits [n, classes]."""

    prunes_linear = True

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def reset_parameters(self) -> None:
        """As torchvision: Linear weights and position biases truncated normal, deviation 0.02; PyTorch's defaults."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d | nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(table := getattr(module, "relative_position_bias_table", None), nn.Parameter):
                nn.init.trunc_normal_(table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.body(x)
        return logits


@register("swin_t")
@dataclass(frozen=True, kw_only=True)
class SwinT:
    """Swin-T: windows of attention, shifted from block to block, 27.5 million parameters with the defaults.

    Its Linear weights are prunable without `include_linear`: there is one convolution, the patches.
    patch: pixels on each side of a patch; 4 is for ImageNet, 2 leaves more of small images.
    width: channels of the first stage (each further one has twice as many); 32 to a head, so a multiple of 32, or less.
    depths: blocks of each stage.
    window: tokens on each side of a window.
    stochastic_depth: chance that the last block is skipped in training, rising linearly from 0 (ImageNet: 0.2).
    """

    patch: Count = 4
    width: Count = 96
    depths: tuple[Count, ...] = (2, 2, 6, 2)
    window: Count = 7
    stochastic_depth: UnitHalfOpen = 0.0

    def build(self, classes: int, channels: int) -> nn.Module:
        """The network for `classes` classes and images of `channels` channels.

        Raises LacunaError for a width that heads cannot share, or a single block.
        """
        if sum(self.depths) < 2 or (self.width > _HEAD and self.width % _HEAD):
            raise LacunaError(
                f"swin_t: width {self.width} with depths {list(self.depths)} is not allowed; "
                f"allowed: a multiple of {_HEAD}, or less, and at least two blocks"
            )
        # costs as much to import as torch itself
        from torchvision.models.swin_transformer import SwinTransformer

        body = SwinTransformer(
            patch_size=[self.patch] * 2,
            embed_dim=self.width,
            depths=list(self.depths),
            num_heads=[max(1, self.width // _HEAD) * 2**stage for stage in range(len(self.depths))],
            window_size=[self.window] * 2,
            stochastic_depth_prob=self.stochastic_depth,
            num_classes=classes,
        )
        if channels != 3:
            body.features[0][0] = nn.Conv2d(channels, self.width, self.patch, self.patch)
        return Swin(body)
