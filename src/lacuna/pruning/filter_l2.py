"""Filters by the L2 norm of their weights."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.pruning.structured import FilterPruner, l2
from lacuna.registry import register


@register("filter_l2")
@dataclass(frozen=True, kw_only=True)
class FilterL2(FilterPruner):
    """Filter pruning: remove the filters with the smallest ‖θ_T‖₂, θ ← m⊙θ_k, train on.

    Source: He et al., IJCAI 2018.
    """

    criterion = magnitude

    @staticmethod
    def norm(scores: Tensor) -> Tensor:
        return l2(scores)
