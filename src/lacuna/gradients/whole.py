"""Gradients of whole parts of the data, and the entries that rank lowest by a score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import UnlearningData
from lacuna.models.modes import evaluating
from lacuna.randomness import derive
from lacuna.sparsity.mask import Mask

Scores = dict[str, Tensor]


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that take a gradient, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def mean_gradient(model: nn.Module, data: UnlearningData, part: str, batch_size: int) -> Scores:
    """∇ℓ over a whole part, by parameter: evaluation mode, images as stored.

    The mean over samples, not over batch means: a short last batch weighs what it holds.
    """
    parameters = trained(model)
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    with evaluating(model):
        for x, y in data.plain_batches(part, batch_size, next(model.parameters()).dtype):
            loss = cross_entropy(model(x), y, reduction="sum") / len(data.index(part))
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
            for sum_so_far, gradient in zip(total.values(), gradients, strict=True):
                sum_so_far += gradient
    return total


def squared_batch_means(
    model: nn.Module,
    data: UnlearningData,
    part: str,
    batch_size: int,
    losses: Callable[[Tensor, Tensor, slice], Iterable[Tensor]],
    seed: int | None = None,
) -> Scores:
    """The mean over batches of the squared gradient of the batch's mean loss, by parameter; summed over several losses.

    What much published code takes for the mean over samples of the squared gradient; it is another number, not a
    multiple of it, and depends on the batches. Every batch weighs the same, so they are of nearly equal size.
    Evaluation mode, images as stored; losses: as of `per_sample.mean_squares`. seed: of the order of the samples; None:
    as stored.
    """
    parameters, index = trained(model), data.index(part)
    if seed is not None:
        generator = torch.Generator().manual_seed(derive(seed, "batches", part))
        index = index[torch.randperm(len(index), generator=generator).to(index.device)]
    total, chunks = {name: torch.zeros_like(p) for name, p in parameters.items()}, data.sizes(part, batch_size)
    start = 0
    with evaluating(model):
        for size in chunks:
            where = slice(start, start + size)
            start += size
            x = data.normalised(data.images[index[where]], next(model.parameters()).dtype)
            vectors = list(losses(model(x), data.labels[index[where]], where))
            for position, vector in enumerate(vectors, 1):
                gradients = torch.autograd.grad(
                    vector.mean(),
                    list(parameters.values()),
                    retain_graph=position < len(vectors),
                    allow_unused=True,
                    materialize_grads=True,
                )
                for sum_so_far, gradient in zip(total.values(), gradients, strict=True):
                    sum_so_far += gradient.square() / len(chunks)
    return total


def unmasked(scores: Mapping[str, Tensor], mask: Mask | None) -> dict[str, Tensor]:
    """True where an entry exists, on the device of its score."""
    return {
        name: mask[name].to(s.device) if mask is not None and name in mask else torch.ones_like(s, dtype=torch.bool)
        for name, s in scores.items()
    }


def lowest(scores: Mapping[str, Tensor], share: float, mask: Mask | None = None) -> dict[str, Tensor]:
    """True for the ⌊share·N⌋ lowest of the N unmasked entries of all tensors together; of equal ones the first."""
    flat = torch.cat([s.flatten() for s in scores.values()])
    exists = torch.cat([e.flatten() for e in unmasked(scores, mask).values()])
    order = torch.argsort(flat, stable=True)
    order = order[exists[order]]
    chosen = torch.zeros_like(exists)
    # a share of 0.29 means 0.29, not the next binary number below
    chosen[order[: int(Fraction(str(share)) * len(order))]] = True
    parts = chosen.split([s.numel() for s in scores.values()])
    return {name: part.view(s.shape) for (name, s), part in zip(scores.items(), parts, strict=True)}
