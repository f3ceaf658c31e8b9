"""The oracle: a model that never saw the forgotten data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from lacuna.errors import LacunaError
from lacuna.models.inference import load_tensors
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.training.recipe import Recipe
from lacuna.unlearning.base import LossUnlearner, RunOptions, register


@register("retrain")
@dataclass(frozen=True, kw_only=True)
class Retrain(Recipe, LossUnlearner):
    """Retraining: SGD on ℓ(D_r) from the original's own θ_0, under the mask m found on all of D, in another order.

    The weights know nothing of D_f; the mask still does. In the grid it follows the cell's recipe. θ_0 and θ_k are
    those of the dense training that every pruner begins with. On a dense state of the grid theta0 means a new draw:
    where no weight is removed, one is as good as another. `unlearn(..., origin=StartingPoint(initial=...))` gives the
    state to start from; without an origin the start is fresh, and theta0 or rewind, if asked for, is refused.
    start: theta0, m⊙θ_0 of the original, as published: a magnitude mask suits the θ_0 it was found from and hardly
    another; fresh, a new draw under the same mask; rewind, m⊙θ_k, which saw D_f for k epochs, the schedule from k on.
    Cost: 1 forward, 1 backward a step, for the epochs of the recipe.
    Source: Jia et al., NeurIPS 2023 (their Retrain).
    """

    oracle: ClassVar[bool] = True
    own: ClassVar[tuple[str, ...]] = ("start",)

    start: Literal["theta0", "fresh", "rewind"] = "theta0"

    @property
    def start_epoch(self) -> int:
        return self.rewind_epoch if self.start == "rewind" else 0

    def prepare(self, model: nn.Module, run: RunOptions) -> None:
        if self.start_epoch >= self.epochs:
            raise LacunaError(
                f"retrain.rewind_epoch: {self.rewind_epoch} is not allowed; allowed: 0 to {self.epochs - 1}"
            )
        if self.start == "fresh" or (run.origin is None and "start" not in run.asked):
            reinitialise(model, derive(run.seed, "init"))
            return
        which = "initial" if self.start == "theta0" else "rewind"
        state = getattr(run.origin, which, None)
        if not state:
            raise LacunaError(
                f"retrain.start: {self.start} starts from a state of the original's training, and none is given; "
                f"allowed with: origin=StartingPoint({which}=...); or start='fresh'"
            )
        try:
            load_tensors(model, state)
        except RuntimeError:
            raise LacunaError(
                f"retrain.origin: {which} is a state of another architecture; allowed: one of this model"
            ) from None
