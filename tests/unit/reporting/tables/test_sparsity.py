"""sparsity.csv: the dense model against the sparse one."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.sparsity import sparsity_table
from unit.reporting.tables.contests import DIRECTIONS, TWINS, WITH_TWINS, contest, result


def dense_and_sparse(dense, sparse, metric="UA", twins=TWINS):
    """Cells of one metric on the dense and on a sparse model: {unlearner: a value for each seed}."""
    results = [
        result(unlearner, seed, {metric: value}, pruner=pruner, sparsity=sparsity)
        for (pruner, sparsity), values in ((("dense", "0.00"), dense), (("omp", "0.90"), sparse))
        for unlearner, own in values.items()
        for seed, value in enumerate(own)
        if value is not None
    ]
    return sparsity_table(Contest(cells_table(results), ["retrain"], twins), DIRECTIONS).set_index("unlearner")


ORACLE = {"retrain": [40.0, 42.0, 41.0], "retrain_b": [41.0, 41.0, 41.0]}
SPARSE_ORACLE = {"retrain": [50.0, 51.0, 49.0], "retrain_b": [50.5, 50.5, 49.5]}


def test_sparsity_compares_distances_from_the_oracle_of_the_same_sparsity():
    """Distances count on either side of the oracle, and are paired by seed."""
    table = dense_and_sparse(
        ORACLE | {"ft": [20.0, 21.0, 20.0], "ga": [42.0, 40.0, 39.0]},
        SPARSE_ORACLE | {"ft": [45.0, 46.5, 44.0], "ga": [60.0, 62.0, 60.0]},
    )
    assert table["dense"].to_dict() == pytest.approx({"ft": (20 + 21 + 21) / 3, "ga": 2.0})
    assert table["sparse"].to_dict() == pytest.approx({"ft": (5 + 4.5 + 5) / 3, "ga": (10 + 11 + 11) / 3})
    assert table["change"].to_dict() == pytest.approx({"ft": (-15 - 16.5 - 16) / 3, "ga": (8 + 9 + 9) / 3})
    assert table["floor_dense"].tolist() == pytest.approx([2 / 3] * 2)
    assert table["floor_sparse"].tolist() == pytest.approx([0.5] * 2)
    assert table["verdict"].to_dict() == {"ft": "closer", "ga": "farther"}
    assert set(table["sparsity"]) == {"0.90"} and set(table["n"]) == {3} and table["note"].isna().all()
    raw = [scipy.stats.ttest_1samp(changes, 0).pvalue for changes in ([-15, -16.5, -16], [8, 9, 9])]
    assert table["p"].tolist() == pytest.approx([max(2 * min(raw), p) for p in raw]), "Holm over the two methods"


def test_a_comparison_is_as_far_as_it_is_from_the_oracle_with_itself():
    """ToW/retrain is 1 for the oracle: 0.9 is as far as 1.1, and higher is not better here."""
    itself = {"retrain": [1.0, 1.0, 1.0], "retrain_b": [0.99, 1.01, 0.98]}
    table = dense_and_sparse(itself | {"ft": [0.9, 0.8, 0.9]}, itself | {"ft": [1.1, 1.2, 1.1]}, "ToW/retrain")
    row = table.loc["ft"]
    assert row["change"] == pytest.approx(0) and row["dense"] == pytest.approx(0.4 / 3)
    assert row["floor_dense"] == pytest.approx(0.04 / 3) and row["verdict"] != "closer"


@pytest.mark.parametrize(
    ("sparse", "verdict"),
    [([10.0, 10.1, 9.9], "closer"), ([19.5, 19.6, 19.4], "closer"), ([2.0, 30.0, 1.0], "not shown")],
    ids=["less", "less by half of one run's floor in every seed", "less on average"],
)
def test_verdict_wants_a_change_that_the_seeds_agree_on(sparse, verdict):
    zero = {"retrain": [0.0, 0.0, 0.0], "retrain_b": [1.0, 1.0, 1.0]}
    table = dense_and_sparse(zero | {"ft": [20.0, 20.0, 20.0]}, zero | {"ft": sparse})
    assert table.loc["ft", "verdict"] == verdict


@pytest.mark.parametrize(
    ("dense", "sparse", "verdict"), [(1.0, 0.2, "not shown"), (1.0, 0.9, "closer"), (0.2, 1.0, "closer")]
)
def test_verdict_wants_more_than_the_twins_own_change(dense, sparse, verdict):
    """The method comes closer by half a point on every seed. The oracle's second run comes closer by more, by less, or
    ends farther off."""
    table = dense_and_sparse(
        {"retrain": [0.0] * 3, "retrain_b": [dense] * 3, "ft": [20.0, 20.0, 20.0]},
        {"retrain": [0.0] * 3, "retrain_b": [sparse] * 3, "ft": [19.5, 19.51, 19.49]},
    )
    row = table.loc["ft"]
    assert row["p"] < 0.05 and row["verdict"] == verdict
    assert row["floor_of_mean"] == pytest.approx(abs(sparse - dense) / math.sqrt(3))


def changes(make, n, draws=120):
    """Verdicts in sparsity.csv in many experiments; make(rng, n, sparse) gives the values of retrain, retrain_b, m."""
    rng, results = np.random.default_rng(n), []
    for draw in range(draws):
        for pruner, sparsity in (("dense", "0.00"), ("omp", "0.90")):
            place = {"scenario": str(draw), "pruner": pruner, "sparsity": sparsity}
            for u, own in make(rng, n, pruner != "dense").items():
                results += [result(u, seed, {"UA": float(v)}, **place) for seed, v in enumerate(own)]
    return sparsity_table(Contest(cells_table(results), ["retrain"], {"retrain_b": "retrain"}), DIRECTIONS)["verdict"]


@pytest.mark.parametrize("spread", [1.0, 3.0], ids=["as on the dense model", "more on the sparse model"])
def test_sparsity_is_rarely_said_to_matter_where_it_does_not(spread):
    """A method that is one more run of the oracle, on both models; the oracle's runs may differ more on one of them."""

    def runs(rng, n, sparse):
        return {u: rng.normal(50, spread if sparse else 1.0, n) for u in ("retrain", "retrain_b", "m")}

    assert (changes(runs, 10) != "not shown").mean() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 120)


