"""The largest singular value of the Hessian, against the whole matrix, and the bound that is made of it."""

import math

import pytest
import torch
from tiny import data, half, network, same, state
from torch.nn.functional import cross_entropy

from lacuna.errors import LacunaError
from lacuna.evaluation import Cell, evaluate
from lacuna.measurement.curvature import distance, largest_singular_value, training_steps
from lacuna.sparsity.mask import Mask

SOURCE = data()


@pytest.fixture(scope="module")
def model():
    return network(widths=(2, 3)).double()


def dense_hessian(model):
    """The Hessian of ℓ(D_r) entry by entry, evaluation mode, and the names of its rows."""
    model.eval()
    parameters = dict(model.named_parameters())
    x, y = next(iter(SOURCE.plain_batches("retain", 1000, torch.float64)))
    gradient = torch.autograd.grad(cross_entropy(model(x), y), list(parameters.values()), create_graph=True)
    flat = torch.cat([g.flatten() for g in gradient])
    rows = [torch.autograd.grad(entry, list(parameters.values()), retain_graph=True) for entry in flat]
    return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])


def kept_entries(model, mask):
    everything = [mask[n] if n in mask else torch.ones_like(p, dtype=torch.bool) for n, p in model.named_parameters()]
    return torch.cat([k.flatten() for k in everything])


def test_it_is_that_of_the_whole_matrix(model):
    hessian = dense_hessian(model)
    found = largest_singular_value(model, SOURCE, tolerance=1e-7, iterations=2000, batch_size=7)
    assert found.converged
    assert found.sigma == pytest.approx(float(torch.linalg.svdvals(hessian)[0]), rel=1e-6)


def test_removed_weights_do_not_count(model):
    mask = half(model)
    kept = kept_entries(model, mask)
    exact = float(torch.linalg.svdvals(dense_hessian(model)[kept][:, kept])[0])
    found = largest_singular_value(model, SOURCE, mask=mask, tolerance=1e-7, iterations=2000)
    assert found.sigma == pytest.approx(exact, rel=1e-6)
    dense = largest_singular_value(model, SOURCE, tolerance=1e-7, iterations=2000).sigma
    assert found.sigma < dense * (1 - 1e-3), "or this test shows nothing"


def test_a_negative_eigenvalue_counts_by_its_size(model, monkeypatch):
    hessian = dense_hessian(model)
    values = torch.linalg.eigvalsh(hessian)
    # −H has the same singular values, and its largest one is now a negative eigenvalue
    assert values[-1] > -values[0]
    monkeypatch.setattr("lacuna.measurement.curvature.cross_entropy", lambda *a, **k: -cross_entropy(*a, **k))
    found = largest_singular_value(model, SOURCE, tolerance=1e-7, iterations=2000)
    assert found.sigma == pytest.approx(float(values[-1]), rel=1e-6)


def test_estimate_rises_towards_it_and_says_when_it_is_not_there(model):
    exact = float(torch.linalg.svdvals(dense_hessian(model))[0])
    estimates = [largest_singular_value(model, SOURCE, tolerance=0, iterations=n) for n in (1, 2, 4, 8, 16)]
    values = [e.sigma for e in estimates]
    assert values == sorted(values) and values[-1] <= exact * (1 + 1e-9)
    assert [e.iterations for e in estimates] == [1, 2, 4, 8, 16]
    assert not any(e.converged for e in estimates)


def test_it_is_a_function_of_the_seed_and_leaves_the_model_alone(model):
    model.train()
    before = state(model)
    torch.manual_seed(1)
    one = largest_singular_value(model, SOURCE, seed=3, iterations=3)
    torch.manual_seed(2)
    assert largest_singular_value(model, SOURCE, seed=3, iterations=3) == one
    assert largest_singular_value(model, SOURCE, seed=4, iterations=3) != one
    assert same(state(model), before) and model.training
    assert all(p.grad is None for p in model.parameters())


def test_loss_that_does_not_bend_has_none(model, monkeypatch):
    monkeypatch.setattr("lacuna.measurement.curvature.cross_entropy", lambda x, y, reduction: (0 * x).square().sum())
    found = largest_singular_value(model, SOURCE)
    assert (found.sigma, found.converged) == (0.0, True)


def test_weights_that_are_no_numbers_are_refused():
    broken = network()
    with torch.no_grad():
        broken.fc.weight.fill_(math.nan)
    with pytest.raises(LacunaError, match="the Hessian on 'retain' is not finite"):
        largest_singular_value(broken, SOURCE)


def test_distance_counts_kept_and_unmasked_entries():
    mask = Mask({"w": torch.tensor([1, 0, 1])})
    a = {"w": torch.tensor([1.0, 5.0, 2.0]), "b": torch.tensor([1.0])}
    b = {"w": torch.tensor([0.0, 0.0, 0.0]), "b": torch.tensor([-1.0]), "running_mean": torch.tensor([7.0])}
    assert distance(a, b, mask) == pytest.approx((1 + 4 + 4) ** 0.5)


# ---- the bound -------------------------------------------------------------------------------------------------------


def cell(method="ga", **parameters):
    job = {"parameters": {"unlearner": {"method": method, "lr": 77.0}} | parameters, "steps": 99}
    return Cell({}, extra={"job": job, "curvature": {"distance": 3.0, "sigma": 7.0, "lr": 0.01, "steps": 50}})


BOUND = ["error_bound", "error_bound_way", "error_bound_sigma"]


def test_bound_is_the_product():
    """η and t are those of the training that made θ_t, whatever gradient ascent's own rate and steps are."""
    found = evaluate(cell(), metrics=BOUND)
    assert found == pytest.approx({"error_bound": 1e-4 * 50 * 3 * 7, "error_bound_way": 3, "error_bound_sigma": 7})


@pytest.mark.parametrize(
    ("pruner", "sparsity", "own", "steps"),
    [
        (None, "0.00", 600, 600),
        ({"method": "snip"}, "0.90", 600, 600),
        ({"method": "omp", "restart": "rewind"}, "0.90", 560, 600),
        ({"method": "omp", "restart": "lt"}, "0.90", 600, 600),
        ({"method": "omp", "restart": "finetune"}, "0.90", 560, 600 + 560),
        # rounds 1 (0.50) and 2 (0.75) come before it
        ({"method": "imp", "restart": "finetune", "rate": 0.5}, "0.80", 560, 600 + 3 * 560),
        ({"method": "imp", "restart": "rewind", "rate": 0.5}, "0.80", 560, 600),
    ],
)
def test_steps_are_counted_from_the_initialisation(pruner, sparsity, own, steps):
    """30 epochs of 20 steps, rewound to epoch 2."""
    recipe = {"epochs": 30, "rewind_epoch": 2}
    dense = {"parameters": {"recipe": recipe}, "steps": 600}
    job = {"parameters": {"recipe": recipe}, "steps": own, "cell": {"sparsity": sparsity}}
    if pruner:
        job["parameters"]["pruner"] = pruner
    assert training_steps(job, dense) == steps


@pytest.mark.parametrize("other", [cell("ft"), cell("ga", unprune={"p": 10})])
def test_bound_is_of_gradient_ascent_alone(other):
    found = evaluate(other, metrics=BOUND)
    assert not found
    assert set(found.absent.values()) == {"the bound is of gradient ascent (ga) alone"}
