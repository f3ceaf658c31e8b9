"""Unlearners: one file per method, in `methods`. `unlearn` runs any of them, inside the pipeline or in a notebook."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lacuna.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from lacuna.data.batches import UnlearningData
    from lacuna.unlearning.base import Unlearned, Unlearner

UNLEARNERS: Registry[type[Unlearner]] = Registry("lacuna.unlearning.methods", "unlearner", __path__[0] + "/methods")


def unlearn(method: str, model: nn.Module, data: UnlearningData, **options: Any) -> Unlearned:
    """Unlearn `data.parts["forget"]` from a copy of `model`.

    method: a name in UNLEARNERS. data: what to retain and to forget (`UnlearningData.from_tensors(...)`).
    options: `mask` (Mask, kept at exactly 0), `compact` (bool, work on the network without the filters that the mask
    wholly removes), `seed` (int), `checkpoint`, `log`, `origin`
    (`lacuna.training.starting_point.StartingPoint`: states of the original's own training, where `retrain` starts),
    and the method's hyper-parameters.
    Returns an Unlearned: the new `model`, its `mask`, and `fit` (seconds, steps, samples, history).

    Raises LacunaError for an unknown method or hyper-parameter, a value out of range, a model or mask that the data or
    the method do not fit, or a diverged run.

    >>> import torch
    >>> from lacuna import Mask, UnlearningData, unlearn
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    >>> mask = Mask.from_scores({"0.weight": model[0].weight.abs()}, sparsity="0.50")
    >>> x, y = torch.rand(12, 1, 4, 4), torch.tensor([0, 1] * 6)
    >>> data = UnlearningData.from_tensors(retain=(x[:8], y[:8]), forget=(x[8:], y[8:]))
    >>> result = unlearn("neggrad_plus", model, data, mask=mask, epochs=2, batch_size=4, seed=1)
    >>> result.fit.steps, result.mask.sparsity, int((result.model[0].weight == 0).sum())
    (4, 0.5, 18)
    """
    # by name, so that the code digest of one method's cells does not hang on every other method
    base = importlib.import_module("lacuna.unlearning.base")
    outcome: Unlearned = base.run(UNLEARNERS[method], model, data, **options)
    return outcome
