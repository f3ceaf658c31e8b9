"""Criteria: one score per prunable weight; the lowest are removed. A new criterion is one function."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lacuna.data.batches import UnlearningData
from lacuna.pruning.mask import prunable

Scores = dict[str, Tensor]
# (model, seed, data, include_linear) → scores; what a criterion does not use, it ignores
Criterion = Callable[..., Scores]


def magnitude(
    model: nn.Module, seed: int = 0, data: UnlearningData | None = None, include_linear: bool = False
) -> Scores:
    """|θ| of the trained weights (Han et al., NeurIPS 2015)."""
    return {name: w.detach().abs() for name, w in prunable(model, include_linear).items()}


def random(model: nn.Module, seed: int = 0, data: UnlearningData | None = None, include_linear: bool = False) -> Scores:
    """Uniform draws in [0, 1): the baseline that knows nothing."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(w.shape, generator=generator) for name, w in prunable(model, include_linear).items()}
