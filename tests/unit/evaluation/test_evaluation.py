"""Metrics on plain arrays, against loops and numbers worked out by hand."""

import dataclasses
import doctest
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
from lacuna import evaluation
from lacuna.errors import LacunaError
from lacuna.evaluation import METRICS, Cell, default_metrics, evaluate, svm
from lacuna.evaluation.cell import Part
from lacuna.evaluation.metrics import membership


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
    arrays |= {f"origin/{key}": np.array(value) for key, value in rest.pop("origin", {}).items()}
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


def test_cell_of_takes_what_a_notebook_holds():
    """Tensors that need gradients or are bfloat16, lists, and whole labels of any type: the values of plain arrays."""
    torch = pytest.importorskip("torch")
    y = np.array([0, 1, 2, 0])
    z = sure(y) + np.arange(4) / 8
    plain = evaluate(Cell.of(retain=(z, y), forget=(z, y), test=(z, y)))
    tensor = torch.tensor(z, requires_grad=True)
    given = {
        "retain": (tensor, torch.tensor(y)),
        "forget": (tensor.bfloat16(), y.astype(float)),
        "test": (z.tolist(), y),
    }
    assert evaluate(Cell.of(**given)) == plain


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"retain": (np.eye(3), np.arange(3) + 0.9)}, "retain: label 0.9 is not allowed; allowed: whole numbers"),
        ({"retain": (np.eye(3), np.full(3, np.nan))}, "retain: label nan is not allowed"),
        ({"retain": (np.eye(3), np.eye(3))}, r"retain: 3 rows of logits but labels of shape (3, 3); allowed: (3,)"),
        ({"retain": (np.eye(3), np.arange(3)[:, None])}, "retain: 3 rows of logits but labels of shape (3, 1)"),
        ({"retain": (np.eye(3), list("abc"))}, "retain: labels: type <U1 is not allowed; allowed: numbers"),
        ({"retain": (np.eye(3) * np.nan, np.arange(3))}, "retain: the logits of sample 0 are not finite"),
        ({"retain": ([[1, 2], [3]], np.arange(2))}, "retain: logits: no array can be made of them"),
        ({"retain": np.eye(3)}, "retain: a ndarray is not allowed; allowed: (logits, labels)"),
        ({"retain": (np.eye(3), np.zeros(3, "m8[s]"))}, "retain: labels: type timedelta64[s] is not allowed"),
        (
            {"retain": (np.eye(3), np.arange(3)), "forget": (np.eye(4), np.arange(4))},
            "the parts have logits of different numbers of classes (retain 3, forget 4); allowed: one number",
        ),
        ({"valid": (np.eye(3), np.arange(3))}, "Cell.of: 'valid' is no part of the data; allowed: retain, forget, val"),
    ],
)
def test_cell_of_refuses_what_would_be_read_wrongly(parts, said):
    with pytest.raises(LacunaError) as caught:
        Cell.of(**parts)
    assert str(caught.value).startswith(said)


def test_metric_against_an_oracle_is_asked_for_as_it_is_named():
    oracles = {"retrain": a_cell(1), "twin": a_cell(2)}
    found = evaluate(a_cell(), oracles, ["UA", "avg_gap/retrain"])
    assert set(found) == {"UA", "avg_gap/retrain"}
    assert found == {name: evaluate(a_cell(), oracles)[name] for name in found}
    assert evaluate(a_cell(), metrics="UA").keys() == {"UA"}
    for name, allowed in (("avg_gap/retrian", "avg_gap/retrain, avg_gap/twin"), ("UA/retrain", "UA")):
        with pytest.raises(LacunaError, match=rf"^unknown metric '{name}'; allowed: {allowed}$"):
            evaluate(a_cell(), oracles, [name])


def test_metric_against_an_oracle_says_that_none_was_given():
    found = evaluate(a_cell(), metrics=["avg_gap", "UA"])
    assert set(found) == {"UA"}
    assert found.absent == {
        "avg_gap": "it compares with an oracle and none was given; evaluate(cell, oracle) takes one"
    }


def test_a_forget_set_of_few_samples_is_told():
    for n, said in ((19, {"UA": "D_f has 19 samples: one is 5.26 points"}), (20, {})):
        assert evaluate(a_cell(sizes=(60, n, 20, 30)), metrics=["UA", "RA"]).notes == said


