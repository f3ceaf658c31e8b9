"""Decoupled distillation: the original model's own opinion on the forgotten data, without the true class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lacuna.data.batches import Batch, UnlearningData
from lacuna.fields import Count, NonNegative, Positive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import LossUnlearner, register
from lacuna.unlearning.distillation import divergence, probabilities, taught, teacher_of


@register("delete")
@dataclass(frozen=True, kw_only=True)
class Delete(LossUnlearner):
    """DELETE: SGD on KL(q ‖ p_θ) over D_f, q = p_o with the true class at 0, renormalised; nothing on D_r.

    p_o: the original model in evaluation mode. Needs no retained data; meant for whole classes, defined for any D_f.
    Published values (CIFAR-10, ResNet-18): lr 1e-3, epochs 20, batch_size 128, weight_decay 0, batchnorm train.
    Cost: 2 forward, 1 backward a step, one of the forwards the teacher's.
    Source: Zhou et al., CVPR 2025.
    """

    lr: Positive = 1e-3
    epochs: Count = 20
    batch_size: Count = 128
    weight_decay: NonNegative = 0.0

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        work.memory["teacher"] = teacher_of(model)
        return data

    def loss(self, model: nn.Module, forget: Batch, work: LoopState) -> Tensor:
        return divergence(self.target(work.memory["teacher"], forget), model(forget.x))

    def target(self, teacher: nn.Module, batch: Batch) -> Tensor:
        """q, [n, classes]: exactly 0 at the true class, the other classes in their old proportion."""
        out = taught(teacher, batch.x)
        return probabilities(out.scatter(1, batch.y[:, None], -torch.inf))
