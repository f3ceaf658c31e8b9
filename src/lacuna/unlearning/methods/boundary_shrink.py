"""Boundary shrinking: the forgotten samples are given to their nearest neighbours."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch, UnlearningData
from lacuna.fields import Count, NonNegative, Positive
from lacuna.models.modes import evaluating
from lacuna.training.state import LoopState
from lacuna.unlearning.base import LossUnlearner, register


@register("boundary_shrink")
@dataclass(frozen=True, kw_only=True)
class BoundaryShrink(LossUnlearner):
    """Boundary shrinking: SGD on ℓ(D_f with labels ŷ), ŷ = argmax_{c≠y} f_c(x + ε sign ∇_x ℓ) at θ_o.

    The nearest wrong class is found once, by one FGSM step on the stored image in evaluation mode. The published code
    takes the arg-max over all classes: where the step crosses no boundary, it trains on the true label. Retained data
    are not read. As published, batch norm's running statistics drift to D_f's unless `batchnorm: frozen`.
    epsilon: ε, in pixel values scaled to [0, 1] and clipped there (normalised float images: times 1/std, not clipped).
    Published values (CIFAR-10, AllCNN): epsilon 0.1, lr 1e-5, epochs 10, batch_size 64, weight_decay 0,
    batchnorm train.
    Cost: 1 forward, 1 backward a step; once two forwards and a backward over D_f.
    Source: Chen et al., CVPR 2023.
    """

    lr: Positive = 1e-5
    batch_size: Count = 64
    weight_decay: NonNegative = 0.0
    epsilon: NonNegative = 0.1

    def loss(self, model: nn.Module, forget: Batch) -> Tensor:
        return cross_entropy(model(forget.x), forget.y)

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        dtype = next(model.parameters()).dtype
        with evaluating(model):
            batches = data.plain_batches("forget", self.batch_size, dtype)
            nearest = [self.nearest(model, x, y, data) for x, y in batches]
        labels = data.labels.clone()
        labels[data.index("forget")] = torch.cat(nearest)
        return dataclasses.replace(data, labels=labels)

    def nearest(self, model: nn.Module, x: Tensor, y: Tensor, data: UnlearningData) -> Tensor:
        """The wrong class that wins after one step up the loss, int64 [n]; the model is in evaluation mode."""
        x = x.detach().requires_grad_()
        # the sum, so that each image's gradient is its own and its sign does not underflow
        (gradient,) = torch.autograd.grad(cross_entropy(model(x), y, reduction="sum"), x)
        with torch.no_grad():
            mean, std = (x.new_tensor(values).view(1, -1, 1, 1) for values in (data.mean, data.std))
            moved = x + self.epsilon / std * gradient.sign()
            if data.images.dtype == torch.uint8:
                moved = moved.clamp(-mean / std, (1 - mean) / std)
            nearest: Tensor = model(moved).scatter(1, y[:, None], -torch.inf).argmax(1)
            return nearest
