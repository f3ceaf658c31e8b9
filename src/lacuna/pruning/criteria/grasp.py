"""GraSP: what removing a weight does to the gradient flow."""

from __future__ import annotations

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.models.inference import copy_of
from lacuna.models.modes import plain_attention
from lacuna.pruning.criteria.base import BatchNorm, Scores, balanced, gradients_of, loss_on, scored
from lacuna.randomness import derive, seeded


def grasp(
    model: nn.Module,
    *,
    data: UnlearningData,
    seed: int,
    samples_per_class: int = 10,
    batchnorm: BatchNorm = "train",
    include_linear: bool = False,
) -> Scores:
    """θ ⊙ Hg on one balanced batch, ℓ of logits/200, g and H over all parameters (Wang et al., ICLR 2020).

    The published score is its negative, of which the largest go: to first order those whose removal lowers the
    gradient flow gᵀg least, or raises it most. batchnorm: as in `snip`.
    """
    model = copy_of(model).train(batchnorm == "train")
    weights = scored(model, include_linear)
    everything = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with plain_attention(), seeded(derive(seed, "noise"), data.device):
        loss = loss_on(model, data, balanced(data, samples_per_class, seed), temperature=200.0)
        flow = torch.stack([g.square().sum() for g in gradients_of(loss, everything, create_graph=True).values()]).sum()
        # ∂(½ gᵀg)/∂θ = Hg
        return {name: weights[name].detach() * hg for name, hg in gradients_of(flow / 2, weights).items()}
