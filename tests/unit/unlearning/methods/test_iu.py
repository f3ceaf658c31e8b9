"""Influence unlearning: the dense solution, and the recursion as coded."""

import pytest
import torch
from tiny import half
from torch import nn
from torch.nn.functional import cross_entropy

from lacuna.gradients.per_sample import each_gradient
from lacuna.gradients.whole import mean_gradient, trained, unmasked
from lacuna.models.inference import copy_of
from lacuna.unlearning.methods.iu import InfluenceUnlearning
from unit.gradients.networks import SOURCE, close, looped
from unit.unlearning.methods.second_order import SPARSE, run


def flat(scores):
    return torch.cat([s.flatten(1) if s.dim() > 1 else s[:, None] for s in scores.values()], 1)


def linear_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).double()


def dense_solution(model, source, index, alpha, damping, exists=None):
    """α (λI + GᵀG/N)⁻¹ v with the whole matrix, over the entries that exist."""
    exists = torch.ones(sum(p.numel() for p in model.parameters()), dtype=torch.bool) if exists is None else exists
    rows = flat(looped(model, source, index))[:, exists]
    forget, retain = (flat(looped(model, source, source.index(part)))[:, exists] for part in ("forget", "retain"))
    v = len(forget) / (len(forget) + len(retain)) * (forget.mean(0) - retain.mean(0))
    matrix = damping * torch.eye(len(v), dtype=v.dtype) + rows.T @ rows / len(rows)
    update = torch.zeros(len(exists), dtype=v.dtype)
    update[exists] = alpha * torch.linalg.solve(matrix, v)
    return update, v


def moved(case, model, mask=None, **options):
    end = run(case, model, mask=mask, **options).model
    start = copy_of(model)
    if mask is not None:
        mask.apply(start)
    return torch.cat([(b - a).flatten() for a, b in zip(start.parameters(), end.parameters(), strict=True)]).detach()


@pytest.mark.parametrize("damping", [1.0, 1e-2, 1e-4])
def test_influence_is_the_dense_solution_of_a_linear_model(damping):
    model = linear_model()
    expected, v = dense_solution(model, SOURCE, SOURCE.index("retain"), 1.5, damping)
    close(moved("iu", model, alpha=1.5, damping=damping), expected, rtol=1e-8, atol=1e-12)
    # and curvature is no detail
    assert torch.nn.functional.cosine_similarity(expected, v, 0) < (0.999 if damping == 1 else 0.5)


@SPARSE
@pytest.mark.parametrize("samples", [1, 7, 39, 40, 1000])
def test_influence_is_the_dense_solution_over_its_samples(trained_model, samples, sparse):
    mask, start = half(trained_model) if sparse else None, copy_of(trained_model)
    if mask is not None:
        mask.apply(start)
    exists = torch.cat([e.flatten() for e in unmasked(trained(start), mask).values()])
    index = InfluenceUnlearning(samples=samples).chosen(SOURCE, seed=3)
    assert len(index) == min(samples, 40) == len(index.unique())
    assert set(index.tolist()) <= set(SOURCE.index("retain").tolist())
    expected, _ = dense_solution(start, SOURCE, index, 2.0, 0.01, exists)
    close(moved("iu", start, mask, alpha=2.0, damping=0.01, samples=samples, seed=3), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("rows", [3, 10, 20, 1000])
@pytest.mark.parametrize("case", ["iu", "iu-collinear"])
def test_gradients_that_do_not_fit_are_derived_again(trained_model, case, rows, monkeypatch):
    """However few rows of the span may be held at once."""
    expected = moved(case, trained_model, damping=0.01) if case == "iu" else moved(case, trained_model)
    size = sum(p.numel() for p in trained_model.parameters()) * 8
    monkeypatch.setattr("lacuna.unlearning.methods.iu.HELD_BYTES", 2 * rows * size)
    derived = []
    each = each_gradient
    monkeypatch.setattr(
        "lacuna.unlearning.methods.iu.each_gradient", lambda *given: derived.append(len(given[2])) or each(*given)
    )
    found = moved(case, trained_model, damping=0.01) if case == "iu" else moved(case, trained_model)
    close(found, expected, rtol=1e-9, atol=1e-13)
    assert max(derived) <= 2 * rows
    if case == "iu":
        assert (sum(derived) == 40) == (rows >= 20), "of up to two blocks each is derived once"


def test_strong_damping_leaves_the_plain_difference(trained_model):
    """λ → ∞: λ F̂⁻¹ v → v."""
    forget, retain = (mean_gradient(trained_model, SOURCE, part, 7) for part in ("forget", "retain"))
    v = torch.cat([12 / 52 * (forget[name] - retain[name]).flatten() for name in forget])
    close(moved("iu", trained_model, alpha=1e9, damping=1e9), v, rtol=1e-6, atol=1e-9)


def test_influence_leads_away_from_what_is_forgotten(trained_model):
    def loss(model, part):
        x, y = next(SOURCE.plain_batches(part, 1000, torch.float64))
        return cross_entropy(model.eval()(x), y).item()

    rises = [loss(run("iu", trained_model, alpha=a).model, "forget") - loss(trained_model, "forget") for a in (0.1, 1)]
    assert 0 < rises[0] < rises[1]


def test_collinear_variant_is_the_recursion_as_coded(trained_model):
    method = InfluenceUnlearning(samples=20, variant="collinear")
    index = method.chosen(SOURCE, seed=0)
    assert torch.equal(index, SOURCE.index("retain")[:22])
    rows = flat(looped(trained_model, SOURCE, index))
    _, v = dense_solution(trained_model, SOURCE, index, 1.0, 1.0)
    o, k = rows[0], v
    for g in rows[1:]:
        s = o @ g
        k = k - (k @ g) / (20 + s) * o
        o = (1 - s / (20 + s)) * o
    close(moved("iu-collinear", trained_model, samples=20), k, rtol=1e-9, atol=1e-14)
