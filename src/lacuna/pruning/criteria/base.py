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
from lacuna.sparsity.mask import prunable

BatchNorm = Literal["train", "frozen"]
Scores = dict[str, Tensor]
Criterion = Callable[..., Scores]


def scored(model: nn.Module, include_linear: bool) -> dict[str, nn.Parameter]:
    """The prunable weights of a copy; a layer that is not trained is scored as all others."""
    weights = prunable(model, include_linear)
    for weight in weights.values():
        weight.requires_grad_(True)
    return weights


def loss_on(model: nn.Module, data: UnlearningData, chosen: Tensor, temperature: float = 1.0) -> Tensor:
    """ℓ on the images with these indices, as stored."""
    x = data.normalised(data.images[chosen], next(model.parameters()).dtype)
    return cross_entropy(model(x) / temperature, data.labels[chosen])


def gradients_of(value: Tensor, parameters: dict[str, nn.Parameter], create_graph: bool = False) -> Scores:
    gradients = torch.autograd.grad(
        value, list(parameters.values()), create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return dict(zip(parameters, gradients, strict=True))


def balanced(data: UnlearningData, samples_per_class: int, seed: int) -> Tensor:
    """Indices of as many retained samples of every class, class by class; all of a class that has fewer."""
    index = data.index("retain")
    index = index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed)).to(index.device)]
    labels = data.labels[index]
    return torch.cat([index[labels == label][:samples_per_class] for label in range(data.classes)])