def test_a_test_accuracy_at_chance_is_told():
    """Three of eight are of the first class: what always says so is right about 37.5 %."""
    y = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    for answers, noted in ((np.zeros(8, int), True), (np.where(np.arange(8) < 4, y, 3), False)):
        cell = Cell.of(retain=(sure(y), y), forget=(sure(y), y), test=(sure(answers), y))
        found = evaluate(cell, metrics=["TA"]).notes
        assert found == ({"TA": "no better than always naming one class (38 %)"} if noted else {})


def test_tie_goes_to_the_first_class():
    tied = Part(np.zeros((4, 3)), np.array([0, 1, 2, 0]))
    assert tied.accuracy == 50
    assert membership.correctness(tied.probabilities, tied.labels)[:, 0].tolist() == [1, 0, 0, 1]


def test_metric_without_data_is_left_out_with_its_reason():
    found = evaluate(a_cell(), {"retrain": a_cell(1)})
    lacking = {"TA_forgotten", "time_s", "sparsity", "mask_iou/retrain", "speedup/retrain", "ZRF", "forwards"}
    assert lacking <= set(found.absent)
    assert not set(found) & set(found.absent)
    assert all(found.absent.values())
    assert found.absent["ZRF"].startswith("the predictions of a network that learnt nothing are not known; Cell.of")
    needs = {need for metric in METRICS.values() for need in metric.about.get("needs", ())}
    assert needs == set(evaluation._LACKING)
    assert found.absent["speedup/retrain"] == "the seconds are not known"
    assert {"UA", "RA", "TA", "MIA", "avg_gap/retrain"} <= set(found)


def test_each_metric_that_was_asked_for_is_there_or_says_why():
    found = evaluate(a_cell(), {"retrain": a_cell(1)})
    asked = {name + "/retrain" * METRICS[name].about["oracle"] for name in default_metrics()}
    assert set(found) | set(found.absent) == asked
    assert "MIA_plain" not in asked, "on request"


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


def watched(monkeypatch, seen, look):
    """Have every attack leave `look(members, nonmembers)` in `seen`."""
    fitted = svm.Pool.fit

    def fit(pool, members, nonmembers, plain=False):
        seen.append(look(*(f[rows] for f, rows in zip(pool._features, (members, nonmembers), strict=True))))
        return fitted(pool, members, nonmembers, plain)

    monkeypatch.setattr(svm.Pool, "fit", fit)


def test_attack_sees_as_many_members_as_non_members(monkeypatch):
    seen = []
    watched(monkeypatch, seen, lambda m, n: (len(m), len(n)))
    for sizes in ((90, 10, 10, 30), (20, 10, 10, 50)):
        list(membership.efficacies(a_cell(sizes=sizes), membership.confidence, draws=2))
    assert seen == [(30, 30)] * 2 + [(20, 20)] * 2


def test_members_are_the_same_for_every_method_and_run(monkeypatch):
    seen = []
    watched(monkeypatch, seen, lambda m, n: m.tolist())
    np.random.seed(1)  # noqa: NPY002
    one = evaluate(a_cell(), metrics=["MIA"])
    np.random.seed(2)  # noqa: NPY002
    assert evaluate(a_cell(), metrics=["MIA"]) == one
    assert len(seen) == 22
    assert seen[:11] == seen[11:]
    assert len({tuple(sorted(map(tuple, members))) for members in seen}) == 11, "each draw another one"
    assert len(seen[0]) == 30
    retained = membership.confidence(a_cell()["retain"].probabilities, a_cell()["retain"].labels).tolist()
    assert all(value in retained for value in seen[0])
    assert seen[0] != retained[:30], "drawn, not the first"


def test_mia_is_computed_once_for_a_cell(monkeypatch):
    cell, fits = a_cell(), []
    watched(monkeypatch, fits, lambda m, n: 1)
    oracles = {name: a_cell(seed) for seed, name in enumerate(("retrain", "retrain_exact"), 1)}
    found = evaluate(cell, oracles, ["MIA", "MIA_draws_low", "MIA_draws_high", "avg_gap", "ToW_MIA"])
    assert len(fits) == 3 * 11
    draws = list(membership.efficacies(a_cell(), membership.confidence))
    told = [found[name] for name in ("MIA_draws_low", "MIA", "MIA_draws_high")]
    assert told == [min(draws), np.median(draws), max(draws)]


