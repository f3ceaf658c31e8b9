"""What every pruner is: a criterion that scores weights, and a procedure that removes the lowest and trains on."""

from __future__ import annotations

import dataclasses
import inspect
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, Unpack

import torch
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.inference import State, load_tensors, state_of
from lacuna.pruning.criteria.base import Criterion, Scores
from lacuna.randomness import derive
from lacuna.sparsity.mask import Mask, Scope, Sparsity, prunable, refuse_computed
from lacuna.sparsity.rounds import rounds_to, sparsity_of
from lacuna.training.loop import Options, check_options, fit
from lacuna.training.recipe import Recipe
from lacuna.training.starting_point import StartingPoint
from lacuna.training.state import TrainingResult


@dataclass(frozen=True, kw_only=True)
class Pruner:
    """A criterion × procedure; a subclass names the criterion and, where it is not one-shot, the procedure.

    scope: rank all prunable weights together (global) or within each layer.
    include_linear: Linear weights except the classifier are prunable too.
    """

    scope: Scope = "global"
    include_linear: bool = False

    criterion: ClassVar[Criterion]
    # whole filters are removed, not single weights; and networks run without them
    structured: ClassVar[bool] = False
    compact: ClassVar[bool] = False
    before_training: ClassVar[bool] = False
    rate: ClassVar[float | None] = None

    def check(self, model: nn.Module, sparsity: Sparsity) -> None:
        """Raise LacunaError unless this pruner can bring such a network to this sparsity.

        Looks at shapes alone: the weights may be on the meta device. Asked of every model and sparsity of a grid
        before the first job.
        """
        refuse_computed(model, self.include_linear)
        sizes = [w.numel() for w in prunable(model, self.include_linear).values()]
        ranked = sizes if self.scope == "layer" else [sum(sizes)]
        if all(round(Fraction(str(sparsity)) * n) == n for n in ranked):
            most = math.floor(1e4 * (1 - 1 / max(ranked))) / 1e4
            raise LacunaError(f"none of its {sum(sizes)} prunable weights would be left; allowed: at most {most:g}")

    def find_mask(
        self, model: nn.Module, sparsity: Sparsity, data: UnlearningData, *, seed: int, mask: Mask | None = None
    ) -> Mask:
        """The mask of this sparsity for the weights as they are; weights that `mask` removed stay removed.

        Raises LacunaError if the sparsity cannot be reached.
        """
        return Mask.from_scores(self.scores(model, data, seed), sparsity, self.scope, within=mask)

    def scores(self, model: nn.Module, data: UnlearningData, seed: int) -> Scores:
        """What the criterion says of each prunable weight; the lowest are removed."""
        criterion = type(self).criterion
        offered = {"seed": derive(seed, "scores"), "data": data} | vars(self)
        wanted = list(inspect.signature(criterion).parameters)[1:]
        return criterion(model, **{name: offered[name] for name in wanted})

    def grow(
        self,
        mask: Mask,
        model: nn.Module,
        data: UnlearningData,
        initial: State,
        share: str | float | Fraction,
        generator: torch.Generator | None = None,
    ) -> Mask:
        """The mask with this share of its removed weights kept again, ranked within the scope.

        Those of the largest |θ_0|, or any that `generator` draws. A structured pruner grows whole filters, by L2 norm.
        """
        return mask.grown(drawn(magnitudes(initial, mask), generator), share, self.scope)

    def start(self, origin: StartingPoint, recipe: Recipe) -> tuple[State, int]:
        """The weights that training goes on from, and the epochs of the schedule that they have behind them."""
        return origin.initial, 0

    def prune(
        self,
        model: nn.Module,
        origin: StartingPoint,
        sparsity: str | float,
        recipe: Recipe,
        data: UnlearningData,
        *,
        seed: int,
        **rest: Any,
    ) -> tuple[Mask, TrainingResult]:
        """Turn the dense `origin` into a sparse model, in place, through all rounds. Returns mask and run.

        sparsity: share of weights removed, in [0, 1). The optimizer starts anew in every round; `rest` goes to
        `prune_once`. The run's cost is that of all rounds.
        """
        earlier = TrainingResult()
        for level in rounds_to(sparsity, self.rate):
            mask, run = self.prune_once(model, origin, level, recipe, data, seed=derive(seed, level), **rest)
            origin = dataclasses.replace(origin, final=state_of(model), mask=mask)
            earlier.add(vars(run))
        mask, run = self.prune_once(model, origin, sparsity, recipe, data, seed=seed, **rest)
        run.add(vars(earlier))
        return mask, run

    def prune_once(
        self,
        model: nn.Module,
        origin: StartingPoint,
        level: str | float,
        recipe: Recipe,
        data: UnlearningData,
        *,
        seed: int,
        **options: Unpack[Options],
    ) -> tuple[Mask, TrainingResult]:
        """One round, in place: score, remove, restart, train under the mask. Returns mask and run.

        level: a sparsity in [0, 1), or a round of an iterative pruner ("round03"). options: of the training, as
        `training.loop.fit` takes them; where it starts is the pruner's.
        """
        check_options("prune_once", options)
        options.setdefault("name", "pruning")
        sparsity = sparsity_of(level, self.rate)
        self.check(model, sparsity)
        load_tensors(model, origin.initial if self.before_training else origin.final)
        with data.read_only(options["name"]):
            mask = self.find_mask(model, sparsity, data, seed=seed, mask=origin.mask)
        if (log := options.get("log")) is not None:
            for layer in mask.collapsed():
                log(f"warning: {options['name']}: layer collapse, no weight of '{layer}' is left at {level}")
        weights, options["start_epoch"] = self.start(origin, recipe)
        load_tensors(model, weights)
        return mask, self.train(model, recipe, data, mask, seed=seed, **options)

    def train(
        self, model: nn.Module, recipe: Recipe, data: UnlearningData, mask: Mask, **options: Any
    ) -> TrainingResult:
        """Train under the mask, in place."""
        return fit(model, recipe, data, mask=mask, **options)


def magnitudes(initial: State, mask: Mask) -> Scores:
    """|θ_0| of the weights that a mask is over."""
    return {name: initial[name].abs() for name in mask.weights}


def drawn(scores: Scores, generator: torch.Generator | None) -> Scores:
    """The scores, or uniform draws in their place."""
    if generator is None:
        return scores
    return {name: torch.rand(s.shape, generator=generator) for name, s in scores.items()}


@dataclass(frozen=True, kw_only=True)
class InitialPruner(Pruner):
    """A pruner that scores the initialisation, and trains under the mask from there on."""

    before_training: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class TrainedPruner(Pruner):
    """A pruner that scores trained weights.

    restart: go on from the weights at the recipe's rewind epoch (rewind), from the initialisation (lt), or from the
    trained weights themselves with the schedule of the rewind epoch (finetune).
    """

    restart: Literal["rewind", "lt", "finetune"] = "rewind"

    def start(self, origin: StartingPoint, recipe: Recipe) -> tuple[State, int]:
        if self.restart == "lt":
            return origin.initial, 0
        return (origin.rewind if self.restart == "rewind" else origin.final), recipe.rewind_epoch
