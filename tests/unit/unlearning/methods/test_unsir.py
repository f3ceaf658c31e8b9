"""UNSIR: noise that raises the loss, impair and repair."""

import numpy as np
import pytest
import torch
from tiny import network, same, state
from torch import nn
from torch.nn.functional import cross_entropy

from lacuna.models.inference import copy_of
from lacuna.unlearning import UNLEARNERS, unlearn
from lacuna.unlearning.methods.unsir import Unsir
from unit.unlearning.methods.edits import METHODS, SOURCE, close, one_batch, working


def test_noise_raises_the_loss_and_is_adam(trained):
    model = copy_of(trained).train()
    start, labels = Unsir(noise_samples=4, noise_steps=0).noise(model, SOURCE, 3)
    found, _ = Unsir(noise_samples=4, noise_steps=12).noise(model, SOURCE, 3)
    assert same(state(model), state(trained)), "the model itself stays"
    model.eval()
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4, "this D_f holds all three classes"
    x, m, v = start.numpy().copy(), 0.0, 0.0
    for t in range(1, 13):
        leaf = torch.from_numpy(x).requires_grad_()
        (-cross_entropy(model(leaf), labels) + 0.1 * (leaf**2).sum((1, 2, 3)).mean()).backward()
        g = leaf.grad.numpy()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = x - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(found, x, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        before, after = (cross_entropy(model(x), labels).item() for x in (start, found))
    assert after > before + 0.1


def test_impair_has_noise_under_forgotten_labels_and_repair_has_none(trained):
    shown = []

    class Model(nn.Module):
        def forward(self, x):
            shown.append(x)
            return torch.zeros(len(x), 3, dtype=x.dtype)

    method = Unsir(noise_ratio=0.5)
    noise = torch.arange(7.0).view(-1, 1, 1, 1).expand(7, 1, 6, 6) + 100
    work = working(trained)
    work.memory["noise"] = (noise.double(), torch.full((7,), 2))
    given = one_batch(SOURCE, "retain")
    method.loss(Model(), given, 0, work)
    method.loss(Model(), given, 1, work)
    impair, repair = shown
    assert torch.equal(repair, given.x)
    assert torch.equal(impair[: len(given.x)], given.x)
    drawn = impair[len(given.x) :]
    assert len(drawn) == round(0.5 * len(given.x))
    assert {v.item() for v in drawn[:, 0, 0, 0]} <= {v + 100 for v in range(7)}
    assert len(drawn[:, 0, 0, 0].unique()) > 3


def test_impair_labels_noise_as_the_forgotten_class(trained):
    logits = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    work = working(trained)
    work.memory["noise"] = (torch.zeros(1, 1, 6, 6, dtype=torch.float64), torch.tensor([2]))
    given = one_batch(SOURCE, "retain")
    loss = Unsir(noise_ratio=1.0).loss(lambda x: logits[: len(x)], given, 0, work)
    labels = torch.cat([given.y, torch.full_like(given.y, 2)])
    close(loss, cross_entropy(logits[: len(labels)], labels))


def test_rates_of_impair_and_repair():
    method = Unsir(epochs=5, impair_epochs=2)
    assert [method.lr_at(step, 3) for step in range(0, 15, 3)] == pytest.approx([0.02, 0.02, 0.01, 0.01, 0.01])
    assert [row["lr"] for row in unlearn("unsir", network(), SOURCE, noise_steps=1).fit.history] == [0.02, 0.01]


def test_retained_subset_has_so_many_of_each_class_and_is_used_alone(trained):
    method = Unsir(retain_per_class=7, noise_steps=1)
    model = copy_of(trained)
    subset = method.begin(model, SOURCE, working(model)).parts["retain"]
    assert SOURCE.labels[subset].bincount().tolist() == [7, 7, 7]
    assert set(subset.tolist()) <= set(SOURCE.parts["retain"].tolist())
    assert len(set(subset.tolist())) == 21
    assert not torch.equal(subset, method.subset(SOURCE, 1)), "another seed, another subset"
    whole = Unsir(retain_per_class=0, noise_steps=1).begin(model, SOURCE, working(model))
    assert torch.equal(whole.parts["retain"], SOURCE.parts["retain"])
    assert torch.equal(Unsir(retain_per_class=1000).subset(SOURCE, 0), SOURCE.parts["retain"])
    outcome = unlearn("unsir", trained, SOURCE, retain_per_class=7, noise_steps=1, batch_size=7)
    assert (outcome.fit.steps, outcome.fit.samples) == (6, 42)


def test_noise_stands_for_a_class_only():
    assert UNLEARNERS["unsir"].scenarios == ("class",)
    assert all(UNLEARNERS[method].scenarios is None for method, _ in METHODS.values() if method != "unsir")
