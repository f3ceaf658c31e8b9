"""One-shot pruning with rewinding: score the trained weights once, restart from epoch k, train with the mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.pruning import criteria
from lacuna.pruning.mask import Mask, Scope
from lacuna.randomness import derive
from lacuna.registry import register
from lacuna.training import Checkpoint, Fit, Recipe, State, fit


@dataclass(frozen=True, kw_only=True)
class _OneShot:
    scope: Scope = "global"
    include_linear: bool = False

    criterion: ClassVar[Callable[..., criteria.Scores]]

    def prune(
        self,
        model: nn.Module,
        rewind: State,
        sparsity: str | float,
        recipe: Recipe,
        data: UnlearningData,
        *,
        seed: int,
        checkpoint: Checkpoint | None = None,
        log: Callable[[str], None] | None = None,
        name: str = "pruning",
    ) -> tuple[Mask, Fit]:
        """Turn a trained dense `model` into a trained sparse one, in place.

        rewind: the state after `recipe.rewind_epoch` epochs, batch norm included. sparsity: share of weights
        removed, in [0, 1). The optimizer starts anew, the schedule at the rewind epoch. Returns mask and run.
        """
        scores = type(self).criterion(model, derive(seed, "scores"), self.include_linear)
        mask = Mask.from_scores(scores, sparsity, self.scope)
        if log is not None:
            for layer in mask.collapsed():
                log(f"warning: {name}: layer collapse, no weight of '{layer}' is left at sparsity {sparsity}")
        model.load_state_dict(rewind)
        run = fit(
            model,
            recipe,
            data,
            mask=mask,
            seed=seed,
            start_epoch=recipe.rewind_epoch,
            checkpoint=checkpoint,
            log=log,
            name=name,
        )
        return mask, run


@register("omp")
@dataclass(frozen=True, kw_only=True)
class MagnitudePruning(_OneShot):
    """One-shot magnitude pruning: keep the (1−s) largest |θ_T|, θ ← m⊙θ_k, train on.

    scope: rank all prunable weights together (global) or within each layer.
    include_linear: Linear weights except the classifier are prunable too.
    Source: Frankle et al., ICML 2020 (rewinding); Jia et al., NeurIPS 2023 (OMP before unlearning).
    """

    criterion = criteria.magnitude


@register("random")
@dataclass(frozen=True, kw_only=True)
class RandomPruning(_OneShot):
    """One random draw over all prunable weights; otherwise as omp. The baseline for every criterion.

    scope: draw over all prunable weights together (global) or within each layer.
    include_linear: Linear weights except the classifier are prunable too.
    """

    criterion = criteria.random
