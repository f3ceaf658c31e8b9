"""Filters by Taylor scores."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lacuna.fields import Count
from lacuna.pruning.criteria.taylor import taylor
from lacuna.pruning.structured import FilterPruner
from lacuna.registry import register


@register("filter_taylor")
@dataclass(frozen=True, kw_only=True)
class FilterTaylor(FilterPruner):
    """Taylor pruning of filters: remove the filters with the smallest sum of the `taylor` scores, θ ← m⊙θ_k, train on.

    batch_size: samples whose mean gradient is squared.
    Cost: 1 forward, 1 backward a batch, once.
    Source: Molchanov et al., CVPR 2019.
    """

    batch_size: Count = 256

    criterion = taylor

    @staticmethod
    def norm(scores: Tensor) -> Tensor:
        return scores.sum(1)
