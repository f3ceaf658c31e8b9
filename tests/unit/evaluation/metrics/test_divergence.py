"""Distances between predicted distributions, against closed forms and sums worked out term by term."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lacuna.errors import LacunaError
from lacuna.evaluation import Cell, evaluate
from lacuna.evaluation.cell import Part
from lacuna.evaluation.metrics.divergence import jensen_shannon, kullback_leibler

ORACLE_METRICS = ("KL_forget", "KL_test", "JS_forget", "JS_test", "activation_distance", "completeness")


def cell(forget, test=None, **extra):
    """D_f and test set with these logits; the labels do not matter."""
    forget = np.asarray(forget, dtype=float)
    test = forget if test is None else np.asarray(test, dtype=float)
    parts = {name: (x, np.zeros(len(x), int)) for name, x in (("retain", test), ("forget", forget), ("test", test))}
    return Cell.of(**parts, extra=extra)


def log_p(*logits):
    return Part(np.array(logits, dtype=float), np.zeros(len(logits), int)).log_probabilities


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_disjoint_distributions(classes):
    """JS is ln 2 whatever the number of classes, activation distance √2 between sure and sure, completeness 0."""
    one, other = (1000 * np.eye(classes)[[k] * 3] for k in (0, 1))
    found = evaluate(cell(one), cell(other), ORACLE_METRICS)
    assert found["JS_forget/oracle"] == found["JS_test/oracle"] == pytest.approx(math.log(2), rel=1e-12)
    assert found["activation_distance/oracle"] == pytest.approx(math.sqrt(2), rel=1e-12)
    assert found["completeness/oracle"] == 0


def test_identical_distributions():
    same = cell(np.random.default_rng(0).normal(size=(20, 5)))
    found = evaluate(same, same, ORACLE_METRICS)
    exact = {f"{metric}/oracle": 100.0 * (metric == "completeness") for metric in ORACLE_METRICS}
    assert found == pytest.approx(exact, abs=1e-15)


def test_kl_has_the_oracle_first():
    """KL(p_oracle‖p_u) with p_oracle = (½, ½), p_u = (¼, ¾) is ½ ln 2 + ½ ln ⅔; summed over classes, not averaged."""
    own, oracle = cell(np.log([[0.25, 0.75]])), cell([[0.0, 0.0]])
    expected = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    assert evaluate(own, oracle, ["KL_forget"])["KL_forget/oracle"] == pytest.approx(expected, rel=1e-12)
    turned = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert evaluate(oracle, own, ["KL_test"])["KL_test/oracle"] == pytest.approx(turned, rel=1e-12)


def test_each_metric_reads_its_own_part():
    own, oracle = cell([[0.0, 0.0]], [[3.0, 0.0]]), cell([[0.0, 0.0]], [[0.0, 2.0]])
    found = evaluate(own, oracle, ORACLE_METRICS)
    assert found["KL_forget/oracle"] == found["JS_forget/oracle"] == found["activation_distance/oracle"] == 0
    assert found["KL_test/oracle"] > found["JS_test/oracle"] > 0
    assert found["completeness/oracle"] == 100


def test_mean_over_samples_by_hand():
    """Two rows, one equal and one apart: half the distance of the second."""
    own, oracle = cell([[0.0, 0.0], [800.0, 0.0]]), cell([[0.0, 0.0], [0.0, 800.0]])
    found = evaluate(own, oracle, ORACLE_METRICS)
    assert found["JS_forget/oracle"] == pytest.approx(math.log(2) / 2)
    assert found["activation_distance/oracle"] == pytest.approx(math.sqrt(2) / 2)
    assert found["completeness/oracle"] == 50


@given(st.lists(st.lists(st.floats(-30, 30), min_size=4, max_size=4), min_size=2, max_size=2))
def test_divergences_equal_their_sums(rows):
    p, q = ([math.exp(x - max(row)) / sum(math.exp(v - max(row)) for v in row) for x in row] for row in rows)
    m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]

    def kl(a, b):
        return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True) if x > 0)

    first, second = log_p(rows[0]), log_p(rows[1])
    assert kullback_leibler(first, second)[0] == pytest.approx(kl(p, q), rel=1e-9, abs=1e-12)
    found = jensen_shannon(first, second)[0]
    assert found == pytest.approx((kl(p, m) + kl(q, m)) / 2, rel=1e-9, abs=1e-12)
    assert found == pytest.approx(jensen_shannon(second, first)[0], rel=1e-12, abs=1e-15)
    assert 0 <= found <= math.log(2)


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_huge_logits_give_finite_divergences(size):
    p, q = log_p([size, 0.0, 0.0]), log_p([0.0, size, 0.0])
    assert kullback_leibler(p, q)[0] == pytest.approx(size, rel=1e-12)
    assert jensen_shannon(p, q)[0] == pytest.approx(math.log(2), rel=1e-12)


# ---- ZRF -------------------------------------------------------------------------------------------------------------


def zrf(logits, random, index=None, forget_index=None):
    own = cell(logits, random_init={"logits": np.asarray(random)} | ({} if index is None else {"index": index}))
    if forget_index is not None:
        part = own["forget"]
        parts = dict(own.parts) | {"forget": Part(part.logits, part.labels, np.asarray(forget_index), "forget")}
        own = Cell(parts, extra=own.extra)
    return evaluate(own, metrics=["ZRF"])["ZRF"]


def test_zrf_of_identical_models_is_one_and_of_disjoint_ones_zero():
    x = np.random.default_rng(0).normal(size=(30, 10))
    assert zrf(x, x) == 1
    assert zrf(900 * np.eye(10)[:5], 900 * np.eye(10)[5:]) == pytest.approx(0, abs=1e-12)


def test_zrf_takes_the_rows_of_the_forget_set():
    """From predictions on more samples, in any order, by their place in the dataset."""
    rng = np.random.default_rng(0)
    index = rng.permutation(50) + 7
    random = rng.normal(size=(50, 4))
    chosen = [3, 41, 0]
    own = rng.normal(size=(3, 4))
    assert zrf(own, random, index, index[chosen]) == zrf(own, random[chosen])


@pytest.mark.parametrize(
    ("random", "index", "forget_index", "said"),
    [
        (np.zeros((2, 4)), np.array([1, 2]), [1, 2, 3], "a sample of the forget set is not in it"),
        (np.zeros((3, 4)), np.array([1, 2, 3]), None, "it has an index but the forget set has none"),
        (np.zeros((2, 4)), None, None, r"logits of shape \(2, 4\); allowed: \(3, 4\), as for the forget set"),
        (np.zeros((3, 5)), None, None, r"logits of shape \(3, 5\); allowed: \(3, 4\)"),
        (np.full((3, 4), np.nan), None, None, "the logits of sample 0 are not finite"),
    ],
)
def test_random_predictions_of_other_samples_are_refused(random, index, forget_index, said):
    with pytest.raises(LacunaError, match=rf"^random_init: {said}"):
        zrf(np.zeros((3, 4)), random, index, forget_index)
