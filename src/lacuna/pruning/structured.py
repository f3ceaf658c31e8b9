"""Structured pruning: whole filters go, and with them the bias and the batch norm that would speak for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.inference import State
from lacuna.pruning.base import TrainedPruner, drawn, magnitudes
from lacuna.pruning.criteria.base import Scores
from lacuna.sparsity.channels import Channels, channels_both_ways
from lacuna.sparsity.compaction import Compaction
from lacuna.sparsity.mask import Mask, Scope, Sparsity, prunable, refuse_computed
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.state import TrainingResult


@dataclass(frozen=True, kw_only=True)
class FilterPruner(TrainedPruner):
    """A pruner of filters, a layer's output channels: their scores are made of their weights' (`norm`).

    A removed filter is masked with its bias and its batch norm (weight and bias), so that its channel is 0 everywhere;
    where a layer that is not prunable writes to the channel too (the gate of a squeeze and excitation), that layer
    stays as it is. A network whose filters cannot be removed to within their rounding of s is refused.
    The weights of later layers that would read the channel are dead but not masked: the sparsity s is the share of
    filters, hence of prunable weights, and what compaction takes out is more. At least one filter of a layer stays.
    scope: layer removes round(s·n) of n filters (half to even). global ranks all channels by their score divided by the
    mean score of their group, and removes the lowest until the share of prunable weights is as near to s as can be.
    groups: coupled removes the channels of layers whose outputs are added together, by the mean of their scores, so
    that compaction takes out all that is masked. layer looks at each layer alone, as published; a channel that one
    of the added layers keeps then stays in the compacted network.
    compact: train and unlearn on the network without the removed channels; the results are stored in the whole one.
    What a method calls a share, or draws anew, is then of the smaller network.
    """

    scope: Scope = "layer"
    groups: Literal["coupled", "layer"] = "coupled"
    compact: bool = False  # type: ignore[misc]

    structured: ClassVar[bool] = True

    @staticmethod
    def norm(scores: Tensor) -> Tensor:
        """The scores of filters [filters] from those of their weights, float64 [filters, weights of one]."""
        raise NotImplementedError

    def check(self, model: nn.Module, sparsity: Sparsity) -> None:
        if getattr(model, "prunes_linear", False):
            raise LacunaError(
                f"a filter is a channel of a convolution, and {type(model).__name__} consists of Linear layers, whose "
                "outputs heads and shortcuts share; allowed: a pruner of single weights, or a network of convolutions"
            )
        refuse_computed(model, self.include_linear)
        weights = prunable(model, self.include_linear)
        writers = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        if tied := [name for name, w in weights.items() if sum(w is other for other in writers) > 1]:
            raise LacunaError(
                f"several layers share '{tied[0]}', so its filters are channels of each of them; allowed: a pruner of "
                "single weights"
            )
        share = Fraction(str(sparsity))
        if self.scope == "global":
            total = sum(w.numel() for w in weights.values())
            most = 1 - Fraction(sum(w[0].numel() for w in weights.values()), total)
            if share > most:
                rounded = math.floor(most * 10_000) / 10_000
                raise LacunaError(f"one filter of each layer stays; allowed: at most {rounded:g}")
            return
        # the smallest layer is the first to lose all of its filters
        name, filters = min(((name, len(w)) for name, w in weights.items()), key=lambda pair: pair[1])
        if round(share * filters) == filters:
            most = Fraction(10_000 * (2 * filters - 1) // (2 * filters), 10_000)
            if round(most * filters) == filters:
                most -= Fraction(1, 10_000)
            raise LacunaError(f"none of the {filters} filters of '{name}' would stay; allowed: at most {float(most):g}")

    def find_mask(
        self, model: nn.Module, sparsity: Sparsity, data: UnlearningData, *, seed: int, mask: Mask | None = None
    ) -> Mask:
        scores = self.scores(model, data, seed)
        share = Fraction(str(sparsity))
        groups = self._groups(model, data)
        left = mask and _channels_of(mask, groups)
        ranked = {
            layer: self._ranked(_norms(group, scores, type(self).norm), None if left is None else left[layer][:, 0])
            for layer, group in groups.items()
        }
        if not groups:
            kept = Mask({})
        elif self.scope == "global":
            kept = Mask.from_scores(ranked, _nearest(share, ranked, left, groups, scores), "global", within=left)
        else:
            kept = _within_layers(share, ranked, left, groups, scores)
        bits = {name: torch.ones_like(s, dtype=torch.bool, device="cpu") for name, s in scores.items()}
        parameters = dict(model.named_parameters())
        for layer, group in groups.items():
            for name, (row, channel) in group.rows.items():
                keep = bits.setdefault(name, torch.ones(parameters[name].shape, dtype=torch.bool))
                keep[row[~kept[layer][channel, 0]]] = False
        self._check_share(share, {name: bits[name] for name in scores}, groups)
        if mask is not None:
            # what a method has removed beside whole filters
            bits |= {name: bits.get(name, mask[name]) & mask[name] for name in mask}
        return Mask(bits)

    def grow(
        self,
        mask: Mask,
        model: nn.Module,
        data: UnlearningData,
        initial: State,
        share: str | float | Fraction,
        generator: torch.Generator | None = None,
    ) -> Mask:
        groups = self._groups(model, data)
        weights = magnitudes(initial, mask)
        norms = {layer: _norms(group, weights, l2)[:, None] for layer, group in groups.items()}
        before = _channels_of(mask, groups)
        grown = before.grown(drawn(norms, generator), share, self.scope)
        bits = {name: mask[name].clone() for name in mask}
        for layer, group in groups.items():
            new = (grown[layer] & ~before[layer]).flatten()
            for name, (row, channel) in group.rows.items():
                bits[name][row[new[channel]]] = True
        return Mask(bits)

    def _groups(self, model: nn.Module, data: UnlearningData) -> dict[str, Channels]:
        """The channels of the prunable layers, by a name of each set; each row of a tensor is in one of them.

        Where another layer writes to a channel too, a prunable layer's filter goes with its own bias and norm alone.
        Rows that share no channel (the rest of a layer that is added to a smaller one) come last, layer by layer.
        """
        weights = prunable(model, self.include_linear)
        other = {name for name, p in model.named_parameters() if p.dim() > 1 and name not in weights}
        coupled, single = channels_both_ways(model, data.images.shape[1:])
        own = {f"{group.layer}.weight": group for group in single}
        free = {name: torch.ones(len(p), dtype=torch.bool) for name, p in model.named_parameters() if p.dim()}
        groups: dict[str, Channels] = {}

        def add(group: Channels, rows: dict[str, tuple[Tensor, Tensor]]) -> None:
            left = {n: (row[free[n][row]], channel[free[n][row]]) for n, (row, channel) in rows.items()}
            # channels that the same layers write: of a slice or a padded sum some have fewer writers
            writers = torch.zeros(len(weights), group.count, dtype=torch.bool)
            for line, n in zip(writers, weights, strict=True):
                if n in left:
                    line[left[n][1]] = True
            for pattern in writers.unique(dim=1).T.flip(0):
                chosen = (writers == pattern[:, None]).all(0)
                if not pattern.any():
                    continue
                number = torch.where(chosen, chosen.cumsum(0) - 1, -1)
                part = {
                    n: (row[chosen[channel]], number[channel[chosen[channel]]]) for n, (row, channel) in left.items()
                }
                part = {n: pair for n, pair in part.items() if len(pair[0])}
                name = group.layer if group.layer not in groups else f"{group.layer} {len(groups)}"
                groups[name] = Channels(group.layer, int(chosen.sum()), part)
                for n, (row, _) in part.items():
                    free[n][row] = False

        if self.groups == "coupled":
            for group in coupled:
                rows = group.rows
                if other & rows.keys():
                    rows = {}
                    for name in group.rows.keys() & own.keys() & weights.keys():
                        channel_of = dict(zip(*(t.tolist() for t in group.rows[name]), strict=True))
                        for n, (row, _) in own[name].rows.items():
                            row = row[[int(r) in channel_of for r in row]]
                            rows[n] = row, torch.tensor([channel_of[int(r)] for r in row], dtype=torch.int64)
                add(group, rows)
        for name in weights:
            if name in own and bool(free[name].any()):
                add(own[name], own[name].rows)
        return dict(sorted(groups.items(), key=lambda item: _rest(item[1], weights) is not None))

    def _check_share(self, share: Fraction, bits: dict[str, Tensor], groups: dict[str, Channels]) -> None:
        """Raise LacunaError if what stays for another reason than rounding to whole channels is missing in `share`."""
        removed, sizes, slack = {}, {}, dict.fromkeys(bits, Fraction(0))
        for name, keep in bits.items():
            sizes[name], removed[name] = keep.numel(), int((~keep).sum())
        for group in groups.values():
            for name in group.rows.keys() & bits.keys():
                slack[name] += Fraction(bits[name][0].numel(), 2)
        total, gone = sum(sizes.values()), sum(removed.values())
        if self.scope == "global":
            steps = [
                sum(len(g.rows[n][0]) * bits[n][0].numel() for n in g.rows.keys() & bits.keys()) / g.count
                for g in groups.values()
            ]
            missed = share * total - gone > Fraction(max(steps, default=0.0)) / 2
            short = [name for name, group in removed.items() if not group]
        else:
            short = [name for name in bits if share * sizes[name] - removed[name] > slack[name]]
            missed = bool(short)
        if missed:
            where = f", as filters of '{short[0]}' stay" if short else ""
            raise LacunaError(
                f"by whole filters {gone / total:.4g} of the prunable weights go, not {float(share):g}{where}; "
                f"allowed: a sparsity of about {math.floor(1e4 * gone / total) / 1e4:g}, or a pruner of single weights"
            )

    def _ranked(self, norms: Tensor, left: Tensor | None) -> Tensor:
        """What channels are ranked by [count, 1]; among all groups that is of mean 1, and the best of a group stays."""
        if self.scope == "global":
            norms = norms / norms.mean().clamp(min=torch.finfo(norms.dtype).tiny)
            norms[(norms if left is None else norms.where(left, -math.inf)).argmax()] = math.inf
        return norms[:, None]

    def train(
        self, model: nn.Module, recipe: Recipe, data: UnlearningData, mask: Mask, **options: Any
    ) -> TrainingResult:
        if not self.compact:
            return fit(model, recipe, data, mask=mask, **options)
        mask.apply(model)
        compaction = Compaction.of(model, mask, data.images.shape[1:])
        run = fit(compaction.network, recipe, data, mask=compaction.mask(mask), **options)
        compaction.expand(compaction.network, model)
        run.mask, run.network = mask, compaction.network
        return run


def l2(scores: Tensor) -> Tensor:
    """‖·‖₂ of the scores of each filter's weights [filters, weights of one]."""
    return scores.square().sum(1).sqrt()


