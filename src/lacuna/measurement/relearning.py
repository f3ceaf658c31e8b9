"""Learning D_f again: how many epochs of fine-tuning an unlearned model needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch, UnlearningData
from lacuna.fields import Count, Fraction, NonNegative, Positive, values_of
from lacuna.models.inference import accuracy
from lacuna.training.loop import fit
from lacuna.training.objective import Objective
from lacuna.training.state import LoopState

if TYPE_CHECKING:
    from lacuna.sparsity.mask import Mask


@dataclass(frozen=True, kw_only=True)
class Relearning(Objective):
    """SGD on ℓ(D_f) until the accuracy on D_f is back at (1 − margin) of the original model's.

    epochs: the most that are tried.
    margin: share of the original model's accuracy that may be missing.
    """

    epochs: Count = 50
    lr: Positive = 1e-3
    margin: Fraction = 0.05

    def loss(self, model: nn.Module, forget: Batch) -> Tensor:
        return cross_entropy(model(forget.x), forget.y)


@dataclass(frozen=True, kw_only=True)
class _ToTarget(Relearning):
    """target: accuracy on D_f, in percent, that ends the run."""

    target: NonNegative

    def after_epoch(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        reached = torch.tensor([accuracy(model, data, "forget")], dtype=torch.float64)
        work.tensors["accuracy"] = torch.cat([work.tensors.get("accuracy", reached[:0]).cpu(), reached])

    def done(self, work: LoopState) -> bool:
        return float(work.tensors["accuracy"][-1]) >= self.target

    def finish(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        work.facts |= {str(epoch): value for epoch, value in enumerate(work.tensors["accuracy"].tolist(), 1)}


def relearn(
    model: nn.Module,
    original: nn.Module,
    data: UnlearningData,
    settings: Relearning,
    *,
    seed: int,
    mask: Mask | None = None,
    log: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Fine-tune `model` on D_f, in place and under its mask, until it knows D_f again.

    original: the model before unlearning; its accuracy on D_f sets the target.
    Returns `target` and `accuracy` (before, then after each epoch) in percent, and `epochs`: the first with
    accuracy >= target, 0 if it never was below, None if it is not reached in `settings.epochs`.
    """
    target = (1 - settings.margin) * accuracy(original, data, "forget")
    reached = [accuracy(model, data, "forget")]
    if reached[0] < target:
        objective = _ToTarget(**values_of(settings), target=target)
        run = fit(model, objective, data, seed=seed, mask=mask, log=log, name="relearning")
        reached += run.facts.values()
    epochs = len(reached) - 1 if reached[-1] >= target else None
    return {"epochs": epochs, "target": target, "accuracy": reached}
