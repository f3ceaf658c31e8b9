"""What gradient surgery shares: two losses from one forward pass, joined by their gradients or by a weight."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch, UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import Count, Positive
from lacuna.training.state import LoopState, seed_noise
from lacuna.unlearning.base import LossUnlearner
from lacuna.unlearning.methods.rl import RandomLabels

NEGLIGIBLE = 1e-8  # added to losses before their logarithm


@dataclass(frozen=True, kw_only=True)
class Surgery(LossUnlearner):
    """SGD θ ← θ − η d on two losses that are both minimised: L_f to forget, L_r to retain.

    The samples of a step, of whichever set, go through the model in one forward pass: batch norm normalises them
    together and counts them once, as in the released code of EUPMU. A loss without a sample in the batch is 0 and has
    no gradient. Gradients of masked weights are 0 before anything is computed from them.
    batches: mixed, as published by EUPMU: one shuffled stream of D_f and D_r, an epoch has each sample once; equal: a
    batch of each set in every step.
    weights: shares, as published by EUPMU: L_f and L_r are the mean losses of their samples times their shares of the
    batch, so that L_f + L_r is the batch's mean; equal: the mean losses.
    forget_loss: L_f, cross-entropy with random labels, drawn anew at every visit, or ascent, −ℓ(D_f).
    exclude_true: never draw the true label.
    clip: largest norm of the finished gradient, over unmasked weights; null: no limit.
    epoch_of: with batches equal, a pass over the longest set (the other starts over), or over the forget set.
    """

    epochs: Count = 5
    lr: Positive = 1e-3
    batches: Literal["mixed", "equal"] = "mixed"
    weights: Literal["shares", "equal"] = "shares"
    forget_loss: Literal["random_labels", "ascent"] = "random_labels"
    exclude_true: bool = False
    clip: Positive | None = None
    epoch_of: Literal["longest", "forget"] = "longest"

    reads: ClassVar[str] = "forget and retain"

    def __post_init__(self) -> None:
        if self.batches == "mixed" and self.epoch_of == "forget":
            raise LacunaError(
                f"{self.name}.epoch_of: forget is not allowed with batches mixed, whose epoch passes over both sets; "
                "allowed: longest, or batches equal"
            )

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        keep = {id(weight): kept for weight, kept in work.mask.pairs(model)} if work.mask is not None else {}
        work.memory["kept"] = [(p, keep.get(id(p))) for p in model.parameters() if p.requires_grad]
        return data

    def plan(self, epoch: int, passes: dict[str, int]) -> list[tuple[str, ...]]:
        """A pass over the mixed stream, or both streams in every step; a shorter one starts over or ends the epoch."""
        if self.batches == "mixed":
            return [("mixed",)] * passes["mixed"]
        both = passes["forget"], passes["retain"]
        return [("forget", "retain")] * (max(both) if self.epoch_of == "longest" else both[0])

    def losses(
        self, model: nn.Module, forget: Batch | None, retain: Batch | None, mixed: Batch | None, work: LoopState
    ) -> tuple[Tensor, Tensor]:
        """L_f and L_r with the labels that were drawn for this step, from one forward pass."""
        x = torch.cat([batch.x for batch in (forget, retain, mixed) if batch is not None])
        forgotten, labels = work.memory["forgotten"], work.memory["labels"]
        each = cross_entropy(model(x), labels, reduction="none")
        # by sums: nothing is divided by the number of samples of a set that the batch lacks
        sums = torch.where(forgotten, each, 0).sum(), torch.where(forgotten, 0, each).sum()
        n: list[Tensor | int] = [len(each)] * 2
        if self.weights == "equal":
            n = [forgotten.sum().clamp_min(1), (~forgotten).sum().clamp_min(1)]
        l_f, l_r = sums[0] / n[0], sums[1] / n[1]
        return -l_f if self.forget_loss == "ascent" else l_f, l_r

    def backward(self, model: nn.Module, batches: Mapping[str, Batch], work: LoopState) -> Tensor:
        read = [batches[stream] for stream in self.streams if stream in batches]
        work.memory["forgotten"] = torch.cat([batch.forgotten for batch in read])
        work.memory["labels"] = torch.cat([self.labels(batch) for batch in read])
        l_f, l_r = self._call(self.losses, model, batches, work)
        self.derive(l_f, l_r, work)
        if self.clip is not None:
            clip([p.grad for p, _ in work.memory["kept"] if p.grad is not None], self.clip)
        total: Tensor = (l_f + l_r).detach()
        return total

    def labels(self, batch: Batch) -> Tensor:
        """The labels of a batch as they are learnt, int64 [n]."""
        if self.forget_loss == "ascent":
            return batch.y
        return torch.where(batch.forgotten, RandomLabels(exclude_true=self.exclude_true).draw(batch), batch.y)

    @staticmethod
    def present(work: LoopState) -> Tensor:
        """Whether the step's batch holds a sample of D_f and of D_r, bool [2]."""
        forgotten = work.memory["forgotten"]
        return torch.stack([forgotten.any(), ~forgotten.all()])

    def derive(self, l_f: Tensor, l_r: Tensor, work: LoopState) -> None:
        """Leave d in the parameters' gradients, 0 where the mask is."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class GradientSurgery(Surgery):
    """Two backward passes; `combine` makes the direction d from both gradients.

    A step whose d is 0 is moved by momentum and weight decay alone; the run tells how many there were.
    """

    def begin(self, model: nn.Module, data: UnlearningData, work: LoopState) -> UnlearningData:
        work.tensors["still"] = torch.zeros((), dtype=torch.int64, device=work.device)
        return super().begin(model, data, work)

    def finish(self, model: nn.Module, data: UnlearningData, work: LoopState) -> None:
        super().finish(model, data, work)
        if still := int(work.tensors["still"]):
            work.facts["steps_without_direction"] = float(still)

    def describe(self, facts: Mapping[str, float]) -> str:
        still = facts.get("steps_without_direction", 0.0)
        why = "their batches lack a sample of D_f or of D_r, or the gradients cancel"
        return f"warning: d is 0 in {still:,.0f} steps: {why}" if still else ""

    def combine(self, g_f: Tensor, g_r: Tensor, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        """d from the gradients of L_f and L_r, flat vectors that are 0 on masked weights."""
        raise NotImplementedError

    def derive(self, l_f: Tensor, l_r: Tensor, work: LoopState) -> None:
        kept = work.memory["kept"]
        g_f = _gradient(l_f, kept, retain_graph=True)
        g_r = _gradient(l_r, kept)
        with torch.no_grad():
            d = self.combine(g_f, g_r, l_f.detach(), l_r.detach(), work)
            work.tensors["still"] = work.tensors["still"] + ~d.any()
            for (p, _), part in zip(kept, d.split([p.numel() for p, _ in kept]), strict=True):
                p.grad = torch.empty_like(p).copy_(part.view(p.shape))


@dataclass(frozen=True, kw_only=True)
class LossWeighting(Surgery):
    """One backward pass of a weighted loss; the weights follow what the steps did to the losses."""

    def weighted(self, l_f: Tensor, l_r: Tensor, work: LoopState) -> Tensor:
        """The loss to derive."""
        raise NotImplementedError

    def derive(self, l_f: Tensor, l_r: Tensor, work: LoopState) -> None:
        work.memory["losses"] = l_f.detach(), l_r.detach()
        self.weighted(l_f, l_r, work).backward()
        for p, keep in work.memory["kept"]:
            if keep is not None and p.grad is not None:
                p.grad.mul_(keep)

    @torch.no_grad()
    def losses_now(self, model: nn.Module, batches: Mapping[str, Batch], work: LoopState) -> tuple[Tensor, Tensor]:
        """L_f and L_r of this step's batches again, for the weights as they are now; batch norm is left as it is.

        The same function as before the step: the same augmented samples, labels and dropout, normalised by the
        statistics of the same joint batch. With running statistics, or without the forget samples in the batch, the
        loss would be another one, and its difference to the first would not vanish with the learning rate.
        """
        seed_noise(work)
        with untracked(model):
            losses: tuple[Tensor, Tensor] = self._call(self.losses, model, batches, work)
            return losses


@contextlib.contextmanager
def untracked(model: nn.Module) -> Iterator[None]:
    """Batch norm that normalises by the batch goes on doing so, but neither updates nor counts; a frozen one stays."""
    tracking = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True


def _gradient(loss: Tensor, kept: list[tuple[nn.Parameter, Tensor | None]], retain_graph: bool = False) -> Tensor:
    gradients = torch.autograd.grad(
        loss, [p for p, _ in kept], retain_graph=retain_graph, allow_unused=True, materialize_grads=True
    )
    parts = [g if keep is None else g * keep for g, (_, keep) in zip(gradients, kept, strict=True)]
    return torch.cat([part.reshape(-1) for part in parts])


@torch.no_grad()
def clip(gradients: Sequence[Tensor], bound: float) -> None:
    """Scale the gradients in place so that their common norm is at most `bound`."""
    norm = torch.stack([torch.linalg.vector_norm(g) for g in gradients]).norm()
    scale = (bound / (norm + 1e-6)).clamp_max(1.0)
    for g in gradients:
        g.mul_(scale)


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b for b ≥ 0, and 0 where b is too small to divide by: a zero gradient asks for nothing."""
    tiny = torch.finfo(b.dtype).tiny
    return torch.where(b > tiny, a / b.clamp_min(tiny), torch.zeros_like(a))


