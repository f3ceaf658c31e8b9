"""Taylor scores: squares of batches, none of which is short."""

import pytest
import torch
from tiny import data, network

from lacuna.pruning.criteria import taylor as taylor_module
from lacuna.sparsity.mask import prunable
from unit.pruning.criteria.scores import SOURCE, loss_on, score, worn


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_taylor_squares_each_batch(batch_size):
    """Of one sample each: Σ (θ gᵢ)²; of all at once: (θ Σ gᵢ/n)²; in either case no draw of an order matters."""
    model = worn(network()).double()
    expected = {name: torch.zeros_like(w) for name, w in prunable(model).items()}
    model.eval()
    for chosen in SOURCE.index("retain").split(batch_size):
        gradients = torch.autograd.grad(loss_on(model, chosen), list(prunable(model).values()))
        for (name, w), g in zip(prunable(model).items(), gradients, strict=True):
            expected[name] += (w * g).detach() ** 2
    model.train()
    for seed in (0, 1):
        scores = score("taylor", model, seed=seed, batch_size=batch_size)
        for name, s in scores.items():
            torch.testing.assert_close(s, expected[name], rtol=1e-9, atol=1e-18)


def test_taylor_has_no_short_batch(monkeypatch):
    """Each batch's square weighs the same, and that of one sample would be mostly noise."""
    seen = []
    loss = taylor_module.loss_on
    monkeypatch.setattr(taylor_module, "loss_on", lambda m, d, chosen: seen.append(len(chosen)) or loss(m, d, chosen))
    score("taylor", network(), data(retain=41), seed=0, batch_size=10)
    assert seen == [9, 8, 8, 8, 8]
