"""A competent teacher for what is kept, an incompetent one for what is to be forgotten."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lacuna.data.batches import Batch, UnlearningData
from lacuna.fields import Count, Positive, Share
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.training.state import LoopState
from lacuna.unlearning.base import LossUnlearner, register
from lacuna.unlearning.distillation import divergence, probabilities, taught, teacher_of


@register("bad_teacher")
@dataclass(frozen=True, kw_only=True)
class BadTeacher(LossUnlearner):
    """Bad teacher: SGD on KL(mix ‖ p_θ; T), mix = p_random on D_f, p_o on a sample of D_r, one mixed shuffled stream.

    p_o: the original model; p_random: the same architecture, dense, newly initialised; both in evaluation mode.
    retain_share: share of D_r that is used, in (0, 1], drawn once.
    temperature: T, > 0.
    Published values (CIFAR-10, ResNet-18): retain_share 0.3, temperature 1, epochs 1, lr 1e-4. Here lr 0.01: SGD
    instead of Adam.
    Cost: 3 forward, 1 backward a step, two of the forwards the teachers'.
    Source: Chundawat et al., AAAI 2023.
    """

    lr: Positive = 0.01
    epochs: Count = 1
    retain_share: Share = 0.3
    temperature: Positive = 1.0

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        work.memory["competent"] = teacher_of(model)
        incompetent = teacher_of(model)
        reinitialise(incompetent, derive(work.seed, "incompetent teacher"))
        work.memory["incompetent"] = incompetent
        retain = data.index("retain")
        generator = torch.Generator().manual_seed(derive(work.seed, "retained sample"))
        drawn = torch.randperm(len(retain), generator=generator)[: max(1, round(self.retain_share * len(retain)))]
        # in the stored order, for data that is not shuffled
        return replace(data, parts={**data.parts, "retain": retain[drawn.sort().values.to(retain.device)]})

    def loss(self, model: nn.Module, mixed: Batch, work: LoopState) -> Tensor:
        return divergence(self.target(mixed, work), model(mixed.x), self.temperature)

    def target(self, batch: Batch, work: LoopState) -> Tensor:
        """The mix of the teachers' probabilities, [n, classes]."""
        good, bad = (taught(work.memory[who], batch.x) for who in ("competent", "incompetent"))
        return probabilities(torch.where(batch.forgotten[:, None], bad, good), self.temperature)
