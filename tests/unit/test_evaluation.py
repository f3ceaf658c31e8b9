"""Metrics on plain arrays, against loops and numbers worked out by hand."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lacuna
from lacuna.errors import LacunaError
from lacuna.evaluation import METRICS, Cell, evaluate, membership
from lacuna.evaluation.cell import Part


def sure(labels, classes=4, strength=5.0):
    """Logits that are right about these labels."""
    return np.eye(classes, dtype=np.float32)[labels] * strength


def a_cell(seed=0, sizes=(60, 20, 20, 30), classes=4, index=False, **rest):
    """Random predictions, better on retain than elsewhere."""
    labels = np.random.default_rng(42)
    rng = np.random.default_rng(seed)
    parts, arrays = {}, {}
    for name, n in zip(("retain", "forget", "val", "test"), sizes, strict=True):
        y = labels.integers(0, classes, n)
        x = rng.normal(size=(n, classes)) + sure(y, classes, 4.0 if name == "retain" else 1.5)
        parts[name] = (x.astype(np.float32), y)
        arrays |= {f"logits/{name}": parts[name][0], f"labels/{name}": y, f"index/{name}": np.arange(n) + 100}
    return Cell.from_arrays(arrays, rest.get("mask"), rest.get("seconds")) if index else Cell.of(**parts, **rest)


# ---- accuracies ------------------------------------------------------------------------------------------------------


def test_accuracies_by_hand():
    y = np.array([0, 1, 2, 3, 0])
    wrong = (y + 1) % 4
    cell = Cell.of(
        retain=(sure(y), y),
        forget=(sure(np.where(np.arange(5) < 2, y, wrong)), y),
        test=(sure(np.where(np.arange(5) < 4, y, wrong)), y),
        test_forgotten=(sure(np.where(np.arange(5) < 1, y, wrong)), y),
    )
    found = evaluate(cell, metrics=["UA", "RA", "TA", "TA_forgotten"])
    assert found == pytest.approx({"UA": 60, "RA": 100, "TA": 80, "TA_forgotten": 20})


def test_tie_goes_to_the_first_class():
    tied = Part(np.zeros((4, 3)), np.array([0, 1, 2, 0]))
    assert tied.accuracy == 50
    assert membership.correctness(tied.probabilities, tied.labels)[:, 0].tolist() == [1, 0, 0, 1]


def test_metric_without_data_is_left_out():
    found = evaluate(a_cell(), {"retrain": a_cell(1)})
    assert not {"TA_forgotten", "time_s", "sparsity", "mask_iou/retrain", "speedup/retrain"} & set(found)
    assert {"UA", "RA", "TA", "MIA", "avg_gap/retrain"} <= set(found)


def test_softmax_is_exact_and_survives_huge_logits():
    part = Part(np.array([[1e30, 0, -1e30], [0.0, math.log(2), 0], [-800, -800, -801]]), np.zeros(3, int))
    expected = [[1, 0, 0], [0.25, 0.5, 0.25], list(np.array([1, 1, math.exp(-1)]) / (2 + math.exp(-1)))]
    np.testing.assert_allclose(part.probabilities, expected, rtol=1e-12)


# ---- membership ------------------------------------------------------------------------------------------------------


def loops(p, y):
    """Every feature of one sample, one term at a time."""

    def log(v):
        return math.log(max(v, 1e-30))

    own = p[y]
    entropy = -sum(q * log(q) for q in p)
    modified = -(1 - own) * log(own) - sum(q * log(1 - q) for k, q in enumerate(p) if k != y)
    return {
        "correctness": float(max(range(len(p)), key=lambda k: p[k]) == y),
        "confidence": own,
        "entropy": entropy,
        "modified_entropy": modified,
    }


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=4, max_size=4), st.integers(0, 3)), min_size=1, max_size=8)
)
def test_features_equal_their_definition_sample_by_sample(samples):
    """Zeros and ones among the probabilities included."""
    samples = [(counts if sum(counts) else [1, 0, 0, 0], y) for counts, y in samples]
    p = np.array([np.array(counts) / sum(counts) for counts, _ in samples])
    y = np.array([label for _, label in samples])
    for name in ("correctness", "confidence", "entropy", "modified_entropy"):
        found = getattr(membership, name)(p, y)
        assert found.shape == (len(y), 1)
        expected = [loops(list(row), label)[name] for row, label in zip(p, y, strict=True)]
        np.testing.assert_allclose(found[:, 0], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(membership.probabilities(p, y), p)


def scores(rng, n, sharpness):
    """Logits of two classes whose confidence grows with `sharpness`; the label is always 0."""
    margin = rng.normal(sharpness, 1.0, n)
    return np.stack([margin, np.zeros(n)], 1), np.zeros(n, int)


def attacked(forget_like, seed, retain=4000, test=800, feature=membership.confidence):
    rng = np.random.default_rng(seed)
    members, nonmembers = scores(rng, retain, 4.0), scores(rng, test, 1.0)
    forget = scores(rng, 2000, 4.0 if forget_like == "retain" else 1.0)
    cell = Cell.of(retain=members, forget=forget, test=nonmembers)
    return cell, membership.efficacy(cell, feature)


@pytest.mark.parametrize("feature", [membership.confidence, membership.entropy, membership.modified_entropy])
def test_forget_set_is_called_what_it_looks_like(feature):
    """Never seen: as often a non-member as the test set itself. Still known: as often as the retained samples."""
    rates = {}
    for looks in ("test", "retain"):
        cell, rates[looks] = attacked(looks, seed=0, feature=feature)
        itself = Cell.of(
            retain=(cell["retain"].logits, cell["retain"].labels),
            forget=(cell[looks].logits, cell[looks].labels),
            test=(cell["test"].logits, cell["test"].labels),
        )
        assert rates[looks] == pytest.approx(membership.efficacy(itself, feature), abs=4)
    assert rates["test"] > 75
    assert rates["retain"] < 15


def test_attack_sees_as_many_members_as_non_members(monkeypatch):
    seen = []
    fitted = membership.svc_attack
    monkeypatch.setattr(membership, "svc_attack", lambda m, n: seen.append((len(m), len(n))) or fitted(m, n))
    for sizes in ((90, 10, 10, 30), (20, 10, 10, 50)):
        membership.efficacy(a_cell(sizes=sizes), membership.confidence)
    assert seen == [(30, 30), (20, 20)]


def test_members_are_the_same_for_every_method_and_run(monkeypatch):
    seen = []
    fitted = membership.svc_attack
    monkeypatch.setattr(membership, "svc_attack", lambda m, n: seen.append(m.tolist()) or fitted(m, n))
    np.random.seed(1)  # noqa: NPY002
    one = membership.efficacy(a_cell(), membership.confidence)
    np.random.seed(2)  # noqa: NPY002
    assert membership.efficacy(a_cell(), membership.confidence) == one
    assert seen[0] == seen[1]
    assert len(seen[0]) == 30
    retained = membership.confidence(a_cell()["retain"].probabilities, a_cell()["retain"].labels).tolist()
    assert all(value in retained for value in seen[0])
    assert seen[0] != retained[:30], "drawn, not the first"


def test_mia_is_computed_once_for_a_cell(monkeypatch):
    cell, calls = a_cell(), []
    efficacy = membership.efficacy
    monkeypatch.setattr(membership, "efficacy", lambda *a: calls.append(1) or efficacy(*a))
    oracles = {name: a_cell(seed) for seed, name in enumerate(("retrain", "retrain_exact"), 1)}
    found = evaluate(cell, oracles, ["MIA", "avg_gap"])
    assert len(calls) == 3
    assert found["MIA"] == efficacy(a_cell(), membership.confidence)


# ---- oracles ---------------------------------------------------------------------------------------------------------


def test_oracle_beside_itself_has_no_gap():
    mask = {"a": np.array([True, False, True])}
    cell = a_cell(mask=mask, seconds=3.0)
    found = evaluate(cell, {"retrain": a_cell(mask=mask, seconds=6.0)})
    assert found["avg_gap/retrain"] == 0
    assert found["mask_iou/retrain"] == 1
    assert found["speedup/retrain"] == 2
    assert found["time_s"] == 3
    assert found["sparsity"] == pytest.approx(1 / 3)


def test_average_gap_is_the_mean_of_four_distances():
    cell, oracle = (a_cell(seed, sizes=(400, 90, 10, 100)) for seed in (0, 1))
    parts = [abs(METRICS[m](cell) - METRICS[m](oracle)) for m in ("UA", "RA", "TA", "MIA")]
    assert min(parts) > 0
    assert evaluate(cell, {"o": oracle}, ["avg_gap"]) == {"avg_gap/o": pytest.approx(sum(parts) / 4)}


@pytest.mark.parametrize("seconds", [0.0, 1e-4, None])
def test_no_speedup_over_a_method_that_takes_no_time(seconds):
    assert "speedup/o" not in evaluate(a_cell(seconds=seconds), {"o": a_cell(seconds=5.0)}, ["speedup"])


def test_oracle_of_other_samples_is_refused():
    cell = a_cell(index=True)
    other_labels = a_cell(index=True)
    other_labels["test"].labels[3] ^= 1
    other_index = a_cell(index=True)
    other_index["forget"].index[0] += 1
    for oracle, part in ((other_labels, "test"), (other_index, "forget"), (a_cell(sizes=(60, 20, 21, 30)), "val")):
        with pytest.raises(LacunaError, match=f"^oracle 'exact' was asked about other samples in '{part}': not the sa"):
            evaluate(cell, {"same": a_cell(1, index=True), "exact": oracle}, ["UA"])


def test_oracle_without_a_part_is_refused():
    with pytest.raises(LacunaError, match=r"^the predictions have no part 'forget'; they have: retain$"):
        evaluate(a_cell(), {"o": Cell({"retain": a_cell()["retain"]})}, ["UA"])


def test_masks_over_other_tensors_are_refused():
    one, other = (a_cell(mask={name: np.ones(3, bool)}) for name in ("a", "b"))
    with pytest.raises(LacunaError, match="the masks are not over the same tensors"):
        evaluate(one, {"o": other}, ["mask_iou"])


# ---- refusals --------------------------------------------------------------------------------------------------------

Y = np.array([0, 1, 2])
X = np.zeros((3, 3))


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (np.where(np.arange(3)[:, None] == 1, np.nan, X), Y, "forget: the logits of sample 1 are not finite"),
        (np.where(np.arange(3)[:, None] == 2, np.inf, X), Y, "forget: the logits of sample 2 are not finite"),
        (X, Y[:2], "forget: 3 rows of logits but labels of shape (2,)"),
        (X, Y[:, None], "forget: 3 rows of logits but labels of shape (3, 1)"),
        (X[0], Y, "forget: logits of shape (3,)"),
        (X[:0], Y[:0], "forget: logits of shape (0, 3)"),
        (X, Y + 1, "forget: a label is out of range; allowed: 0 to 2"),
        (X, Y - 1, "forget: a label is out of range; allowed: 0 to 2"),
    ],
)
def test_unusable_predictions_are_refused_by_part(logits, labels, said):
    with pytest.raises(LacunaError) as caught:
        Cell.of(retain=(X, Y), forget=(logits, labels), test=(X, Y))
    assert str(caught.value).startswith(said)


def test_unknown_metric_and_non_finite_value_are_refused():
    with pytest.raises(LacunaError, match=r"^unknown metric 'ua'; allowed: .*\bUA\b"):
        evaluate(a_cell(), metrics=["ua"])
    with pytest.raises(LacunaError, match=r"^metric 'time_s' is inf; allowed: a finite number$"):
        evaluate(a_cell(seconds=math.inf), metrics=["time_s"])
    with pytest.raises(LacunaError, match=r"^metric 'time_s' is nan"):
        evaluate(a_cell(seconds=math.nan), metrics=["time_s"])


# ---- all metrics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_every_value_lies_in_the_range_that_its_metric_claims(seed):
    rng = np.random.default_rng(seed)
    masks = [{"a": rng.random(50) < 0.3} for _ in range(2)]
    cell, oracle = (a_cell(seed + 10 * i, mask=m, seconds=1.0 + i) for i, m in enumerate(masks))
    found = evaluate(cell, {"o": oracle})
    named = {"UA", "RA", "TA", "MIA", "avg_gap/o", "mask_iou/o", "sparsity", "time_s", "speedup/o"}
    assert named <= set(found)
    for name, value in found.items():
        about = METRICS[name.removesuffix("/o")].about
        assert name.endswith("/o") == about["oracle"]
        assert about["low"] <= value <= (math.inf if about["high"] is None else about["high"])
        assert about["better"] in {"lower", "higher", "oracle", "none"}
        assert about["unit"]
        assert about["source"]


def test_evaluation_imports_no_torch():
    code = (
        "import sys, numpy as np\n"
        "from lacuna import Cell, evaluate\n"
        "x, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3\n"
        "cell = Cell.of(retain=(x, y), forget=(x, y), test=(x, y), mask={'a': y > 1}, seconds=1.0)\n"
        "assert len(evaluate(cell, {'o': cell})) > 10\n"
        "print([m for m in ('torch', 'torchvision', 'matplotlib') if m in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": str(Path(lacuna.__file__).parents[1])}
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert child.stdout.strip() == "[]"
