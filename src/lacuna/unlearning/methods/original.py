"""No unlearning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.unlearning.base import EditUnlearner, RunOptions, register


@register("original")
@dataclass(frozen=True, kw_only=True)
class Original(EditUnlearner):
    """Original model: θ = θ_o.

    The model as it was trained on everything, the sanity row of every table.
    Cost: nothing.
    Source: definition.
    """

    keeps: ClassVar[bool] = True

    def edit(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> None:
        pass
