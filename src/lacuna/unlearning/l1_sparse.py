"""Sparsity-aware unlearning with an ℓ1 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch
from lacuna.fields import Index, NonNegative, Positive
from lacuna.unlearning.base import LossUnlearner, register


@register("l1_sparse")
@dataclass(frozen=True, kw_only=True)
class L1Sparse(LossUnlearner):
    """ℓ1-sparse unlearning: SGD on ℓ(D_r) + γ_e ‖θ‖₁ over all unmasked parameters.

    penalty: γ, the weight of the norm in epoch 0. The penalty alone gives no exact zeros.
    penalty_schedule: constant; linear_decay, γ_e = γ(1 − e/T); linear_increase, γ_e = γ e/T; T epochs have the penalty.
    no_l1_epochs: this many epochs at the end without penalty, so T = epochs − no_l1_epochs.
    l1_on: all parameters, batch norm and biases included (as published), or weights (tensors of two or more axes).
    Published values (CIFAR-10, ResNet-18): γ 5e-4 to 1e-4, lr 0.01, 10 epochs. Source: Jia et al., NeurIPS 2023.
    """

    lr: Positive = 0.01
    penalty: NonNegative = 5e-4
    penalty_schedule: Literal["constant", "linear_decay", "linear_increase"] = "constant"
    no_l1_epochs: Index = 0
    l1_on: Literal["all", "weights"] = "all"

    def loss(self, model: nn.Module, retain: Batch, epoch: int) -> Tensor:
        loss = cross_entropy(model(retain.x), retain.y)
        gamma = self.penalty_at(epoch)
        if gamma == 0:
            return loss
        # masked weights are exactly 0: they add nothing and sign(0) = 0 moves nothing
        return loss + gamma * sum(p.abs().sum() for p in model.parameters() if self.l1_on == "all" or p.dim() > 1)

    def penalty_at(self, epoch: int) -> float:
        """γ_e of an epoch, counted from 0."""
        penalised = self.epochs - self.no_l1_epochs
        if epoch >= penalised:
            return 0.0
        share = {"constant": 1.0, "linear_decay": 1 - epoch / penalised, "linear_increase": epoch / penalised}
        return self.penalty * share[self.penalty_schedule]