def well_fitted(seed=1, sizes=(1150, 130, 180), misfits=(0.02, 0.02, 0.03)):
    """Two classes; the label's probability is 1 to three digits for all but a few samples: a well-fitted model."""
    rng, parts = np.random.default_rng(seed), {}
    for name, n, share in zip(("retain", "forget", "test"), sizes, misfits, strict=True):
        margin = np.where(rng.random(n) < share, rng.normal(0, 1.5, n), rng.normal(7, 1.5, n))
        parts[name] = np.stack([margin, np.zeros(n)], 1), np.zeros(n, int)
    return Cell.of(**parts)


def test_mia_does_not_hang_on_which_members_were_drawn():
    """One draw says 1 or 99; the median of any eleven of 33 says 1."""
    draws = list(membership.efficacies(well_fitted(), membership.confidence, draws=33))
    blocks = [draws[:11], draws[11:22], draws[22:]]
    assert all(min(block) < 2 and max(block) > 95 for block in blocks), "a case that can tell"
    assert [np.median(block) < 2 for block in blocks] == [True] * 3
    assert evaluate(well_fitted(), metrics=["MIA"])["MIA"] == np.median(draws[:11])


def test_mia_whose_draws_disagree_is_flagged_with_what_is_made_of_it():
    steady = a_cell(sizes=(400, 60, 20, 200), classes=2)
    found = evaluate(
        well_fitted(), {"o": well_fitted(2, misfits=(0.01, 0.01, 0.02))}, ["MIA", "UA", "avg_gap", "ToW_MIA"]
    )
    low, high = (evaluate(well_fitted(), metrics=[f"MIA_draws_{end}"])[f"MIA_draws_{end}"] for end in ("low", "high"))
    assert high - low > 20
    note = f"draws of members from {low:.1f} to {high:.1f}"
    assert found.notes == {"MIA": note} | dict.fromkeys(
        ["avg_gap/o", "ToW_MIA/o"], "its MIA hangs on the draw of members"
    )
    assert evaluate(steady, metrics=["MIA"]).notes == {}
    beside = well_fitted()
    other = Cell.of(**{p: (beside[p].logits - [[0.0, 0.5]], beside[p].labels) for p in ("retain", "forget", "test")})
    both = evaluate(other, {"o": beside}, ["avg_gap"]).notes["avg_gap/o"]
    assert both.endswith("the oracle's MIA hangs on the draw of members")


def test_other_attacks_draw_a_third_time_only_where_two_disagree(monkeypatch):
    told = iter([3.0, 22.0, 99.0, 3.0, 99.0, 5.0])
    monkeypatch.setattr(membership, "efficacies", lambda *a: told)
    agreed = membership.efficacy(a_cell(), membership.entropy)
    assert (agreed, agreed.note, next(told)) == (12.5, "", 99.0)
    apart = membership.efficacy(a_cell(), membership.entropy)
    assert (apart, apart.note) == (5.0, "draws of members from 3.0 to 99.0")


@pytest.mark.parametrize("feature", [membership.confidence, membership.probabilities, membership.correctness])
def test_forgotten_sample_on_the_boundary_is_a_member(feature):
    """All samples alike: the decision is 0 everywhere, and D_f is taken for training data."""
    y = np.zeros(30, int)
    alike = Cell.of(**{part: (np.tile([1.0, 0.0], (30, 1)), y) for part in ("retain", "forget", "test")})
    decision = membership._attacks(alike, feature, 1).fit(membership.shadows(alike))
    assert (decision(feature(alike["forget"].probabilities, y)) == 0).all(), "a case that can tell"
    assert membership.efficacy(alike, feature) == 0


def test_plain_svc_on_request():
    """The fast attack and scikit-learn's agree; the second is asked for by the name of a metric."""
    cell, _ = attacked("test", seed=1, retain=600, test=400)
    found = evaluate(cell, metrics=["MIA", "MIA_plain"])
    assert found["MIA"] == pytest.approx(found["MIA_plain"], abs=0.2)


def test_privacy_attack_is_scored_on_what_it_did_not_learn(monkeypatch):
    seen = []
    watched(monkeypatch, seen, lambda m, n: (len(m), len(n)))
    asked, scored = [], membership.balanced_accuracy
    monkeypatch.setattr(membership, "balanced_accuracy", lambda m, n: asked.append((len(m), len(n))) or scored(m, n))
    membership.mia_privacy(a_cell(sizes=(90, 10, 10, 31)))
    assert (seen, asked) == ([(15, 15)] * 3, [(16, 16)] * 3)
    for draw in range(3):
        rows = membership.shadows(a_cell(sizes=(90, 10, 10, 31)), draw=draw)
        assert len(set(rows.retain.tolist())) == len(rows.retain) == 31, "no sample twice, so none in both halves"


