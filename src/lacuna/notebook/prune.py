"""From a trained model to a sparse one."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError, unknown
from lacuna.fields import build
from lacuna.models.inference import copy_of, state_of
from lacuna.pruning import PRUNERS
from lacuna.pruning.base import Pruner
from lacuna.sparsity.mask import Mask
from lacuna.training.recipe import Recipe
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning.base import check_answer

# crop and flip are `UnlearningData.augment` here; the schedule begins with the model
_OF_RECIPES = {field.name for field in dataclasses.fields(Recipe)} - {"rewind_epoch", "crop", "flip"}
_DEFAULTS = {"rewind_epoch": 0, "milestones": [], "schedule": "constant", "lr": 0.01}


class Pruned(NamedTuple):
    """A sparse copy of a model, its removed weights exactly 0, and the mask that holds them there."""

    model: nn.Module
    mask: Mask

    def __repr__(self) -> str:
        return f"Pruned({type(self.model).__name__}, {self.mask})"


def prune(
    model: nn.Module,
    sparsity: float | str,
    *,
    pruner: str = "omp",
    data: UnlearningData | None = None,
    seed: int = 0,
    log: Callable[[str], None] | None = None,
    **options: Any,
) -> Pruned:
    """A sparse copy of a trained model, and its mask: model, mask = prune(model, 0.9).

    sparsity: share of the prunable weights to remove, in (0, 1); a pruner of filters removes that share of filters.
    pruner: a name in PRUNERS. data: what the scores of gradients are computed on, and what the sparse model trains on:
    D_r and D_f together. options: the pruner's own (`scope`, `include_linear`, `rate`, ...), and of the training under
    the mask: `epochs`, without which nothing is trained, `lr`, `batch_size` and all others of a recipe.

    Training goes on from the weights of the model, with lr 0.01 unless given: what the pipeline calls
    `restart: finetune`. A pruner in rounds, `imp`, trains `epochs` in each.

    Raises LacunaError for an unknown pruner or option, a sparsity that it cannot reach, data that is missing or that
    the model does not fit, or a diverged training.

    >>> import torch
    >>> from lacuna import UnlearningData, prune, unlearn
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    >>> sparse, mask = prune(model, 0.75)
    >>> mask.sparsity, int((sparse[0].weight == 0).sum()), int((model[0].weight == 0).sum())
    (0.75, 27, 0)
    >>> x, y = torch.rand(12, 1, 4, 4), torch.tensor([0, 1] * 6)
    >>> data = UnlearningData.from_tensors(retain=(x[:8], y[:8]), forget=(x[8:], y[8:]))
    >>> sparse, mask = prune(model, 0.75, data=data, pruner="taylor", epochs=2, batch_size=4, lr=0.01)
    >>> unlearn("ga", sparse, data, mask=mask, epochs=1, batch_size=4).mask.sparsity
    0.75
    """
    training = {name: value for name, value in options.items() if name in _OF_RECIPES}
    chosen = _pruner(pruner, {name: value for name, value in options.items() if name not in training})
    _check(model, sparsity, data, training)
    if data is None and "data" in inspect.signature(type(chosen).criterion).parameters:
        raise LacunaError(f"prune: {pruner} computes its scores on data; allowed with data=")
    try:
        chosen.check(model, sparsity)
    except LacunaError as error:
        raise LacunaError(f"prune: {pruner} at sparsity {sparsity}: {error}") from None
    sparse = copy_of(model)
    everything: Any = data
    if data is not None:
        check_answer(sparse, data)
        both = data.index("mixed" if len(data.parts.get("forget", ())) else "retain")
        everything = dataclasses.replace(data, parts={"retain": both})
    if not training:
        mask = chosen.find_mask(sparse, sparsity, everything, seed=seed)
        mask.apply(sparse)
        return Pruned(sparse, mask)
    recipe = build(Recipe, _DEFAULTS | training, "prune")
    state = state_of(sparse)
    origin = StartingPoint(final=state, rewind=state, initial=state)
    mask, _ = chosen.prune(sparse, origin, sparsity, recipe, everything, seed=seed, log=log)
    sparse.eval()
    return Pruned(sparse, mask)


def _pruner(name: str, options: dict[str, Any]) -> Pruner:
    """The pruner with its options. Raises LacunaError for one that it does not have, or that is the pipeline's."""
    kind = PRUNERS[name]
    if "restart" in options:
        raise LacunaError(
            "prune: restart: not allowed, the model's earlier weights are not known; allowed: epochs=, which trains on "
            "from its present ones"
        )
    known = {field.name.removesuffix("_") for field in dataclasses.fields(kind)} - {"restart"}
    if strange := sorted(options.keys() - known):
        allowed = sorted(known | _OF_RECIPES)
        raise LacunaError(f"prune: unknown option '{strange[0]}'{unknown(strange[0], allowed)}")
    return build(kind, options, f"prune: {name}")


def _check(model: Any, sparsity: Any, data: Any, training: dict[str, Any]) -> None:
    """Refuse what cannot be pruned by any pruner, or not trained."""
    if not isinstance(model, nn.Module):
        raise LacunaError(f"prune: a {type(model).__name__} is not allowed; allowed: a torch.nn.Module")
    if not isinstance(data, UnlearningData | None):
        raise LacunaError(f"prune: data is a {type(data).__name__}; allowed: lacuna.UnlearningData, or None")
    try:
        share = Fraction(str(sparsity))
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share < 1:
        raise LacunaError(f"prune: sparsity {sparsity!r} is not allowed; allowed: a number > 0 and < 1")
    if data is None and training:
        raise LacunaError(f"prune: {', '.join(training)}: there is no data to train on; allowed with data=")
    if training and "epochs" not in training:
        raise LacunaError(f"prune: {', '.join(training)}: nothing is trained without epochs; allowed with epochs=")
