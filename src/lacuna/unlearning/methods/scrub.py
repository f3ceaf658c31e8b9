"""Selectively disobeying a teacher: away from it on the forgotten data, towards it on the retained."""

from __future__ import annotations

import fractions
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch, UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Index, NonNegative, Positive
from lacuna.models.inference import load_tensors, logits, state_of
from lacuna.training.state import LoopState
from lacuna.unlearning.base import LossUnlearner, register
from lacuna.unlearning.distillation import divergence, probabilities, taught, teacher_of


@register("scrub")
@dataclass(frozen=True, kw_only=True)
class Scrub(LossUnlearner):
    """SCRUB: max steps on −T² KL(p_o‖p_θ; T) over D_f, min steps on γ ℓ + α T² KL(p_o‖p_θ; T) over D_r.

    Teacher p_o: the original model in evaluation mode. Max and min steps share one SGD and its momentum.
    msteps: epochs, from the first, that have max steps; 0 is distillation on D_r alone.
    temperature: T, > 0.
    ce_weight: γ, ≥ 0.
    kl_weight: α, ≥ 0.
    order: interleaved spreads the max steps evenly between the min steps; passes, D_f, then D_r.
    rewind: SCRUB+R: end with the epoch whose error on D_f is closest to the last epoch's on held-out samples like D_f.
    Published values (CIFAR-10, ResNet-18): temperature 4, ce_weight 1 or 0.99, kl_weight 0.5 or 0.001, msteps 3 or 2,
    lr 5e-4, epochs 10 or 3, order passes. Here order interleaved: the max steps of an epoch do not come all at once.
    Cost: 2 forward, 1 backward a step, one of the forwards the teacher's; with rewind a pass over D_f each epoch.
    Source: Kurmanji et al., NeurIPS 2023.
    """

    lr: Positive = 5e-4
    msteps: Index = 3
    temperature: Positive = 4.0
    ce_weight: NonNegative = 1.0
    kl_weight: NonNegative = 0.5
    order: Literal["interleaved", "passes"] = "interleaved"
    rewind: bool = False

    def plan(self, epoch: int, passes: dict[str, int]) -> list[tuple[str, ...]]:
        maxima, minima = passes["forget"] * (epoch < self.msteps), passes["retain"]
        if self.order == "passes":
            return [*[("forget",)] * maxima, *[("retain",)] * minima]
        steps: list[tuple[str, ...]] = []
        for i in range(minima):
            # max steps done before min step i: ⌈(i+1)·maxima/minima⌉
            due = -(-(i + 1) * maxima // minima) + (-i * maxima // minima)
            steps += [*[("forget",)] * due, ("retain",)]
        return steps

    def loss(self, model: nn.Module, forget: Batch | None, retain: Batch | None, work: LoopState) -> Tensor:
        teacher = work.memory["teacher"]
        if forget is not None:
            return -self.distance(teacher, model(forget.x), forget.x)
        assert retain is not None, "a step reads one of the two"
        out = model(retain.x)
        return self.ce_weight * cross_entropy(out, retain.y) + self.kl_weight * self.distance(teacher, out, retain.x)

    def distance(self, teacher: nn.Module, out: Tensor, x: Tensor) -> Tensor:
        """T² KL(p_o‖p_θ; T), mean over the batch: the factor keeps the gradient's size whatever T is."""
        target = probabilities(taught(teacher, x), self.temperature)
        return self.temperature**2 * divergence(target, out, self.temperature)

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        work.memory["teacher"] = teacher_of(model)
        if self.rewind:
            work.memory["like_forgotten"] = _like_forgotten(data)
        return data

    def after_epoch(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        if self.rewind:
            # one state per number of errors, the latest: it had the most min steps
            wrong = _errors(model, data, "forget")
            work.tensors[f"epoch/{wrong}"] = torch.tensor(work.epoch + 1)
            work.tensors |= {f"state/{wrong}/{name}": value for name, value in state_of(model).items()}

    def finish(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        if not self.rewind:
            return
        data = replace(data, parts={**data.parts, "like_forgotten": work.memory["like_forgotten"]})
        aim = fractions.Fraction(_errors(model, data, "like_forgotten"), len(data.index("like_forgotten")))
        of = len(data.index("forget"))
        seen = [int(key.removeprefix("epoch/")) for key in work.tensors if key.startswith("epoch/")]
        # of two that are equally close the one that forgets more
        wrong = min(seen, key=lambda n: (abs(fractions.Fraction(n, of) - aim), -n))
        prefix = f"state/{wrong}/"
        load_tensors(model, {k.removeprefix(prefix): v for k, v in work.tensors.items() if k.startswith(prefix)})
        work.facts |= {"epoch": int(work.tensors[f"epoch/{wrong}"]), "forget_error": wrong / of, "aim": float(aim)}


def _errors(model: nn.Module, data: UnlearningData, part: str) -> int:
    return int((logits(model, data, part).argmax(1) != data.labels[data.index(part)].cpu()).sum())


def _like_forgotten(data: UnlearningData) -> Tensor:
    """The validation samples with a label that occurs in D_f: the forgotten class, or all of them for random D_f."""
    val = data.parts.get("val", data.index("forget")[:0])
    alike = val[torch.isin(data.labels[val], data.labels[data.index("forget")])]
    if not len(alike):
        raise LacunaError(
            "scrub.rewind: true is not allowed for data without 'val' samples of the forgotten classes; allowed: false"
        )
    return alike
