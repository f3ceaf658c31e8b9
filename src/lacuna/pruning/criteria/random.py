"""Random: no score at all."""

from __future__ import annotations

import torch
from torch import nn

from lacuna.pruning.criteria.base import Scores
from lacuna.sparsity.mask import prunable


def random(model: nn.Module, *, seed: int, include_linear: bool = False) -> Scores:
    """Uniform draws in [0, 1): the baseline that knows nothing."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(w.shape, generator=generator) for name, w in prunable(model, include_linear).items()}