def _norms(group: Channels, scores: Scores, norm: Callable[[Tensor], Tensor]) -> Tensor:
    """The norm of each channel's filters, the mean over the layers that share it; float64 [count]."""
    total = torch.zeros(group.count, dtype=torch.float64)
    layers = [name for name in group.rows if name in scores]
    for name in layers:
        row, channel = group.rows[name]
        total.index_add_(0, channel, norm(scores[name].detach().cpu().double().flatten(1))[row])
    return total / len(layers)


def _channels_of(mask: Mask, groups: dict[str, Channels]) -> Mask:
    """The channels that a mask leaves, [count, 1] for each group."""
    return Mask({layer: group.kept(mask)[:, None] for layer, group in groups.items()})


def _within_layers(
    share: Fraction, ranked: Scores, left: Mask | None, groups: dict[str, Channels], scores: Scores
) -> Mask:
    """The channels that stay if each set loses this share; the rest of a layer loses what the layer still lacks."""
    lacking = {name: round(share * len(s)) for name, s in scores.items()}
    kept = {}
    for layer, group in groups.items():
        count = round(share * group.count)
        if (rest_of := _rest(group, scores)) is not None:
            count = min(max(lacking[rest_of], 0), group.count)
        if left is not None:
            count = max(count, int((~left[layer]).sum()))
        if count == group.count:
            kept[layer] = torch.zeros(ranked[layer].shape, dtype=torch.bool)
        else:
            own = Mask({layer: left[layer]}) if left is not None else None
            kept[layer] = Mask.from_scores({layer: ranked[layer]}, Fraction(count, group.count), within=own)[layer]
        for name in group.rows.keys() & scores.keys():
            lacking[name] -= int((~kept[layer][group.rows[name][1], 0]).sum())
    return Mask(kept)


