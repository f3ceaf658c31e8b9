"""What gradient surgery shares: two losses from one forward pass, joined by their gradients or by a weight."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch, UnlearningData
from lacuna.fields import Count, Positive
from lacuna.training import Work, seed_noise
from lacuna.unlearning.base import LossUnlearner
from lacuna.unlearning.rl import RandomLabels

NEGLIGIBLE = 1e-8  # added to losses before their logarithm


@dataclass(frozen=True, kw_only=True)
class Surgery(LossUnlearner):
    """SGD θ ← θ − η d on two losses that are both minimised: L_f to forget, L_r = ℓ(D_r) to retain.

    Every step reads a batch of each set and sends both through the model in one forward pass: batch norm normalises
    them together and counts them once, as in the published EUPMU code, whose batches mix both sets.
    Gradients of masked weights are 0 before anything is computed from them.
    """

    epochs: Count = 5
    lr: Positive = 1e-3
    forget_loss: Literal["random_labels", "ascent"] = "random_labels"
    exclude_true: bool = True
    clip: Positive | None = None
    epoch_of: Literal["longest", "forget"] = "longest"

    def begin(self, model: nn.Module, data: UnlearningData, work: Work) -> UnlearningData:
        keep = {id(weight): kept for weight, kept in work.mask.pairs(model)} if work.mask is not None else {}
        work.memory["kept"] = [(p, keep.get(id(p))) for p in model.parameters() if p.requires_grad]
        return data

    def plan(self, epoch: int, passes: dict[str, int]) -> list[tuple[str, ...]]:
        """Both streams at every step, for a pass over the longer one or over D_f; the other starts over or stops."""
        return [self.streams] * (max(passes.values()) if self.epoch_of == "longest" else passes["forget"])

    def losses(self, model: nn.Module, forget: Batch, retain: Batch, work: Work) -> tuple[Tensor, Tensor]:
        """L_f with the labels that were drawn for this step, and L_r, from one forward pass."""
        logits = model(torch.cat([forget.x, retain.x]))
        of_forget, of_retain = logits[: len(forget.y)], logits[len(forget.y) :]
        l_f = cross_entropy(of_forget, work.memory["targets"])
        return -l_f if self.forget_loss == "ascent" else l_f, cross_entropy(of_retain, retain.y)

    def backward(self, model: nn.Module, batches: Mapping[str, Batch], work: Work) -> Tensor:
        forget = batches["forget"]
        ascent = self.forget_loss == "ascent"
        work.memory["targets"] = forget.y if ascent else RandomLabels(exclude_true=self.exclude_true).draw(forget)
        l_f, l_r = self._call(self.losses, model, batches, work)
        self.derive(l_f, l_r, work)
        if self.clip is not None:
            clip([p.grad for p, _ in work.memory["kept"] if p.grad is not None], self.clip)
        return (l_f + l_r).detach()

    def derive(self, l_f: Tensor, l_r: Tensor, work: Work) -> None:
        """Leave d in the parameters' gradients, 0 where the mask is."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class GradientSurgery(Surgery):
    """Two backward passes; `combine` makes the direction d from both gradients."""

    def combine(self, g_f: Tensor, g_r: Tensor, l_f: Tensor, l_r: Tensor, work: Work) -> Tensor:
        """d from the gradients of L_f and L_r, flat vectors that are 0 on masked weights."""
        raise NotImplementedError

    def derive(self, l_f: Tensor, l_r: Tensor, work: Work) -> None:
        kept = work.memory["kept"]
        g_f = _gradient(l_f, kept, retain_graph=True)
        g_r = _gradient(l_r, kept)
        with torch.no_grad():
            d = self.combine(g_f, g_r, l_f.detach(), l_r.detach(), work)
            for (p, _), part in zip(kept, d.split([p.numel() for p, _ in kept]), strict=True):
                p.grad = torch.empty_like(p).copy_(part.view(p.shape))


@dataclass(frozen=True, kw_only=True)
class LossWeighting(Surgery):
    """One backward pass of a weighted loss; the weights follow what the steps did to the losses."""

    def weighted(self, l_f: Tensor, l_r: Tensor, work: Work) -> Tensor:
        """The loss to derive."""
        raise NotImplementedError

    def derive(self, l_f: Tensor, l_r: Tensor, work: Work) -> None:
        work.memory["losses"] = l_f.detach(), l_r.detach()
        self.weighted(l_f, l_r, work).backward()
        for p, keep in work.memory["kept"]:
            if keep is not None and p.grad is not None:
                p.grad.mul_(keep)

    @torch.no_grad()
    def losses_now(self, model: nn.Module, batches: Mapping[str, Batch], work: Work) -> tuple[Tensor, Tensor]:
        """L_f and L_r of this step's batches again, for the weights as they are now; batch norm is left as it is.

        The same function as before the step: the same augmented samples, labels and dropout, normalised by the
        statistics of the same joint batch. With running statistics, or without the forget samples in the batch, the
        loss would be another one, and its difference to the first would not vanish with the learning rate.
        """
        seed_noise(work)
        with untracked(model):
            return self._call(self.losses, model, batches, work)


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


def adam(work: Work, name: str, gradient: Tensor, lr: float, decay: float) -> None:
    """One step of Adam (0.9, 0.999, 1e-8; decay added to the gradient) on work.tensors[name], moments beside it."""
    state = work.tensors
    x = state[name]
    g = gradient + decay * x
    zeros = torch.zeros_like(x)
    state[f"{name}.mean"] = m = 0.9 * state.get(f"{name}.mean", zeros) + 0.1 * g
    state[f"{name}.square"] = v = 0.999 * state.get(f"{name}.square", zeros) + 0.001 * g.square()
    state[f"{name}.steps"] = t = state.get(f"{name}.steps", torch.zeros_like(x)) + 1
    # 1 − β^t by expm1: exact in float32 for the first steps too
    m, v = (moment / -torch.expm1(t * math.log(beta)) for moment, beta in ((m, 0.9), (v, 0.999)))
    state[name] = x - lr * m / (v.sqrt() + 1e-8)
