"""The oracles: models that never saw the forgotten data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.models.init import reinitialise
from lacuna.pruning.mask import Mask
from lacuna.randomness import derive
from lacuna.training import Fit, Recipe, fit
from lacuna.unlearning.base import LossUnlearner, Outcome, Run, register


@register("retrain")
@dataclass(frozen=True, kw_only=True)
class Retrain(Recipe, LossUnlearner):
    """Retraining: SGD on ℓ(D_r) from a new initialisation, under the mask m found on all of D.

    The weights know nothing of D_f; the mask still does. In the grid it follows the cell's recipe.
    Cost: 1 forward, 1 backward a step, for the epochs of the recipe.
    Source: Jia et al., NeurIPS 2023 (their Retrain).
    """

    oracle: ClassVar[bool] = True

    def run(self, model: nn.Module, data: UnlearningData, run: Run) -> Outcome:
        reinitialise(model, derive(run.seed, "init"))
        return LossUnlearner.run(self, model, data, run)


@register("retrain_exact")
@dataclass(frozen=True, kw_only=True)
class RetrainExact(Recipe, LossUnlearner):
    """Exact retraining: train dense on D_r, prune on D_r, rewind, train on D_r; no trace of D_f, topology included.

    With a pruner and a sparsity, `unlearn(..., pruner=..., sparsity=...)`; without, the dense oracle. `trained` gives
    the states (final, rewind) of a dense oracle trained before, to be pruned instead of trained again.
    Cost: 1 forward, 1 backward a step, for the epochs of the recipe, twice on a sparse model.
    Source: Xiao et al., 2025 (un-pruning), as the reference topology.
    """

    oracle: ClassVar[bool] = True

    def run(self, model: nn.Module, data: UnlearningData, run: Run) -> Outcome:
        if (run.pruner is None) != (run.sparsity is None):
            raise LacunaError("retrain_exact: pruner and sparsity belong together; allowed: both or neither")
        if run.mask is not None:
            raise LacunaError("retrain_exact: a mask cannot be given, it finds its own; allowed: pruner and sparsity")
        if run.pruner is None or run.trained is None:
            reinitialise(model, derive(run.seed, "init"))
            dense = fit(
                model,
                self,
                data,
                seed=run.seed,
                snapshot_epoch=self.rewind_epoch,
                checkpoint=run.checkpoint,
                log=run.log,
                name=run.name,
            )
            if run.pruner is None:
                return Outcome(model, Mask.full(model), dense)
            rewind = dense.snapshot
        else:
            final, rewind = run.trained
            model.load_state_dict(final)
            dense = Fit()
        assert rewind is not None, "the loop snapshots the rewind epoch"
        mask, sparse = run.pruner.prune(
            model,
            rewind,
            run.sparsity,
            self,
            data,
            seed=derive(run.seed, "prune"),
            checkpoint=run.checkpoint,
            log=run.log,
            name=run.name,
        )
        sparse.add(vars(dense))
        return Outcome(model, mask, sparse)
