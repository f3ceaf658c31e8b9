"""Filters by the L1 norm of their weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.pruning.structured import FilterPruner
from lacuna.registry import register


@register("filter_l1")
@dataclass(frozen=True, kw_only=True)
class FilterL1(FilterPruner):
    """Filter pruning: remove the filters with the smallest ‖θ_T‖₁, θ ← m⊙θ_k, train on.

    Source: Li et al., ICLR 2017.
    """

    criterion = magnitude

    @staticmethod
    def norm(scores: Tensor) -> Tensor:
        return scores.sum(1)
