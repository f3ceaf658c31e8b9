"""Taylor: what removing a weight does to the loss, to first order."""

from __future__ import annotations

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.models.inference import copy_of
from lacuna.pruning.criteria.base import Scores, gradients_of, loss_on, scored


def taylor(
    model: nn.Module, *, data: UnlearningData, seed: int, batch_size: int = 256, include_linear: bool = False
) -> Scores:
    """Σ over batches of (θ ⊙ ∂ℓ/∂θ)²: what removing a weight does to ℓ, to first order (Molchanov et al., CVPR 2019).

    One pass over the retained samples in a random order, so that a sorted dataset makes no batches of one class;
    evaluation mode, images as stored. float64, as squares of small numbers are summed.
    """
    model = copy_of(model).eval()
    weights = scored(model, include_linear)
    scores = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in weights.items()}
    index = data.index("retain")
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed)).to(index.device)
    for chosen in index[order].split(data.sizes("retain", batch_size)):
        gradients = gradients_of(loss_on(model, data, chosen), weights)
        for name, w in weights.items():
            scores[name] += (w.detach() * gradients[name]).double().square()
    return scores
