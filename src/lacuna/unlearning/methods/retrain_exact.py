"""The oracle that never saw anything of the forgotten part of the label space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.inference import state_of
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.sparsity.mask import Mask
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning.base import LossUnlearner, RunOptions, Unlearned, register


@register("retrain_exact")
@dataclass(frozen=True, kw_only=True)
class RetrainExact(Recipe, LossUnlearner):
    """Exact retraining: train dense on D_r, prune on D_r, rewind, train on D_r; no trace of D_f, topology included.

    With a pruner and a sparsity, `unlearn(..., pruner=..., sparsity=...)`; without, the dense oracle. `origin` gives
    the states of an exact oracle trained before, dense or of an earlier round, to be pruned once instead of trained.
    Cost: 1 forward, 1 backward a step, for the epochs of the recipe, twice on a sparse model.
    Source: Xiao et al., 2025 (un-pruning), as the reference topology.
    """

    oracle: ClassVar[bool] = True

    def run(self, model: nn.Module, data: UnlearningData, run: RunOptions) -> Unlearned:
        if (run.pruner is None) != (run.sparsity is None):
            raise LacunaError("retrain_exact: pruner and sparsity belong together; allowed: both or neither")
        if run.mask is not None:
            raise LacunaError("retrain_exact: a mask cannot be given, it finds its own; allowed: pruner and sparsity")
        options: dict[str, Any] = {"checkpoint": run.checkpoint, "log": run.log, "name": run.name}
        seed = derive(run.seed, "prune")
        if run.origin is not None:
            if run.pruner is None:
                raise LacunaError("retrain_exact: an origin is there to be pruned; allowed with: pruner and sparsity")
            mask, sparse = run.pruner.prune_once(model, run.origin, run.sparsity, self, data, seed=seed, **options)
            return Unlearned(model, mask, sparse)
        reinitialise(model, derive(run.seed, "init"))
        initial = state_of(model)
        dense = fit(model, self, data, seed=run.seed, snapshot_epoch=self.rewind_epoch, **options)
        origin = None if dense.snapshot is None else StartingPoint(state_of(model), dense.snapshot, initial)
        if run.pruner is None:
            return Unlearned(model, Mask.full(model), dense, origin)
        if origin is None:
            raise LacunaError(
                f"retrain_exact.rewind_epoch: {self.rewind_epoch} is not allowed; allowed: 0 to {self.epochs}"
            )
        mask, sparse = run.pruner.prune(model, origin, run.sparsity, self, data, seed=seed, **options)
        if not run.pruner.before_training:
            sparse.add(vars(dense))
        return Unlearned(model, mask, sparse)
