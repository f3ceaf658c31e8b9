"""Convolution transpose: every kernel turned over its diagonal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Count, Positive
from lacuna.models.anatomy import computed_weights, weights
from lacuna.sparsity.mask import Mask
from lacuna.training.objective import Schedule
from lacuna.training.state import LoopState
from lacuna.unlearning.base import register
from lacuna.unlearning.methods.ft import FineTuning


@register("conv_transpose")
@dataclass(frozen=True, kw_only=True)
class ConvTranspose(FineTuning):
    """Convolution transpose: W[o, i, h, w] ← W[o, i, w, h] in every convolution, then SGD on ℓ(D_r).

    The mask is transposed with its weights, so the outcome's mask is the transposed one. 1×1 kernels stay as they are.
    In a transformer that is each patch turned over its diagonal, and nothing else.
    Published values (ResNet-18, age of faces): lr 1e-3, schedule cosine, epochs 3, batch_size 64.
    Cost: 1 forward, 1 backward a step.
    Source: NeurIPS 2023 unlearning challenge, fifth place (arXiv 2406.09073); Cadet et al., arXiv 2410.01276.
    """

    lr: Positive = 1e-3
    epochs: Count = 3
    batch_size: Count = 64
    schedule: Schedule = "cosine"

    def check(self, model: nn.Module) -> None:
        kernels(model)

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        work.mask = transpose(model, work.mask)
        return data


@torch.no_grad()
def transpose(model: nn.Module, mask: Mask | None) -> Mask | None:
    """Transpose every convolution kernel in place; returns the mask that goes with it.

    Raises LacunaError as `kernels` does.
    """
    turned = kernels(model)
    for kernel in turned.values():
        kernel.copy_(kernel.mT.clone())
    return mask and Mask({name: mask[name].mT if name in turned else mask[name] for name in mask})


def kernels(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of all convolutions, by name.

    Raises LacunaError for a kernel that is not square, whose transpose would not fit its layer; and if transposing
    would change nothing, as there is none larger than 1×1.
    """
    if computed := computed_weights(model, nn.Conv2d):
        raise LacunaError(
            f"conv_transpose: '{computed[0]}' is computed from other parameters (a parametrization); allowed: "
            "convolutions with weights of their own"
        )
    layers = weights(model, nn.Conv2d)
    for name, kernel in layers.items():
        height, width = kernel.shape[2:]
        if height != width:
            raise LacunaError(f"conv_transpose: '{name}' has a {height}×{width} kernel; allowed: square kernels")
    if all(kernel[0, 0].numel() == 1 for kernel in layers.values()):
        raise LacunaError(
            f"conv_transpose: {type(model).__name__} has nothing to transpose; allowed: a network with a convolution "
            "larger than 1×1"
        )
    return layers
