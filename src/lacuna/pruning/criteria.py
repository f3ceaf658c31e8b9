"""Criteria: one score per prunable weight; the lowest are removed. A new criterion is one function.

The parameters of a criterion, after the model, name what it reads: `seed`, `data`, `include_linear`, and any field of
the pruner that uses it. A criterion leaves the model as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.modes import plain_attention
from lacuna.randomness import derive, seeded
from lacuna.sparsity.mask import prunable
from lacuna.training.loop import copy_of

BatchNorm = Literal["train", "frozen"]
Scores = dict[str, Tensor]
Criterion = Callable[..., Scores]


def magnitude(model: nn.Module, *, include_linear: bool = False) -> Scores:
    """|θ| of the trained weights (Han et al., NeurIPS 2015)."""
    return {name: w.detach().abs() for name, w in prunable(model, include_linear).items()}


def random(model: nn.Module, *, seed: int, include_linear: bool = False) -> Scores:
    """Uniform draws in [0, 1): the baseline that knows nothing."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(w.shape, generator=generator) for name, w in prunable(model, include_linear).items()}


def taylor(
    model: nn.Module, *, data: UnlearningData, seed: int, batch_size: int = 256, include_linear: bool = False
) -> Scores:
    """Σ over batches of (θ ⊙ ∂ℓ/∂θ)²: what removing a weight does to ℓ, to first order (Molchanov et al., CVPR 2019).

    One pass over the retained samples in a random order, so that a sorted dataset makes no batches of one class;
    evaluation mode, images as stored. float64, as squares of small numbers are summed.
    """
    model = copy_of(model).eval()
    weights = _scored(model, include_linear)
    scores = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in weights.items()}
    index = data.index("retain")
    order = torch.randperm(len(index), generator=torch.Generator().manual_seed(seed)).to(index.device)
    for chosen in index[order].split(data.sizes("retain", batch_size)):
        gradients = _gradients(_loss(model, data, chosen), weights)
        for name, w in weights.items():
            scores[name] += (w.detach() * gradients[name]).double().square()
    return scores


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
    weights = _scored(model, include_linear)
    chosen = _balanced(data, samples_per_class, seed)
    with seeded(derive(seed, "noise"), data.device):
        gradients = _gradients(_loss(model, data, chosen), weights)
    return {name: (w.detach() * gradients[name]).abs() for name, w in weights.items()}


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
    weights = _scored(model, include_linear)
    everything = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with plain_attention(), seeded(derive(seed, "noise"), data.device):
        loss = _loss(model, data, _balanced(data, samples_per_class, seed), temperature=200.0)
        flow = torch.stack([g.square().sum() for g in _gradients(loss, everything, create_graph=True).values()]).sum()
        # ∂(½ gᵀg)/∂θ = Hg
        return {name: weights[name].detach() * hg for name, hg in _gradients(flow / 2, weights).items()}


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
    weights = _scored(model, include_linear)
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
    gradients = _gradients(flow, weights)
    return {name: gradients[name].mul_(w.detach()).abs_() for name, w in weights.items()}


def _scored(model: nn.Module, include_linear: bool) -> dict[str, nn.Parameter]:
    """The prunable weights of a copy; a layer that is not trained is scored as all others."""
    weights = prunable(model, include_linear)
    for weight in weights.values():
        weight.requires_grad_(True)
    return weights


def _loss(model: nn.Module, data: UnlearningData, chosen: Tensor, temperature: float = 1.0) -> Tensor:
    """ℓ on the images with these indices, as stored."""
    x = data.normalised(data.images[chosen], next(model.parameters()).dtype)
    return cross_entropy(model(x) / temperature, data.labels[chosen])


def _gradients(value: Tensor, parameters: dict[str, nn.Parameter], create_graph: bool = False) -> Scores:
    found = torch.autograd.grad(
        value, list(parameters.values()), create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return dict(zip(parameters, found, strict=True))


def _balanced(data: UnlearningData, samples_per_class: int, seed: int) -> Tensor:
    """Indices of as many retained samples of every class, class by class; all of a class that has fewer."""
    index = data.index("retain")
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed)).to(index.device)]
    labels = data.labels[index]
    return torch.cat([index[labels == label][:samples_per_class] for label in range(data.classes)])
