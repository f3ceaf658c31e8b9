"""How strongly the loss bends at a model, and how far and in how many steps its training went: what bounds an error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.gradients.whole import trained
from lacuna.models.modes import evaluating, plain_attention
from lacuna.sparsity.mask import Mask
from lacuna.sparsity.rounds import rounds_to

if TYPE_CHECKING:
    from lacuna.artifacts.contents import Job


@dataclass(frozen=True)
class Curvature:
    """The largest singular value σ ≥ 0, the steps that found it, and whether they had converged."""

    sigma: float
    iterations: int
    converged: bool


def largest_singular_value(
    model: nn.Module,
    data: UnlearningData,
    part: str = "retain",
    *,
    mask: Mask | None = None,
    seed: int = 0,
    tolerance: float = 1e-3,
    iterations: int = 200,
    batch_size: int = 256,
) -> Curvature:
    """σ of the Hessian of ℓ over a part of the data, restricted to the parameters that the mask keeps.

    Evaluation mode, images as stored. Parameters without a mask (biases, batch norm, classifier) count whole. Power
    iteration on H, by Hessian-vector products: the estimate ‖Hv‖ of step k never falls and never passes σ; it has
    converged when the residual ‖H²v − ‖Hv‖²v‖ is at most tolerance·‖Hv‖², which puts an eigenvalue of H² that near.
    Raises LacunaError if the Hessian is not finite.
    """
    parameters = trained(model)
    keep = dict(mask.pairs(model)) if mask is not None else {}
    masks = [keep.get(p) for p in parameters.values()]
    generator = torch.Generator().manual_seed(seed)
    v = [torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p) for p in parameters.values()]
    v = _unit(_masked(v, masks))
    sigma, step, residual = 0.0, 0, math.inf
    with evaluating(model), plain_attention():
        product = _masked(_hvp(model, data, part, list(parameters.values()), v, batch_size), masks)
        for step in range(1, iterations + 1):
            sigma = _norm(product)
            if not math.isfinite(sigma):
                raise LacunaError(f"the Hessian on '{part}' is not finite; try a smaller learning rate")
            if sigma == 0:
                return Curvature(0.0, step, True)
            following = [p / sigma for p in product]
            twice = _masked(_hvp(model, data, part, list(parameters.values()), following, batch_size), masks)
            residual = _norm([sigma * t - sigma**2 * x for t, x in zip(twice, v, strict=True)]) / sigma**2
            v, product = following, twice
            if residual <= tolerance:
                break
    return Curvature(max(sigma, _norm(product)), step, residual <= tolerance)


def distance(a: dict[str, Tensor], b: dict[str, Tensor], mask: Mask) -> float:
    """‖m⊙(a − b)‖₂ over the parameters of two states by name; parameters without a mask count whole."""
    squares = 0.0
    for name in a:
        difference = a[name].double() - b[name].double()
        squares += float((difference * mask[name] if name in mask else difference).square().sum())
    return math.sqrt(squares)


def training_steps(job: Job, dense: Job) -> int:
    """The steps of SGD from θ_0 to an original model: its own training's, and those behind the weights that began it.

    job, dense: the job.json of the model's state and of the dense state. A pruner starts again from θ_0 with no step
    behind it, from the dense model's θ_k with k epochs (restart: rewind), or from the model that it pruned (finetune):
    the dense one, or the one of the round before.
    """
    pruner, steps = job["parameters"].get("pruner") or {}, int(job["steps"])
    restart = pruner.get("restart", "lt")
    if restart == "rewind":
        recipe = dense["parameters"]["recipe"]
        behind: float = dense["steps"] * recipe["rewind_epoch"] / recipe["epochs"]
        return steps + round(behind)
    if restart == "finetune":
        earlier = len(rounds_to(job["cell"]["sparsity"], pruner.get("rate")))
        return int(dense["steps"]) + (1 + earlier) * steps
    return steps


def _hvp(
    model: nn.Module,
    data: UnlearningData,
    part: str,
    parameters: Sequence[Tensor],
    v: Sequence[Tensor],
    batch_size: int,
) -> list[Tensor]:
    total = [torch.zeros_like(p) for p in parameters]
    for x, y in data.plain_batches(part, batch_size, parameters[0].dtype):
        loss = cross_entropy(model(x), y, reduction="sum") / len(data.index(part))
        gradient = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True, materialize_grads=True)
        along = torch.stack([(g * w).sum() for g, w in zip(gradient, v, strict=True)]).sum()
        for so_far, chunk in zip(
            total, torch.autograd.grad(along, parameters, allow_unused=True, materialize_grads=True), strict=True
        ):
            so_far += chunk
    return total


def _masked(v: list[Tensor], masks: Sequence[Tensor | None]) -> list[Tensor]:
    return [x if k is None else x * k for x, k in zip(v, masks, strict=True)]


def _norm(v: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(x.double().square().sum()) for x in v))


def _unit(v: list[Tensor]) -> list[Tensor]:
    norm = _norm(v)
    return [x / norm for x in v]
