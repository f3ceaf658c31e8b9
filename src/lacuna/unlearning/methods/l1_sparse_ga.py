"""ℓ1-sparse unlearning by gradient ascent."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch
from lacuna.fields import Count, Positive
from lacuna.unlearning.base import register
from lacuna.unlearning.methods.l1_sparse import Penalised


@register("l1_sparse_ga")
@dataclass(frozen=True, kw_only=True)
class L1SparseGradientAscent(Penalised):
    """ℓ1-sparse gradient ascent: SGD on −ℓ(D_f) + γ_e ‖θ‖₁ over all unmasked parameters.

    As published, batch norm's running statistics drift to D_f's unless `batchnorm: frozen`; at the published rate that
    is most of the effect (see `ga`).
    Published values (CIFAR-10, ResNet-18): penalty 1e-4 to 5e-4, lr 1e-4, epochs 5, l1_on all, batchnorm train.
    Cost: 1 forward, 1 backward a step.
    Source: Jia et al., NeurIPS 2023; Thudi et al., EuroS&P 2022.
    """

    lr: Positive = 1e-4
    epochs: Count = 5

    def loss(self, model: nn.Module, forget: Batch, epoch: int) -> Tensor:
        return self.penalised(-cross_entropy(model(forget.x), forget.y), model, epoch)
