"""SNIP: how sensitive the loss is to a gate on each weight."""

from __future__ import annotations

from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.models.inference import copy_of
from lacuna.pruning.criteria.base import BatchNorm, Scores, balanced, gradients_of, loss_on, scored
from lacuna.randomness import derive, seeded


def snip(
    model: nn.Module,
    *,
    data: UnlearningData,
    seed: int,
    samples_per_class: int = 10,
    batchnorm: BatchNorm = "train",
    include_linear: bool = False,
) -> Scores:
    """|θ ⊙ ∂ℓ/∂θ| on one balanced batch: the sensitivity of ℓ to a gate on each weight (Lee et al., ICLR 2019).

    batchnorm: train normalises by the batch, as the running statistics mean nothing before training; frozen by those.
    """
    model = copy_of(model).train(batchnorm == "train")
    weights = scored(model, include_linear)
    chosen = balanced(data, samples_per_class, seed)
    with seeded(derive(seed, "noise"), data.device):
        gradients = gradients_of(loss_on(model, data, chosen), weights)
    return {name: (w.detach() * gradients[name]).abs() for name, w in weights.items()}