def test_a_change_of_several_deviations_is_shown_with_ten_seeds():
    def nearer(rng, n, sparse):
        values = {u: rng.normal(50, 1, n) for u in ("retrain", "retrain_b", "m")}
        return values | {"m": values["m"] - (20 if sparse else 24)}

    assert (changes(nearer, 10, draws=60) == "closer").mean() > 0.9


def test_sparsity_pairs_by_seed():
    """The dense model lacks the first seed, the sparse the last: the two between are what both have."""
    zero = {"retrain": [0.0] * 4, "retrain_b": [1.0] * 4}
    row = dense_and_sparse(zero | {"ft": [None, 5.0, 7.0, 50.0]}, zero | {"ft": [30.0, 4.0, 4.0, None]}).loc["ft"]
    assert row["n"] == 2 and row["dense"] == 6 and row["sparse"] == 4 and row["change"] == -2


@pytest.mark.parametrize(
    ("dense", "twins", "note"),
    [
        ([20.0, 21.0, None], TWINS, "2 seeds with both: no interval, no test, no verdict"),
        ([20.0, 21.0, 22.0], {}, "no second retrain: no floor, no verdict"),
        ([20.0, 19.5, 21.0], TWINS, "every seed has the same change: no test, no verdict"),
    ],
)
def test_no_verdict_without_its_grounds(dense, twins, note):
    zero = {"retrain": [0.0, 0.0, 0.0]} | ({"retrain_b": [1.0, 1.0, 1.0]} if twins else {})
    row = dense_and_sparse(zero | {"ft": dense}, zero | {"ft": [10.0, 9.5, 11.0]}, twins=twins).loc["ft"]
    assert pd.isna(row["verdict"]) and row["note"] == note


def test_sparsity_without_a_dense_model_or_a_judged_metric_is_an_empty_table():
    assert dense_and_sparse(ORACLE | {"ft": [1.0, None, None]}, SPARSE_ORACLE | {"ft": [None, 1.0, 1.0]}).empty
    assert sparsity_table(contest(WITH_TWINS), DIRECTIONS).empty
    one = {"ft": [1.0, 1.0, 1.0]}
    assert dense_and_sparse(ORACLE | one, SPARSE_ORACLE | one, "sparsity").empty, "no direction"
    assert dense_and_sparse(ORACLE | one, SPARSE_ORACLE | one, "KL").empty, "lower is better, whatever the oracle has"
