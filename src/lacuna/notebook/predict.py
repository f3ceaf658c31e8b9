"""From a model to its predictions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.evaluation.cell import PARTS, Cell, Part
from lacuna.models import cost
from lacuna.models.inference import logits
from lacuna.sparsity.mask import Mask
from lacuna.unlearning.base import Unlearned, check_answer


def predict(
    model: nn.Module | Unlearned, data: UnlearningData, *, mask: Mask | None = None, parts: Iterable[str] | None = None
) -> Cell:
    """The predictions of a model on the parts of `data`, for `evaluate`.

    model: a network, or what `unlearn` returned: then the mask, the seconds, steps and samples of the run are in the
    cell too. In evaluation mode, on the device of the data. mask: of a network of your own; with one, masks and
    weights are compared as well. parts: by default those of `data` that a metric reads: retain, forget, val, test,
    test_forgotten, triggered.

    Raises LacunaError for what is no model, data or mask, for a model without an answer to such images or without an
    output for each label, for a mask that the weights do not obey, for a part that the data lacks, or for a logit that
    is not finite.

    >>> import torch
    >>> from lacuna import UnlearningData, evaluate, predict, unlearn
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
    >>> x, y = torch.rand(12, 1, 4, 4), torch.tensor([0, 1] * 6)
    >>> data = UnlearningData.from_tensors(retain=(x[:8], y[:8]), forget=(x[8:], y[8:]))
    >>> result = unlearn("ga", model, data, epochs=1, batch_size=4, seed=1)
    >>> oracle = unlearn("retrain", model, data, epochs=2, batch_size=4, warmup_epochs=0, seed=1)
    >>> cell = predict(result, data)
    >>> cell
    Cell(retain 8, forget 4; with job, weights)
    >>> values = evaluate(cell, {"retrain": predict(oracle, data)}, metrics=["UA", "samples", "KL_forget"])
    >>> sorted(values), values["samples"]
    (['KL_forget/retrain', 'UA', 'samples'], 4.0)
    """
    run = model if isinstance(model, Unlearned) else None
    network: Any = run.model if run else model
    if not isinstance(network, nn.Module):
        allowed = "a torch.nn.Module, or what lacuna.unlearn returned"
        raise LacunaError(f"predict: a {type(model).__name__} is not allowed; allowed: {allowed}")
    if not isinstance(data, UnlearningData):
        raise LacunaError(f"predict: data is a {type(data).__name__}; allowed: lacuna.UnlearningData")
    if run is not None and mask is None:
        mask = run.mask
    if not isinstance(mask, Mask | None):
        raise LacunaError(f"predict: mask is a {type(mask).__name__}; allowed: a lacuna.Mask, or None")
    if mask is not None:
        mask.pairs(network)
        mask.check(network)
    if next(network.parameters(), None) is None:
        raise LacunaError(f"predict: {type(network).__name__} has no parameters; allowed: a network that has learnt")
    check_answer(network, data)
    return Cell(
        {name: _part(network, data, name) for name in _asked(data, parts)},
        None if mask is None else mask.bits(),
        run.fit.seconds if run else None,
        extra={"job": _facts(network, data, run), "weights": _weights(network)},
    )


def _asked(data: UnlearningData, parts: Iterable[str] | None) -> list[str]:
    """The parts to predict on. Raises LacunaError for one that the data or a Cell has not."""
    have = [name for name in PARTS if name in data.parts and len(data.parts[name])]
    chosen = have if parts is None else [parts] if isinstance(parts, str) else list(parts)
    if strange := [name for name in chosen if name not in have]:
        raise LacunaError(f"predict: no part '{strange[0]}' in the data; allowed: {', '.join(have)}")
    return chosen


def _part(network: nn.Module, data: UnlearningData, name: str) -> Part:
    index = data.index(name)
    return Part(logits(network, data, name).numpy(), data.labels[index].cpu().numpy(), index.cpu().numpy(), name)


def _facts(network: nn.Module, data: UnlearningData, run: Unlearned | None) -> dict[str, Any]:
    """What the metrics of cost read, as job.json has it: the run's, if it is known, and the network's."""
    ran = (run.fit.network if run else None) or network
    network_facts = {"parameters": cost.parameters(ran), "macs": cost.macs(ran, data.images.shape[1:])}
    facts: dict[str, Any] = {"device": str(data.device), "network": network_facts}
    if run is not None:
        counted = ("seconds", "steps", "samples", "forwards", "backwards")
        facts |= {name: getattr(run.fit, name) for name in counted}
    return facts


def _weights(network: nn.Module) -> dict[str, Any]:
    return {name: p.detach().float().cpu().clone().numpy() for name, p in network.named_parameters()}
