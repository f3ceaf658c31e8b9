"""What the tests of the methods that fine-tune share: one step, its gradients, a trained network."""

import torch
from tiny import data, network

from lacuna import unlearn
from lacuna.data.batches import Batch
from lacuna.fields import build
from lacuna.sparsity.mask import Mask, prunable
from lacuna.training.state import LoopState
from lacuna.unlearning import UNLEARNERS

# an lr with which a run of two epochs moves the small network, whatever the method
QUICK = {"epochs": 2, "lr": 0.02, "batch_size": 8}


def magnitude_mask(model, sparsity="0.5"):
    return Mask.from_scores({name: w.detach().abs() for name, w in prunable(model).items()}, sparsity)


def trained(seed=0, dtype=torch.float32, **rest):
    """A network that knows its data, so that there is something to forget."""
    model = network(seed=seed, **rest).to(dtype)
    return unlearn("ft", model, data(classes=3), epochs=15, lr=0.1, batch_size=16).model


def batch_of(x, y, forgotten=None, classes=3):
    forgotten = torch.zeros(len(y), dtype=torch.bool) if forgotten is None else forgotten
    return Batch(x, y, torch.arange(len(y)), forgotten, classes, torch.Generator())


def whole(given, part):
    """All samples of a part, as one batch would hold them."""
    ((x, y),) = given.plain_batches(part, 10_000, torch.float64)
    return x, y


def gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()))


def one_step(method, model, given, **options):
    """(θ_0 − θ_1) / lr of a single plain step on whole parts, batch norm frozen."""
    plain = {"epochs": 1, "batch_size": 10_000, "momentum": 0.0, "weight_decay": 0.0, "lr": 1e-3, "batchnorm": "frozen"}
    outcome = unlearn(method, model, given, **(plain | options))
    assert outcome.fit.steps == 1
    pairs = zip(model.parameters(), outcome.model.parameters(), strict=True)
    return [(before - after).detach() / 1e-3 for before, after in pairs]


def close(found, expected, atol=1e-9):
    # torch.testing would import sympy, two seconds
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert torch.allclose(f, e, rtol=0, atol=atol), float((f - e).detach().abs().max())


def begun(method, model, given, seed=0, **options):
    method = build(UNLEARNERS[method], options)
    work = LoopState(seed, torch.device("cpu"), given.classes)
    return method, work, method.begin(model, given, work)
