"""SynFlow: how much of the flow through the network runs through each weight; sees no data."""

from __future__ import annotations

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.inference import copy_of
from lacuna.pruning.criteria.base import Scores, gradients_of, scored


def synflow(model: nn.Module, *, data: UnlearningData, include_linear: bool = False) -> Scores:
    """|∂R/∂θ ⊙ θ|, R = Σ logits of an image of ones in the network of absolute values (Tanaka et al., NeurIPS 2020).

    Evaluation mode. float64: R is a product over the layers, and leaves the range of float32 in deep networks.
    Raises LacunaError if it leaves that of float64.
    """
    model = copy_of(model).double().eval()
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.abs_()
    weights = scored(model, include_linear)
    ones = torch.ones(1, *data.images.shape[1:], dtype=torch.float64, device=data.device)
    try:
        flow = model(ones).sum()
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise LacunaError(
            f"synflow: {type(model).__name__} does not run in 64 bits ({reason}); allowed: a network that computes in "
            "the type of its parameters"
        ) from None
    if not flow.isfinite():
        raise LacunaError(f"synflow: R is {flow.item()}, beyond the range of 64 bits; allowed: a shallower network")
    gradients = gradients_of(flow, weights)
    return {name: gradients[name].mul_(w.detach()).abs_() for name, w in weights.items()}