def test_privacy_of_what_cannot_and_what_can_be_told_apart():
    rng = np.random.default_rng(0)
    alike = Cell.of(**{part: scores(rng, 3000, 2.0) for part in ("retain", "forget", "test")})
    found = evaluate(alike, metrics=["MIA_privacy", "MIA_privacy_auc"])
    assert found["MIA_privacy"] == pytest.approx(50, abs=4)
    assert found["MIA_privacy_auc"] == pytest.approx(0.5, abs=0.04)
    apart = Cell.of(retain=scores(rng, 300, 9.0), forget=scores(rng, 30, 0.0), test=scores(rng, 300, -9.0))
    assert evaluate(apart, metrics=["MIA_privacy", "MIA_privacy_auc"]) == {"MIA_privacy": 100, "MIA_privacy_auc": 1}


def test_privacy_needs_two_samples_of_each():
    found = evaluate(a_cell(sizes=(9, 3, 3, 1)), metrics=["MIA_privacy", "MIA_privacy_auc"])
    assert not found
    assert set(found.absent) == {"MIA_privacy", "MIA_privacy_auc"}


def test_balanced_accuracy_by_hand():
    """2 of 4 members and 3 of 4 non-members are right; 0 is a "member"."""
    members, nonmembers = np.array([0.0, 1, -1, -2]), np.array([-1.0, -1, -1, 0])
    assert membership.balanced_accuracy(members, nonmembers) == pytest.approx(62.5)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=20),
    st.lists(st.integers(0, 5), min_size=1, max_size=20),
)
def test_auc_is_the_share_of_ordered_pairs(positive, negative):
    """Ties count one half."""
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    found = membership.auc(np.array(positive, float), np.array(negative, float))
    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


