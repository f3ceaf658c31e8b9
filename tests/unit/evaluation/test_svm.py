"""The attack's classifier: what makes a support vector machine optimal, and scikit-learn's beside it."""

import sys

import numpy as np
import pytest
from sklearn.svm import SVC

from lacuna.evaluation import svm
from lacuna.evaluation.cell import Part
from lacuna.evaluation.metrics import membership

# lead of the largest logit, its spread and the share of wrong ones, for members, non-members and D_f
DISTRIBUTIONS = {
    "typical": ((9, 2, 0.002), (7, 3, 0.06), (7.5, 3, 0.03)),
    "saturated": ((30, 8, 0.0), (25, 12, 0.05), (27, 10, 0.03)),
    "underfitted": ((3, 1.5, 0.1), (2.5, 1.5, 0.2), (2.6, 1.5, 0.18)),
    "no difference": ((5, 2, 0.1), (5, 2, 0.1), (5, 2, 0.1)),
}
FEATURES = ("correctness", "confidence", "entropy", "modified_entropy", "probabilities")


def features(distribution, feature, n, seed=0, classes=10):
    """Three sets of n samples: members, non-members, D_f; probabilities by a softmax of float32 logits."""
    rng = np.random.default_rng(seed)
    for lead, spread, wrong in DISTRIBUTIONS[distribution]:
        y = rng.integers(0, classes, n)
        logits = rng.normal(size=(n, classes))
        shown = np.where(rng.random(n) < wrong, rng.integers(0, classes, n), y)
        logits[np.arange(n), shown] += np.maximum(rng.normal(lead, spread, n), 0)
        part = Part(logits.astype(np.float32), y)
        yield getattr(membership, feature)(part.probabilities, part.labels)


def plain(members, nonmembers, tolerance=1e-3):
    x = np.concatenate([members, nonmembers])
    y = np.repeat([1, 0], [len(members), len(nonmembers)])
    return SVC(C=3, kernel="rbf", gamma="auto", tol=tolerance).fit(x, y)


def column(*values):
    return np.array(values, dtype=float)[:, None]


# ---- against scikit-learn --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_agrees_with_the_plain_svc(distribution, feature):
    """The rule that the plain SVC comes to when it may not stop early: the same efficacy to the last sample."""
    members, nonmembers, forget = features(distribution, feature, 500)
    fast = svm.Pool(members, nonmembers)._fit_in_span((slice(None), slice(None)))
    assert fast is not None
    found = fast(forget)
    strict = plain(members, nonmembers, 1e-6)
    # a vector's kernel is known to 1e-6
    error = 1e-2 if feature == "probabilities" else 1e-3
    np.testing.assert_allclose(found, strict.decision_function(forget), rtol=0, atol=error)
    assert (found < 0).mean() == pytest.approx((strict.predict(forget) == 0).mean(), abs=1e-12)


def test_efficacy_within_a_fifth_of_a_point_on_ten_thousand_each():
    """Of the plain SVC with its usual tolerance; bench/evaluation.py has the other features and distributions."""
    members, nonmembers, forget = features("saturated", "confidence", 10_000)
    fast, reference = svm.fit(members, nonmembers), plain(members, nonmembers)
    assert abs((fast(forget) < 0).mean() - (reference.predict(forget) == 0).mean()) <= 0.002


@pytest.mark.parametrize(
    ("members", "nonmembers"),
    [
        (column(1), column(0)),
        (column(1, 1), column(1, 0)),
        (column(*np.linspace(0, 1, 30)), column(*np.linspace(0.2, 0.9, 7))),
        (column(0.1, 0.5, 0.9), column(0.4, 0.6, 0.7)),
        (70 * np.random.default_rng(0).random((200, 1)), 90 * np.random.default_rng(1).random((200, 1))),
        (np.random.default_rng(0).integers(0, 6, (300, 1)) / 5, np.random.default_rng(1).integers(0, 4, (300, 1)) / 5),
    ],
)
def test_small_and_odd_sets(members, nonmembers):
    at = np.linspace(0, 1, 41)[:, None] * members.max()
    found = svm.fit(members, nonmembers)(at)
    np.testing.assert_allclose(found, plain(members, nonmembers, 1e-9).decision_function(at), atol=1e-4)