def log(loss: Tensor) -> Tensor:
    """The logarithm of a loss ≥ 0, finite at 0."""
    return (loss + NEGLIGIBLE).log()


def adam(work: LoopState, name: str, gradient: Tensor, lr: float, decay: float, counts: Tensor | bool = True) -> None:
    """One step of Adam (0.9, 0.999, 1e-8; decay added to the gradient) on work.tensors[name], moments beside it.

    counts: bool []; where it is false nothing changes.
    """
    state = work.tensors
    zeros = torch.zeros_like(state[name])
    x, m, v, t = (state.get(key, zeros) for key in (name, f"{name}.mean", f"{name}.square", f"{name}.steps"))
    before = x, m, v, t
    g = gradient + decay * x
    m, v, t = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g.square(), t + 1
    # 1 − β^t by expm1: exact in float32 for the first steps too
    mean, square = (moment / -torch.expm1(t * math.log(beta)) for moment, beta in ((m, 0.9), (v, 0.999)))
    after = x - lr * mean / (square.sqrt() + 1e-8), m, v, t
    counts = torch.as_tensor(counts, device=x.device)
    for key, new, old in zip((name, f"{name}.mean", f"{name}.square", f"{name}.steps"), after, before, strict=True):
        state[key] = torch.where(counts, new, old)
