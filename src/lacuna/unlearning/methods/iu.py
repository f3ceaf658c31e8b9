"""Influence unlearning: one Newton step away from D_f, with the Fisher matrix of single retained samples."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from lacuna.data.batches import UnlearningData
from lacuna.fields import Count, Positive
from lacuna.gradients.memory import memory_at_hand
from lacuna.gradients.per_sample import Log, each_gradient, true_label
from lacuna.gradients.whole import Scores, mean_gradient, trained, unmasked
from lacuna.randomness import derive
from lacuna.unlearning.base import EditUnlearner, RunOptions, register

BATCH = 256
# Bytes of single gradients to hold: 1,000 of resnet20 (1.1 GB) and what else a job of 2 GB needs.
HELD_BYTES = 1_200_000_000


@register("iu")
@dataclass(frozen=True, kw_only=True)
class InfluenceUnlearning(EditUnlearner):
    """Influence unlearning: θ ← θ_o + α F̂⁻¹ v, v = (n_f/n)(g_f − g_r), F̂ = λI + (1/N) Σ_i g_i g_iᵀ over N of D_r.

    g_f and g_r are the mean gradients of D_f and D_r, g_i that of one retained sample; all at θ_o in evaluation mode,
    on unmasked parameters. Solved exactly in the span of the g_i (Woodbury, an N×N Gram matrix, float64). Where the g_i
    need more memory than is at hand they are derived again, block by block, instead of kept.
    alpha: α, length of the step.
    damping: λ.
    samples: N, drawn at random from D_r; all of D_r if it has fewer.
    variant: woodbury, as above; collinear, the common code's recursion over the first N + 2 samples of D_r in stored
    order, which leaves v unchanged but along g_1, and so applies no curvature (N as published, λ is 1).
    Published values (CIFAR-10, ResNet-18): alpha 1 to 2, damping 1, samples 1000, variant collinear. Here variant
    woodbury: the formula as it is published.
    Cost: 1 forward, 1 backward over D_f and D_r, N per-sample gradients and their products; no steps.
    Source: Koh & Liang, ICML 2017; Izzo et al., AISTATS 2021; Jia et al., NeurIPS 2023.
    """

    reads: ClassVar[str] = "forget and retain"

    alpha: Positive = 1.0
    damping: Positive = 1.0
    samples: Count = 1000
    variant: Literal["woodbury", "collinear"] = "woodbury"

    def edit(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> None:
        parameters = trained(model)
        span = Span(model, data, unmasked(parameters, run.mask), run.log)
        forget, retain = (mean_gradient(model, data, part, BATCH) for part in ("forget", "retain"))
        share = len(data.index("forget")) / len(data.index("mixed"))
        v = span.flat({name: share * (f - retain[name]) for name, f in forget.items()})
        solve = self.woodbury if self.variant == "woodbury" else self.collinear
        update = span.unflat(self.alpha * solve(span, v, self.chosen(data, run.seed)))
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.add_(update[name])

    def chosen(self, data: UnlearningData, seed: int) -> Tensor:
        """Dataset indices of the samples whose gradients span F̂."""
        retain = data.index("retain")
        if self.variant == "collinear":
            return retain[: self.samples + 2]
        generator = torch.Generator().manual_seed(derive(seed, "iu", "samples"))
        drawn = torch.randperm(len(retain), generator=generator)[: self.samples].sort().values
        return retain[drawn.to(retain.device)]

    def woodbury(self, span: Span, v: Tensor, index: Tensor) -> Tensor:
        """F̂⁻¹ v = (v − Gᵀ(λN I + GGᵀ)⁻¹ G v)/λ, the rows of G the single gradients."""
        blocks = torch.arange(len(index)).split(span.block(len(index)))
        # of one or two blocks every use finds the same rows; of more some are derived again
        rows = lru_cache(maxsize=2)(lambda i: span.rows(index[blocks[i]]))
        gram = torch.zeros(len(index), len(index), dtype=torch.float64, device=v.device)
        along = torch.zeros(len(index), dtype=torch.float64, device=v.device)
        for i, lines in enumerate(blocks):
            along[lines] = (rows(i) @ v).double()
            for j, columns in enumerate(blocks[: i + 1]):
                product = (rows(i) @ rows(j).T).double()
                gram[lines[:, None], columns] = product
                gram[columns[:, None], lines] = product.T
        gram.diagonal().add_(self.damping * len(index))
        weights = torch.linalg.solve(gram, along).to(v.dtype)
        for i, lines in enumerate(blocks):
            v = v - weights[lines] @ rows(i)
        return v / self.damping

    def collinear(self, span: Span, v: Tensor, index: Tensor) -> Tensor:
        """The recursion k ← k − (k·g)/(N + s) o, o ← (1 − s/(N + s)) o, s = o·g, from o = g_1 and k = v.

        o stays a multiple of g_1 and k − v another, so two products of each sample decide both.
        """
        first = span.rows(index[:1])[0]
        both, block = torch.stack([first, v], 1), span.block(len(index))
        products = torch.cat([span.rows(part) @ both for part in index[1:].split(block)])
        shrunk, taken = 1.0, 0.0
        for along_first, along_v in products.tolist():
            s = shrunk * along_first
            taken += (along_v - taken * along_first) / (self.samples + s) * shrunk
            shrunk *= 1 - s / (self.samples + s)
        return v - taken * first


class Span:
    """Gradients as vectors of the entries that are not masked, a convolution's with the input channels last.

    That is how the gradients of single samples lie in memory: any other order costs as much as deriving them.
    """

    def __init__(self, model: nn.Module, data: UnlearningData, exists: dict[str, Tensor], log: Log = None):
        self.model, self.data, self.log = model, data, log
        self.exists = {name: _inputs_last(kept) for name, kept in exists.items()}
        self.places = {name: kept.flatten().nonzero().squeeze(1) for name, kept in self.exists.items()}
        self.sizes = [len(places) for places in self.places.values()]
        self.columns = dict(zip(exists, torch.arange(sum(self.sizes)).split(self.sizes), strict=True))

    def flat(self, scores: Scores) -> Tensor:
        """A vector of the entries that exist."""
        return torch.cat([_inputs_last(scores[name])[kept] for name, kept in self.exists.items()])

    def unflat(self, vector: Tensor) -> Scores:
        """The tensors that `flat` gave, 0 where masked."""
        tensors = {}
        for (name, kept), part in zip(self.exists.items(), vector.split(self.sizes), strict=True):
            tensor = vector.new_zeros(kept.shape).masked_scatter_(kept, part)
            tensors[name] = tensor.movedim(-1, 1) if tensor.dim() > 2 else tensor
        return tensors

    def rows(self, index: Tensor) -> Tensor:
        """The gradient of each sample, [n, entries]."""
        first = next(self.model.parameters())
        rows = torch.zeros(len(index), sum(self.sizes), dtype=first.dtype, device=first.device)

        def keep(where: slice, name: str, gradients: Tensor) -> None:
            columns, places = self.columns[name], self.places[name]
            if len(columns):
                flat = _inputs_last(gradients, first=1).reshape(len(gradients), -1)
                own = rows[where, columns[0] : columns[-1] + 1]
                own.copy_(flat if len(places) == flat.shape[1] else flat.index_select(1, places))

        each_gradient(self.model, self.data, index, true_label, keep, None, self.log)
        self.log = None  # once is enough
        return rows

    def block(self, samples: int) -> int:
        """Rows to derive at a time: all, or so many that two such blocks fit."""
        first = next(self.model.parameters())
        row = max(1, sum(self.sizes)) * first.element_size()
        budget = memory_at_hand(first.device) // 2
        if first.device.type == "cpu":
            budget = min(budget, HELD_BYTES)
        return samples if samples * row <= budget else max(1, budget // (2 * row))


def _inputs_last(weights: Tensor, first: int = 0) -> Tensor:
    """[out, in, ...] as [out, ..., in], behind `first` further axes."""
    return weights.movedim(first + 1, -1) if weights.dim() > first + 2 else weights