# ---- what makes it right ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_no_other_rule_has_a_smaller_objective(distribution):
    """½‖w‖² + 3 Σ hinge, over the whole kernel: no random direction, however small, leads down from the optimum."""
    members, nonmembers, _ = features(distribution, "confidence", 60)
    x = np.concatenate([members, nonmembers])
    y = np.repeat([1.0, -1.0], 60)
    kernel = np.exp(-((x - x.T) ** 2))
    # any rule in the span: v for the kernel's columns; the optimum's from its values, exact where the kernel has rank
    basis, stretch, _ = np.linalg.svd(kernel)
    rank = int((stretch > 1e-10).sum())
    coordinates = basis[:, :rank] * np.sqrt(stretch[:rank])
    decision = svm.fit(members, nonmembers)(x)
    start, *_ = np.linalg.lstsq(np.column_stack([coordinates, np.ones(len(x))]), decision, rcond=None)

    def objective(v):
        return v[:-1] @ v[:-1] / 2 + 3 * np.maximum(0, 1 - y * (coordinates @ v[:-1] + v[-1])).sum()

    best = objective(start)
    rng = np.random.default_rng(0)
    for size in (1e-1, 1e-2, 1e-3):
        for _ in range(50):
            assert objective(start + size * rng.normal(size=len(start))) >= best * (1 - 1e-9)


def test_merging_equal_samples_is_exact():
    """The same samples listed one by one and counted: the same rule; and a rule knows of no order."""
    rng = np.random.default_rng(0)
    members, nonmembers = (np.round(rng.beta(a, 1, (500, 1)), 2) for a in (4, 2))
    at = np.linspace(0, 1, 101)[:, None]
    found = svm.fit(members, nonmembers)(at)
    apart = svm.fit(members + 1e-9 * rng.random(members.shape), nonmembers + 1e-9 * rng.random(members.shape))(at)
    np.testing.assert_allclose(found, apart, atol=1e-5)
    np.testing.assert_array_equal(found, svm.fit(members[::-1], rng.permutation(nonmembers))(at))


def test_samples_count_as_often_as_they_occur():
    few = svm.fit(column(0.9, 0.8), column(0.1, 0.85))
    many = svm.fit(column(0.9, 0.8, 0.8, 0.8), column(0.1, 0.85))
    assert few(column(0.83))[0] < many(column(0.83))[0]


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_a_tie_is_a_member(value):
    """Where members and non-members are the same the decision is exactly 0 everywhere: for LIBSVM too a "member"."""
    same = np.full((50, 1), value)
    assert (svm.fit(same, same)(column(value, value / 2)) == 0).all()
    spread = np.random.default_rng(0).random((40, 1))
    assert (svm.fit(spread, spread)(spread) == 0).all()
    assert (plain(same, same).predict(same) == 1).all()


def test_boundary_of_the_offset_is_the_middle():
    """No support vector within its bounds: every offset between the last bends is best, and the middle is taken."""
    decision = svm.fit(column(0.5, 0.5), column(0.5, 0.5))
    assert decision(column(0.5))[0] == 0
    g = np.array([0.0, 0.0, 0.0, 0.0])
    assert svm._offset(g, np.array([1.0, 1.0, -1.0, -1.0]), np.full(4, 3.0)) == 0
    assert svm._offset(g[:3], np.array([1.0, 1.0, -1.0]), np.full(3, 3.0)) == 1


def test_scikit_learn_is_not_loaded(monkeypatch):
    """Nor is it called, unless asked for or where the fast solution is not certain."""
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    members, nonmembers, _ = features("typical", "confidence", 50)
    svm.fit(members, nonmembers)
    with pytest.raises(ImportError):
        svm.fit(members, nonmembers, plain=True)
    for limit in ("_WORST", "_WORST_GAP"):
        with monkeypatch.context() as changed:
            changed.setattr(svm, limit, -1.0)
            with pytest.raises(ImportError):
                svm.fit(members, nonmembers)


def test_uncertain_solution_is_not_used(monkeypatch):
    members, nonmembers, forget = features("typical", "probabilities", 200)
    monkeypatch.setattr(svm, "MAX_RANK", 2)
    found = svm.fit(members, nonmembers)(forget)
    np.testing.assert_allclose(found, plain(members, nonmembers).decision_function(forget), atol=1e-12)