def _rest(group: Channels, weights: Mapping[str, Tensor]) -> str | None:
    """The layer of which these channels are a part that no other layer writes; None for all other channels."""
    (name, *others) = [name for name in group.rows if name in weights]
    return name if not others and group.count < len(weights[name]) else None


def _nearest(
    sparsity: Fraction, ranked: Scores, left: Mask | None, groups: dict[str, Channels], scores: Scores
) -> Fraction:
    """The share of channels whose removal, lowest first, brings the share of removed weights nearest to `sparsity`."""
    order = torch.cat([ranked[layer].flatten() for layer in groups])
    if left is not None:
        order[torch.cat([~left[layer].flatten() for layer in groups])] = -math.inf
    costs = []
    for group in groups.values():
        cost = torch.zeros(group.count, dtype=torch.int64)
        for name, (row, channel) in group.rows.items():
            if name in scores:
                cost.index_add_(0, channel, torch.full_like(row, scores[name][0].numel()))
        costs.append(cost)
    removed = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cat(costs)[order.argsort(stable=True)].cumsum(0)])
    wanted = sparsity * sum(s.numel() for s in scores.values())
    # the first of equally near ones: fewer channels
    best = min(
        range(int(order.isneginf().sum()), int((order < math.inf).sum()) + 1),
        key=lambda k: abs(int(removed[k]) - wanted),
    )
    return Fraction(best, len(order))