def test_log_odds_equal_their_definition_and_survive_saturation():
    y = np.array([0, 2, 1, 0])
    part = Part(np.array([[1.0, 2, 3], [0, 0, 0], [5, -1, 2], [1e4, 0, 0]]), y)
    p, rows = part.probabilities, np.arange(4)
    expected = np.log(p[rows, y][:3]) - np.log(1 - p[rows, y][:3])
    np.testing.assert_allclose(part.log_odds[:3], expected, rtol=1e-12)
    assert part.log_odds[3] == pytest.approx(1e4 - math.log(2))
    np.testing.assert_allclose(np.exp(part.log_probabilities), p, rtol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_linear_attack_is_stationary(shift):
    """The gradient of the penalised logistic loss is 0 at the slope and offset found."""
    rng = np.random.default_rng(0)
    members, nonmembers = rng.normal(3, 2, 300) + shift, rng.normal(1, 1, 200) + shift
    slope, offset = membership.linear_attack(members, nonmembers)
    x = np.concatenate([members, nonmembers])
    miss = 1 / (1 + np.exp(-(slope * x + offset))) - np.repeat([1.0, 0.0], [300, 200])
    assert miss.sum() == pytest.approx(0, abs=1e-6)
    assert miss @ (x - x.mean()) + slope == pytest.approx(0, abs=1e-6)
    assert slope > 0


@pytest.mark.parametrize(
    ("members", "nonmembers"), [([1.0, 2.0], [-1.0, -2.0]), ([1.0], [1.0]), ([3.0, 3.0], [3.0]), ([1e6], [-1e6])]
)
def test_linear_attack_ends_on_separated_and_constant_features(members, nonmembers):
    slope, offset = membership.linear_attack(np.array(members), np.array(nonmembers))
    assert math.isfinite(slope) and math.isfinite(offset)
    assert (slope * max(members) + offset >= 0) or max(members) == max(nonmembers)


@pytest.mark.parametrize("looks", ["test", "retain"])
def test_linear_attack_calls_the_forget_set_what_it_looks_like(looks):
    cell, _ = attacked(looks, seed=0)
    found = evaluate(cell, metrics=["MIA_linear"])["MIA_linear"]
    assert found > 75 if looks == "test" else found < 15


def test_auc_of_the_forget_set_is_against_its_like():
    """Never-seen samples of the forgotten class where there are any, else the test set."""
    y = np.zeros(4, int)
    low, high = np.tile([0.0, 1.0], (4, 1)), np.tile([1.0, 0.0], (4, 1))
    cell = Cell.of(retain=(high, y), forget=(low, y), test=(high, y))
    assert evaluate(cell, metrics=["MIA_auc"]) == {"MIA_auc": 0}
    cell = Cell.of(retain=(high, y), forget=(low, y), test=(high, y), test_forgotten=(low, y))
    assert evaluate(cell, metrics=["MIA_auc"]) == {"MIA_auc": 0.5}


def test_sensitivity_is_the_spread_over_shadow_ratios(monkeypatch):
    seen = []
    watched(monkeypatch, seen, lambda m, n: (len(m), len(n)))
    cell = a_cell(sizes=(300, 50, 10, 200))
    found = evaluate(cell, metrics=["MIA_sensitivity"])["MIA_sensitivity"]
    assert set(seen) == {(180, 200), (190, 200), (200, 182), (200, 190), (200, 200)}
    each = [membership.efficacy(cell, membership.confidence, ratio) for ratio in (0.9, 0.95, 1, 1.05, 1.1)]
    assert found == max(each) - min(each)


# ---- oracles ---------------------------------------------------------------------------------------------------------


def test_oracle_beside_itself_has_no_gap():
    mask = {"a": np.array([[True, False, True]])}
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


def test_salun_has_the_average_gap_that_it_published():
    """Fan et al. 2024, Table 1, dense, random 10 %: gaps of 2.39, 0.38, 0.33 and 1.51 points are 1.15 on average."""
    n = 10_000
    y = np.zeros(n, int)

    def at(accuracy):
        return np.eye(2)[(np.arange(n) >= round(accuracy * n / 100)).astype(int)], y

    def published(ua, ra, ta, mia):
        cell = Cell.of(forget=at(100 - ua), retain=at(ra), test=at(ta))
        cell.cache["MIA"] = mia
        return cell

    retrain, salun = published(5.24, 100, 94.26, 12.88), published(2.85, 99.62, 93.93, 14.39)
    assert round(evaluate(salun, retrain, ["avg_gap"])["avg_gap/oracle"], 2) == 1.15
    found = evaluate(salun, retrain, ["ToW", "ToW_MIA"])
    assert found["ToW/oracle"] == pytest.approx((1 - 0.0239) * (1 - 0.0038) * (1 - 0.0033))
    assert found["ToW_MIA/oracle"] == pytest.approx((1 - 0.0151) * (1 - 0.0038) * (1 - 0.0033))


def test_tug_of_war_of_the_oracle_is_one():
    cell = a_cell(3)
    assert evaluate(cell, cell, ["ToW", "ToW_MIA"]) == {"ToW/oracle": 1, "ToW_MIA/oracle": 1}


def test_one_oracle_needs_no_label():
    cell, oracle = a_cell(0), a_cell(1)
    named = evaluate(cell, {"oracle": oracle}, ["UA", "KL_test"])
    assert evaluate(cell, oracle, ["UA", "KL_test"]) == named
    assert set(named) == {"UA", "KL_test/oracle"}


@pytest.mark.parametrize("key", ["dataset", "split"])
def test_oracle_of_another_dataset_or_split_is_refused(key):
    """By the digests that are stored with the predictions, whatever their labels and indices are."""
    origin = {"dataset": "d" * 64, "split": "5" * 64}
    cell, same = (a_cell(seed, index=True, origin=origin) for seed in (0, 1))
    evaluate(cell, same, ["UA"])
    other = a_cell(1, index=True, origin=origin | {key: "e" * 64})
    said = rf"^oracle 'oracle' predicts on another {key} \(eeeeeeeeeeee instead of {origin[key][:12]}\); allowed: "
    with pytest.raises(LacunaError, match=said):
        evaluate(cell, other, ["UA"])
    evaluate(cell, a_cell(1), ["UA"])  # nothing is known of the user's own logits


def test_oracle_with_other_classes_is_refused():
    five = Cell({n: Part(np.pad(p.logits, ((0, 0), (0, 1))), p.labels, p.index, n) for n, p in a_cell(1).parts.items()})
    with pytest.raises(LacunaError, match="oracle 'oracle' has 5 classes in 'retain'; allowed: 4, as the cell"):
        evaluate(a_cell(), five, ["UA"])


@pytest.mark.parametrize("seconds", [0.0, 1e-4, None])
def test_no_speedup_over_a_method_that_takes_no_time(seconds):
    assert "speedup/o" not in evaluate(a_cell(seconds=seconds), {"o": a_cell(seconds=5.0)}, ["speedup"])


@pytest.mark.parametrize(("samples", "found"), [(0, set()), (1, {"speedup/o"})])
def test_no_speedup_over_a_method_that_reads_nothing_however_long_it_took(samples, found):
    """On a busy machine doing nothing may take longer than a millisecond."""
    cell = dataclasses.replace(a_cell(seconds=0.5), extra={"job": {"samples": samples}})
    assert set(evaluate(cell, {"o": a_cell(seconds=5.0)}, ["speedup"])) == found


def test_oracle_of_other_samples_is_refused():
    cell = a_cell(index=True)

    def with_one_changed(part, name):
        array = getattr(cell[part], name).copy()
        array[3] ^= 1
        return dataclasses.replace(cell, parts={**cell.parts, part: dataclasses.replace(cell[part], **{name: array})})

    other_labels, other_index = with_one_changed("test", "labels"), with_one_changed("forget", "index")
    for oracle, part in ((other_labels, "test"), (other_index, "forget"), (a_cell(sizes=(60, 20, 21, 30)), "val")):
        with pytest.raises(LacunaError, match=f"^oracle 'exact' predicts different samples in '{part}'; allowed: the"):
            evaluate(cell, {"same": a_cell(1, index=True), "exact": oracle}, ["UA"])


def test_oracle_without_a_part_is_refused():
    with pytest.raises(LacunaError, match=r"^the predictions have no part 'forget'; they have: retain$"):
        evaluate(a_cell(), {"o": Cell({"retain": a_cell()["retain"]})}, ["UA"])


def test_masks_over_other_tensors_are_refused():
    one, other = (a_cell(mask={name: np.ones((3, 1), bool)}) for name in ("a", "b"))
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
        (X[:, :1], 0 * Y, "forget: logits of shape (3, 1)"),
        (X, Y + 1, "forget: a label is out of range; allowed: 0 to 2"),
        (X, Y - 1, "forget: a label is out of range; allowed: 0 to 2"),
    ],
)
def test_unusable_predictions_are_refused_by_part(logits, labels, said):
    with pytest.raises(LacunaError) as caught:
        Cell.of(retain=(X, Y), forget=(logits, labels), test=(X, Y))
    assert str(caught.value).startswith(said)


