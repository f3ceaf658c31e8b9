"""Distances between predicted distributions, against plain formulas."""

import math

import numpy as np
import pytest

from lacuna.evaluation import Cell, evaluate
from lacuna.evaluation.cell import Part
from lacuna.evaluation.metrics.divergence import jensen_shannon, kullback_leibler


def log_p(logits):
    return Part(logits, np.zeros(len(logits), int)).log_probabilities


def cell(file, which):
    """The stored logits as D_f; what stands elsewhere does not matter."""
    logits = file[f"logits/{which}"]
    part = (logits, np.zeros(len(logits), int))
    return Cell.of(retain=part, forget=part, test=part, extra={"random_init": {"logits": file["logits/random"]}})


@pytest.mark.parametrize(
    ("found", "p", "q", "key"),
    [
        (kullback_leibler, "retrained", "unlearned", "kl_retrained_unlearned"),
        (kullback_leibler, "unlearned", "retrained", "kl_unlearned_retrained"),
        (jensen_shannon, "unlearned", "retrained", "js"),
        (jensen_shannon, "unlearned", "random", "js_unlearned_random"),
        (jensen_shannon, "retrained", "random", "js_retrained_random"),
    ],
)
def test_divergence_of_each_sample(reference, found, p, q, key):
    file = reference("07_divergences")
    each = found(log_p(file[f"logits/{p}"]), log_p(file[f"logits/{q}"]))
    np.testing.assert_allclose(each, file[f"{key}/per_sample"], rtol=1e-9)
    assert each.mean() == pytest.approx(float(file[f"{key}/mean"]), rel=1e-9)


def test_metrics_to_the_oracle(reference):
    """KL has the oracle first; nothing is divided by the number of classes."""
    file = reference("07_divergences")
    found = evaluate(cell(file, "unlearned"), {"o": cell(file, "retrained")})
    for metric, key in {
        "KL_forget": "kl_retrained_unlearned/mean",
        "KL_test": "kl_retrained_unlearned/mean",
        "JS_forget": "js/mean",
        "JS_test": "js/mean",
        "activation_distance": "activation_distance",
        "completeness": "agreement_percent",
    }.items():
        assert found[f"{metric}/o"] == pytest.approx(float(file[key]), rel=1e-9), metric


@pytest.mark.parametrize("which", ["unlearned", "retrained"])
def test_zero_retrain_forgetting(reference, which):
    """The file has JS in nats; divided by ln 2 it lies in [0, 1]."""
    file = reference("07_divergences")
    in_nats = 1 - (1 - evaluate(cell(file, which), metrics=["ZRF"])["ZRF"]) * math.log(2)
    assert in_nats == pytest.approx(float(file[f"zrf/{which}"]), rel=1e-9)


def test_rows_whose_softmax_underflows_are_finite(reference):
    file = reference("07_divergences")
    p, q = (log_p(file[f"extreme/logits_{side}"]) for side in "pq")
    np.testing.assert_allclose(kullback_leibler(p, q), file["extreme/kl_pq"], rtol=1e-9)
    np.testing.assert_allclose(jensen_shannon(p, q), file["extreme/js"], rtol=1e-9)
