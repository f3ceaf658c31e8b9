"""Boundary expanding: the forgotten samples get a class of their own, which then goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch, UnlearningData
from lacuna.fields import Count, NonNegative, Positive
from lacuna.models.anatomy import classifier as classifier
from lacuna.randomness import derive
from lacuna.sparsity.mask import Mask
from lacuna.training.state import LoopState
from lacuna.unlearning.base import LossUnlearner, register


@register("boundary_expand")
@dataclass(frozen=True, kw_only=True)
class BoundaryExpand(LossUnlearner):
    """Boundary expanding: SGD on ℓ(D_f with label C), C a shadow class beside the classes 0 … C−1, dropped at the end.

    The classifier gets one more row, drawn as PyTorch draws such a layer. Retained data are not read. As
    published, batch norm updates its running statistics, which drift to D_f's (`batchnorm: frozen` keeps them): with
    so small a rate that can be most of the effect.
    Published values (CIFAR-10, AllCNN): lr 1e-5, epochs 10, batch_size 64, weight_decay 0, batchnorm train.
    Cost: 1 forward, 1 backward a step.
    Source: Chen et al., CVPR 2023.
    """

    lr: Positive = 1e-5
    batch_size: Count = 64
    weight_decay: NonNegative = 0.0

    def loss(self, model: nn.Module, forget: Batch, work: LoopState) -> Tensor:
        return cross_entropy(model(forget.x), torch.full_like(forget.y, work.memory["shadow"]))

    def check(self, model: nn.Module) -> None:
        classifier(model)

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        name, layer = classifier(model)
        work.memory |= {"shadow": layer.out_features, "mask": work.mask}
        generator = torch.Generator().manual_seed(derive(work.seed, "shadow class"))
        bound = layer.in_features**-0.5  # of the uniform distribution that nn.Linear itself draws from
        rows = {
            key: (torch.rand(1, *p.shape[1:], generator=generator, dtype=torch.float64) * 2 - 1) * bound
            for key, p in layer.named_parameters()
        }
        _replace(layer, {key: torch.cat([p, rows[key].to(p)]) for key, p in layer.named_parameters()})
        if work.mask is not None:
            # a mask may reach the classifier; the shadow class is whole
            ones = {f"{name}.{key}": torch.ones_like(row, dtype=torch.bool) for key, row in rows.items()}
            masks = {n: work.mask[n] for n in work.mask}
            work.mask = Mask({n: torch.cat([k, ones[n]]) if n in ones else k for n, k in masks.items()})
        return data

    def finish(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        _, layer = classifier(model)
        _replace(layer, {key: p[: work.memory["shadow"]].clone() for key, p in layer.named_parameters()})
        work.mask = work.memory["mask"]


@torch.no_grad()
def _replace(layer: nn.Linear, values: Mapping[str, Tensor]) -> None:
    """New parameters in the same module, so that every name stays."""
    for key, value in values.items():
        setattr(layer, key, nn.Parameter(value.detach(), requires_grad=getattr(layer, key).requires_grad))
    layer.out_features = len(layer.weight)
