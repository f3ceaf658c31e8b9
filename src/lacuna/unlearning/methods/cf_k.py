"""CF-k: catastrophic forgetting in the last k blocks."""

from __future__ import annotations

from dataclasses import dataclass

from lacuna.unlearning.base import register
from lacuna.unlearning.last_blocks import LastBlocks


@register("cf_k")
@dataclass(frozen=True, kw_only=True)
class CatastrophicForgetting(LastBlocks):
    """CF-k: SGD on ℓ(D_r) of the last k blocks and the classifier; all before them stay bit for bit.

    The batch norm of the blocks that stay normalises by its stored statistics.
    Published values (CIFAR-10, ResNet-18): k 1, lr 0.01, epochs 10.
    Cost: 1 forward, 1 backward a step, the backward pass through the last blocks only.
    Source: Goel et al., arXiv 2201.06640 (2022).
    """
