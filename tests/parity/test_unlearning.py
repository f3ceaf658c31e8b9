"""Gradient unlearning, step for step, against the reference code."""

import numpy as np
import pytest
import torch

from lacuna import unlearn
from lacuna.unlearning.methods.l1_sparse import L1Sparse

DTYPES = {"f64": torch.float64, "f32": torch.float32}
TOLERANCE = {"f64": {"rtol": 0, "atol": 1e-9}, "f32": {"rtol": 1e-4, "atol": 5e-6}}
# run in the file: the file, lacuna's method, its options beyond what every run has, sign of the loss
RUNS = {
    "ga": ("03_ga", "ga", {}, -1),
    "ft": ("03_ft", "ft", {"schedule": "multistep", "gamma": 0.1}, 1),
    "l1_nol1epochs0": ("03_ft_l1", "l1_sparse", {"penalty_schedule": "linear_decay", "no_l1_epochs": 0}, 1),
    "l1_nol1epochs1": ("03_ft_l1", "l1_sparse", {"penalty_schedule": "linear_decay", "no_l1_epochs": 1}, 1),
}


def options_of(file, method, extra):
    hp = file.hp
    options = {k: getattr(hp, k) for k in ("lr", "epochs", "momentum", "weight_decay", "batch_size")} | extra
    if method == "l1_sparse":
        options["penalty"] = hp.alpha
    if hasattr(hp, "milestones"):
        options["milestones"] = hp.milestones
    return options


def compare(found, expected, mask, precision):
    for name, value in expected.items():
        actual = found[name].numpy()
        if mask is not None and name in mask:
            kept = mask[name].numpy()
            assert not actual[~kept].any(), f"{name}: a removed weight is not 0"
            assert not value[~kept].any(), f"{name}: the reference itself leaks"
            actual, value = actual[kept], value[kept]
        np.testing.assert_allclose(actual, value, **TOLERANCE[precision], err_msg=name)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("sparse", ["dense", "masked"])
@pytest.mark.parametrize("run", RUNS)
def test_run_ends_where_the_reference_ends(reference, run, sparse, precision):
    name, method, extra, sign = RUNS[run]
    file, dtype, prefix = reference(name), DTYPES[precision], f"{run}/{sparse}/{precision}"
    mask = file.mask() if sparse == "masked" else None
    outcome = unlearn(method, file.model(dtype), file.data(dtype), mask=mask, **options_of(file, method, extra))
    expected = file.under(f"{prefix}/param") | file.under(f"{prefix}/buffer")
    state = outcome.model.state_dict()
    assert set(expected) == set(state)
    compare(state, expected, mask, precision)
    if method != "l1_sparse":  # its loss holds the penalty too
        per_epoch = sign * file[f"{prefix}/ce_per_step"].reshape(file.hp.epochs, -1).mean(1)
        losses = [row["loss"] for row in outcome.fit.history]
        np.testing.assert_allclose(losses, per_epoch, rtol=0, atol=1e-9 if precision == "f64" else 1e-5)


@pytest.mark.parametrize("sparse", ["dense", "masked"])
@pytest.mark.parametrize("run", RUNS)
def test_first_step_is_the_reference_step(reference, run, sparse):
    name, method, extra, _ = RUNS[run]
    file = reference(name)
    mask = file.mask() if sparse == "masked" else None
    options = options_of(file, method, extra) | {"epochs": 1}
    if method == "l1_sparse":
        options["no_l1_epochs"] = 0
    outcome = unlearn(
        method, file.model(torch.float64), file.data(torch.float64, first=file.hp.batch_size), mask=mask, **options
    )
    assert outcome.fit.steps == 1
    compare(outcome.model.state_dict(), file.under(f"{run}/{sparse}/f64/after_step1"), mask, "f64")


@pytest.mark.parametrize("without", [0, 1])
def test_penalty_of_each_epoch(reference, without):
    file = reference("03_ft_l1")
    method = L1Sparse(
        penalty=file.hp.alpha, epochs=file.hp.epochs, penalty_schedule="linear_decay", no_l1_epochs=without
    )
    found = [method.penalty_at(epoch) for epoch in range(file.hp.epochs)]
    np.testing.assert_allclose(found, file[f"l1_nol1epochs{without}/alpha_per_epoch"], rtol=1e-12)
