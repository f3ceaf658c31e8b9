"""Unlearners: one file per method, in `methods`. `unlearn` runs any of them, inside the pipeline or in a notebook."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lacuna.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from lacuna.data.batches import UnlearningData
    from lacuna.unlearning.base import Outcome

UNLEARNERS: Registry = Registry("lacuna.unlearning.methods", "unlearner", __path__[0] + "/methods")


def unlearn(method: str, model: nn.Module, data: UnlearningData, **options: Any) -> Outcome:
    """Unlearn `data.parts["forget"]` from a copy of `model`.

    method: a name in UNLEARNERS. data: what to retain and to forget (`UnlearningData.from_tensors(...)`).
    options: `mask` (Mask, kept at exactly 0), `compact` (bool, work on the network without the filters that the mask
    wholly removes), `seed` (int), `checkpoint`, `log`, `origin` (`lacuna.training.origin.Origin`: states of the
    original's own training, where `retrain` starts), and the method's hyper-parameters.
    Returns an Outcome: the new `model`, its `mask`, and `fit` (seconds, steps, samples, history).

    Raises LacunaError for an unknown method or hyper-parameter, a value out of range, or a diverged run.

    >>> result = unlearn("ga", model, data, mask=mask, lr=1e-3)  # doctest: +SKIP
    """
    # by name, so that the code digest of one method's cells does not hang on every other method
    base = importlib.import_module("lacuna.unlearning.base")
    return base.run(UNLEARNERS[method], model, data, **options)
