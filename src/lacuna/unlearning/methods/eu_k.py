"""EU-k: the last k blocks are drawn anew and trained on what is retained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.inference import copy_of
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.last_blocks import LastBlocks


@register("eu_k")
@dataclass(frozen=True, kw_only=True)
class ExactUnlearning(LastBlocks):
    """EU-k: the last k blocks and the classifier start from a new initialisation, then SGD on ℓ(D_r) of them alone.

    What they knew of D_f is gone; what the blocks before them and the mask know stays.
    Published values (CIFAR-10, ResNet-18): k 1, lr 0.01, epochs 10.
    Cost: 1 forward, 1 backward a step, the backward pass through the last blocks only.
    Source: Goel et al., arXiv 2201.06640 (2022).
    """

    @torch.no_grad()
    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        data = super().begin(model, data, work)
        moving = self.moving(model)
        fresh = copy_of(model)
        for parameter in fresh.parameters():
            parameter.fill_(torch.nan)  # so that a value which no module draws anew shows
        # the whole copy: a network may initialise its parts in its own way
        reinitialise(fresh, derive(work.seed, "init"))
        drawn = fresh.state_dict()
        for name, value in model.state_dict().items():
            if name.rpartition(".")[0] in moving:
                if bool(drawn[name].isnan().any()):
                    raise LacunaError(
                        f"{self.name}: '{name}' cannot be initialised anew: its module has no reset_parameters"
                    )
                value.copy_(drawn[name])
        return data