def test_unknown_metric_and_non_finite_value_are_refused():
    with pytest.raises(LacunaError, match=r"^unknown metric 'ua' \(did you mean 'UA'\?\); allowed: .*\bUA\b"):
        evaluate(a_cell(), metrics=["ua"])
    with pytest.raises(LacunaError, match=r"^metric 'time_s' is inf; allowed: a finite number$"):
        evaluate(a_cell(seconds=math.inf), metrics=["time_s"])
    with pytest.raises(LacunaError, match=r"^metric 'time_s' is nan"):
        evaluate(a_cell(seconds=math.nan), metrics=["time_s"])


@pytest.fixture
def own(monkeypatch):
    """Registers a function as the metric `own`."""

    def registered(function):
        facts = {"unit": "1", "low": None, "high": None, "better": "oracle", "oracle": False, "source": "none"}
        function.name, function.about = "own", facts
        monkeypatch.setattr(type(METRICS), "__getitem__", lambda registry, name: {"own": function}[name])

    return registered


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "None"), ("7", "'7'"), (1j, "1j"), (np.arange(2.0), r"array\(\[0\., 1\.\]\)"), (10**400, r"1000+\.\.\.0+")],
)
def test_what_is_no_number_is_no_value(own, value, shown):
    own(lambda cell: value)
    with pytest.raises(LacunaError, match=rf"^metric 'own' is {shown}; allowed: a finite number, or Absent with"):
        evaluate(a_cell(), metrics=["own"])


@pytest.mark.parametrize("value", [True, np.True_, np.float32(1), np.int64(1), np.array(1.0)])
def test_numbers_of_any_kind_are_values(own, value):
    own(lambda cell: value)
    assert evaluate(a_cell(), metrics=["own"]) == {"own": 1.0}


