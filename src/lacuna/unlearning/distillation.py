"""What the methods with teachers share: frozen copies and the divergence from them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, softmax

from lacuna.models.inference import copy_of


def teacher_of(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode that no step changes."""
    return copy_of(model).eval().requires_grad_(False)


@torch.no_grad()
def taught(teacher: nn.Module, x: Tensor) -> Tensor:
    """The teacher's logits [n, classes], at least in float32."""
    return _full(teacher(x))


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """softmax(logits / T), at least in float32."""
    return softmax(_full(logits) / temperature, dim=1)


def divergence(target: Tensor, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(target ‖ softmax(logits / T)) in nats: summed over classes, mean over samples; 0 · log 0 = 0.

    The common kl_div(..., reduction="mean") divides by the number of classes too; this does not.
    """
    return kl_div(log_softmax(_full(logits) / temperature, dim=1), target, reduction="batchmean")


def _full(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
