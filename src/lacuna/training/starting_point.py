"""What a pruner or a retraining starts from."""

from __future__ import annotations

from dataclasses import dataclass, field

from lacuna.models.inference import State
from lacuna.sparsity.mask import Mask


@dataclass(frozen=True)
class StartingPoint:
    """What a pruner or a retraining starts from: states of one training run, batch norm included.

    final: at its end, of a dense model or of an earlier round; rewind: after `recipe.rewind_epoch` epochs;
    initial: θ_0. mask: of `final`, None for a dense model. A state that is not read may be left out.
    """

    final: State = field(default_factory=dict)
    rewind: State = field(default_factory=dict)
    initial: State = field(default_factory=dict)
    mask: Mask | None = None