def test_a_metric_that_fails_is_named(own):
    own(lambda cell: {}["wage"])
    with pytest.raises(RuntimeError, match=r"^metric 'own' fails: KeyError: 'wage'$") as caught:
        evaluate(a_cell(), metrics=["own"])
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("name", ["logits", "labels", "index", "probabilities", "log_probabilities", "log_odds"])
def test_a_metric_cannot_change_what_the_next_one_reads(own, name):
    own(lambda cell: getattr(cell["forget"], name).fill(0))
    with pytest.raises(RuntimeError, match=r"^metric 'own' fails: ValueError: .*read-only"):
        evaluate(a_cell(index=True), metrics=["own"])


def test_arrays_of_the_caller_stay_writable():
    logits, keep = X.copy(), np.ones(3, bool)
    cell = Cell.of(retain=(logits, Y), forget=(X, Y), mask={"weight": keep})
    with pytest.raises(ValueError, match="read-only"):
        cell.mask["weight"][0] = False
    logits[0], keep[0] = 0.0, False


# ---- all metrics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_every_value_lies_in_the_range_that_its_metric_claims(seed):
    rng = np.random.default_rng(seed)
    masks = [{"a": rng.random((5, 10)) < 0.3} for _ in range(2)]
    job = {"samples": 60, "steps": 6, "forwards": 4, "backwards": 2, "peak_memory_mb": 600.0, "energy_j": 12.5}
    job["parameters"] = {"unlearner": {"method": "ga", "lr": 0.1}}
    job["network"] = {"parameters": 50, "macs": 500, "inference_ms": 0.1}
    extra = {
        "random_init": {"logits": rng.normal(size=(20, 4))},
        "relearn": {"epochs": 3, "accuracy": [10.0, 50.0, 80.0, 99.0], "target": 95.0},
        "curvature": {"distance": 3.0, "sigma": 20.0, "lr": 0.1, "steps": 60},
        "meta": {"backdoor": None},
        "job": job,
    }
    cell, oracle = (
        a_cell(
            seed + 10 * i, mask=m, seconds=1.0 + i, extra=extra | {"weights": {"a": rng.normal(size=(5, 10)) * m["a"]}}
        )
        for i, m in enumerate(masks)
    )
    found = evaluate(cell, {"o": oracle}, METRICS)
    assert found.absent == {
        "TA_forgotten": "the predictions do not hold what it is computed from",
        "SA": "the dataset has no backdoor",
        "ASR": "the dataset has no backdoor",
    }
    named = {"UA", "RA", "TA", "MIA", "avg_gap/o", "mask_iou/o", "sparsity", "time_s", "speedup/o", "ZRF", "AIN/o"}
    assert named <= set(found)
    for name, value in found.items():
        about = METRICS[name.removesuffix("/o")].about
        assert name.endswith("/o") == about["oracle"]
        assert (-math.inf if about["low"] is None else about["low"]) <= value
        assert value <= (math.inf if about["high"] is None else about["high"])
        best = about["better"]
        assert best in {"lower", "higher", "oracle", "none"} or about["low"] < best < about["high"]
        assert about["unit"]
        assert about["source"]


def test_a_mask_of_vectors_alone_has_no_overlap_and_no_sparsity():
    """Batch norm of removed filters does not count, so nothing is left to count."""
    cell = a_cell(mask={"bn.weight": np.array([True, False])})
    found = evaluate(cell, {"o": cell}, ["mask_iou", "mask_hamming", "sparsity"])
    assert not found
    assert set(found.absent.values()) == {"the mask covers no tensor of two axes or more"}


def test_the_example_of_evaluate_runs():
    assert doctest.testmod(evaluation).attempted > 3
    assert doctest.testmod(evaluation).failed == 0


def test_evaluation_imports_no_torch():
    """Nor anything else that takes seconds to load."""
    code = (
        "import sys, numpy as np\n"
        "from lacuna import Cell, evaluate\n"
        "x, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3\n"
        "cell = Cell.of(retain=(x, y), forget=(x, y), test=(x, y), mask={'a': (y > 1)[None]}, seconds=1.0)\n"
        "assert len(evaluate(cell, {'o': cell})) > 10\n"
        "print([m for m in ('torch', 'torchvision', 'matplotlib', 'sklearn', 'scipy') if m in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": str(Path(lacuna.__file__).parents[1])}
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert child.stdout.strip() == "[]"
