"""The tables: order, pairing by seed, floors, ranks, and a reason for whatever is left empty."""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from places import ROOT

from lacuna.errors import DamagedFile, LacunaError
from lacuna.evaluation import Cell, evaluate
from lacuna.evaluation.statistics import holm, kendall_w, least_effect, paired_p, t_interval
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.backdoor import backdoor_table
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.configs import with_config
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.disagreement import disagreement_table
from lacuna.reporting.tables.files import read_table, write_table
from lacuna.reporting.tables.layers import layers_table
from lacuna.reporting.tables.missing import missing_table
from lacuna.reporting.tables.probes import probes_table
from lacuna.reporting.tables.provenance import provenance_table
from lacuna.reporting.tables.ranks import ranks_table
from lacuna.reporting.tables.recipes import recipes_table
from lacuna.reporting.tables.record import original_of
from lacuna.reporting.tables.roc import roc_table
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table
from lacuna.reporting.tables.transfer import transfer_table
from lacuna.reporting.tables.verdicts import still

HERE = {"dataset": "d", "model": "m", "recipe": "r", "scenario": "class", "pruner": "omp", "sparsity": "0.90"}


def result(unlearner, seed, metrics, **place):
    return {"cell": HERE | {"unlearner": unlearner, "seed": seed} | place, "metrics": metrics}


def test_cells_are_one_row_per_cell_and_metric_in_the_given_order():
    table = cells_table([result("ga", 1, {"UA": 5.0, "RA": 6.0}), result("ft", 0, {"RA": 7.0})])
    assert list(table.columns) == [*COORDINATES, "metric", "value", "unchanged", "note"]
    rows = table[["unlearner", "seed", "metric", "value"]].itertuples(index=False, name=None)
    assert list(rows) == [("ga", 1, "UA", 5.0), ("ga", 1, "RA", 6.0), ("ft", 0, "RA", 7.0)]
    assert table["sparsity"].tolist() == ["0.90"] * 3, "a label, not a number"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_value_that_is_not_finite_is_refused_with_its_cell(value):
    with pytest.raises(LacunaError, match=f"metric 'UA' of d/m/r/1/class/omp/0.90/ga is {value}"):
        cells_table([result("ga", 0, {"UA": 1.0}), result("ga", 1, {"UA": value})])


def test_no_cells_are_no_table():
    with pytest.raises(LacunaError, match="no cell of the experiment is finished"):
        cells_table([])


VALUES = {"ga": [10.0, 14.0, 12.0], "retrain": [9.0, 15.0, 10.0], "retrain_exact": [8.0, 12.0, 13.0]}
TWINS = {"retrain_b": "retrain", "retrain_exact_b": "retrain_exact"}
WITH_TWINS = VALUES | {"retrain_b": [9.5, 14.0, 10.0], "retrain_exact_b": [8.0, 13.0, 10.0]}


def contest(values, metric="UA", oracles=("retrain", "retrain_exact"), twins=TWINS, **place):
    """Cells with one value for each seed, None for a cell that is not there."""
    results = [
        result(u, seed, {metric: value}, **place)
        for u, own in values.items()
        for seed, value in enumerate(own)
        if value is not None
    ]
    return Contest(cells_table(results), oracles, {t: o for t, o in twins.items() if t in values})


def summary(values=VALUES, **how):
    return summary_table(contest(values, **how)).set_index("unlearner")


# ---- summary.csv: gaps ----------------------------------------------------------------------------------------------


def test_gap_is_paired_by_seed():
    table = summary()
    # 1, −1, 2 and 2, 2, −1
    assert table.loc["ga", "gap_retrain"] == pytest.approx(2 / 3)
    assert table.loc["ga", "gap_retrain_exact"] == pytest.approx(1.0)
    half = 4.302653 * np.std([1, -1, 2], ddof=1) / math.sqrt(3)
    assert table.loc["ga", "gap_retrain_high"] == pytest.approx(2 / 3 + half, rel=1e-6)
    assert table.loc["ga", "gap_retrain_low"] == pytest.approx(2 / 3 - half, rel=1e-6)
    # not the difference of two unpaired intervals
    assert table.loc["ga", "gap_retrain_high"] != pytest.approx(
        table.loc["ga", "ci_high"] - table.loc["retrain", "ci_low"]
    )


def test_oracle_has_no_gap_to_itself_and_one_to_the_other():
    table = summary()
    assert table.loc["retrain", ["gap_retrain", "gap_retrain_low", "gap_retrain_high"]].tolist() == [0, 0, 0]
    assert table.loc["retrain", "gap_retrain_exact"] == pytest.approx((1 + 3 - 3) / 3)


def test_mean_and_interval_are_over_seeds():
    table = summary()
    for name, values in VALUES.items():
        assert table.loc[name, ["mean", "ci_low", "ci_high"]].tolist() == pytest.approx(t_interval(values))
        assert table.loc[name, "n"] == 3


@pytest.mark.parametrize(
    ("n", "note"), [(1, "1 seed: no interval, no test, no verdict"), (2, "2 seeds: no interval, no test")]
)
def test_few_seeds_have_a_note_and_no_interval(n, note):
    table = summary({u: v[:n] for u, v in VALUES.items()})
    assert table["note"].str.startswith(note).all()
    for column in ("ci_low", "ci_high", "gap_retrain_low", "gap_retrain_high", "gap_retrain_p"):
        assert table[column].isna().all()
    assert table.loc["ga", "gap_retrain"] == pytest.approx(np.mean([1, -1][:n])), "the mean gap is told"


@pytest.mark.parametrize("n", [3, 9, 10, 25])
def test_intervals_are_t_at_every_number_of_seeds(n):
    rng = np.random.default_rng(0)
    values = {"ga": rng.normal(size=n).tolist(), "retrain": rng.exponential(size=n).tolist()}
    table = summary(values, oracles=["retrain"])
    for columns, of in (
        (["mean", "ci_low", "ci_high"], values["ga"]),
        (["gap_retrain", "gap_retrain_low", "gap_retrain_high"], np.subtract(values["ga"], values["retrain"])),
    ):
        expected = scipy.stats.t.interval(0.95, n - 1, loc=np.mean(of), scale=scipy.stats.sem(of))
        assert table.loc["ga", columns].tolist() == pytest.approx([np.mean(of), *expected], rel=1e-9)


def test_order_of_methods_and_metrics_is_kept():
    names = ["zeta", "alpha", "retrain", "mid"]
    results = [result(u, s, {"UA": 1.0, "RA": 2.0, "MIA": 3.0}) for s in (0, 1) for u in names]
    table = summary_table(Contest(cells_table(results), ["retrain"]))
    assert list(dict.fromkeys(table["unlearner"])) == names
    assert list(dict.fromkeys(table["metric"])) == ["UA", "RA", "MIA"]
    assert table["role"].tolist() == ["oracle" if u == "retrain" else "method" for u in table["unlearner"]]


def test_oracle_of_another_place_is_no_partner():
    """Every coordinate but the method must agree: here the oracle exists at another sparsity and on another seed."""
    results = [result("ga", 0, {"UA": 5.0}), result("retrain", 0, {"UA": 1.0}, sparsity="0.95")]
    results += [result("retrain", 1, {"UA": 2.0})]
    table = summary_table(Contest(cells_table(results), ["retrain"])).set_index("unlearner")
    assert math.isnan(table.loc["ga", "gap_retrain"])
    assert "no retrain beside it: no gap" in table.loc["ga", "note"]


def test_metric_that_is_a_comparison_has_no_gap():
    table = summary(metric="avg_gap/retrain")
    assert table["gap_retrain"].isna().all()
    assert table["note"].str.contains("compares with retrain: no gap").all()
    assert table.loc["ga", "mean"] == pytest.approx(12.0)


def test_missing_seed_is_told():
    table = summary({"ga": [1.0, None, 2.0, 4.0], "retrain": [1.0, 1.0, 1.0, None]}, oracles=["retrain"])
    assert "no value for seed 1" in table.loc["ga", "note"] and table.loc["ga", "n"] == 3
    assert table.loc["ga", "gap_retrain"] == pytest.approx(0.5), "over the seeds that both have"
    assert "retrain on fewer than 3 of the seeds" in table.loc["ga", "note"]


# ---- summary.csv: tests ---------------------------------------------------------------------------------------------


def test_p_values_are_adjusted_over_the_methods_of_a_place():
    """Oracles and twins are no methods; another place or metric is another family."""
    values = {"a": [1.0, 2.0, 4.0], "b": [0.1, 0.1, 0.2], "c": [1.0, -1.0, 0.5]}
    values |= {"retrain": [0.0] * 3, "retrain_exact": [0.3, 0.1, 0.2], "retrain_b": [0.1, 0.4, 0.2]}
    table = summary(values)
    expected = holm([paired_p(values[u]) for u in "abc"])
    assert table.loc[["a", "b", "c"], "gap_retrain_p"].tolist() == pytest.approx(expected.tolist())
    unadjusted = table.loc[["a", "b", "c"], "gap_retrain_p_unadjusted"]
    assert unadjusted.tolist() == pytest.approx([paired_p(values[u]) for u in "abc"])
    excluded = (table["gap_retrain_low"] > 0) | (table["gap_retrain_high"] < 0)
    assert excluded[["a", "b", "c"]].tolist() == (unadjusted < 0.05).tolist(), "interval and test say the same"
    least = least_effect(3, tests=3)
    assert table.loc[["a", "b", "c"], "gap_retrain_least_sd"].tolist() == [least] * 3
    spread = [np.std(values[u], ddof=1) for u in "abc"]
    assert table.loc[["a", "b", "c"], "gap_retrain_least"].tolist() == pytest.approx([least * s for s in spread])
    assert table.loc[["retrain", "retrain_exact", "retrain_b"], "gap_retrain_p"].isna().all()
    others = contest(values, sparsity="0.95").cells, contest(values, metric="RA").cells
    both = pd.concat([contest(values).cells, *others])
    again = summary_table(Contest(both, ["retrain", "retrain_exact"], TWINS))
    for _, rows in again[again["role"] == "method"].groupby(["sparsity", "metric"]):
        assert rows["gap_retrain_p"].tolist() == pytest.approx(expected.tolist())
    assert len(again) == 3 * len(table)


def test_equal_differences_are_no_test():
    table = summary({"a": [5.0, 6.0, 7.0], "b": [4.5, 6.0, 8.0], "retrain": [4.0, 5.0, 6.0]}, oracles=["retrain"])
    assert math.isnan(table.loc["a", "gap_retrain_p"])
    assert "every seed has the same gap to retrain: no test" in table.loc["a", "note"]
    assert table.loc["b", "gap_retrain_p"] == paired_p([0.5, 1.0, 2.0]), "a family of one"


# ---- summary.csv: floors --------------------------------------------------------------------------------------------


def test_floor_is_the_mean_distance_of_the_twin_from_its_oracle():
    table = summary(WITH_TWINS)
    # 0.5, −1, 0 and 0, 1, −3: without signs, or they would cancel
    assert table.loc["ga", "gap_retrain_floor"] == pytest.approx(0.5)
    assert table.loc["ga", "gap_retrain_exact_floor"] == pytest.approx(4 / 3)
    # a mean of three signed gaps varies by 1/√3 of what one does
    assert table.loc["ga", "gap_retrain_floor_of_mean"] == pytest.approx(0.5 / math.sqrt(3))
    # gaps 1, −1, 2 and 2, 2, −1: distances count, not the mean gap
    assert table.loc["ga", ["gap_retrain_distance", "gap_retrain_exact_distance"]].tolist() == pytest.approx(
        [4 / 3, 5 / 3]
    )
    assert pd.isna(table.loc["ga", "note"]), "nothing is empty"


# ---- summary.csv: verdicts ------------------------------------------------------------------------------------------


def many(make, n, draws=250):
    """Verdicts on a method in many experiments of n seeds; make(rng, n) gives the values of o, its twin t and m."""
    rng, results = np.random.default_rng(n), []
    for draw in range(draws):
        for u, own in make(rng, n).items():
            results += [result(u, seed, {"UA": float(v)}, scenario=str(draw)) for seed, v in enumerate(own)]
    table = summary_table(Contest(cells_table(results), ["o"], {"t": "o"}))
    return table[table["unlearner"] == "m"]


def three_runs(rng, n):
    return {u: rng.normal(50, 1, n) for u in ("o", "t", "m")}


@pytest.mark.parametrize("n", [3, 10])
def test_a_method_that_is_one_more_run_of_the_oracle_is_rarely_given_a_verdict(n):
    """In at most 5 % of experiments, and two standard errors of 250 of them."""
    wrong = (many(three_runs, n)["gap_o_verdict"] != "not shown").mean()
    assert wrong <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 250)


def test_errors_of_changing_sign_are_farther_than_the_floor():
    """±8 standard deviations in every seed, by the toss of a coin: the mean gap hides it, the distance does not."""

    def alternating(rng, n):
        values = three_runs(rng, n)
        return values | {"m": values["o"] + rng.choice([-8, 8], n) + rng.normal(0, 1, n)}

    table = many(alternating, 10, draws=60)
    assert (table["gap_o_verdict"] == "farther").all()
    assert (table["gap_o"].abs() < table["gap_o_distance"] / 4).any(), "a case that can tell"


def test_a_true_effect_of_one_deviation_is_found_or_not_shown_and_never_called_noise():
    """Ten seeds: it is farther in a third of the experiments, closer in none; a mean gap of 0.8 to 1.2 is twice the
    floor of a mean, where it is about one run's floor."""

    def shifted(rng, n):
        values = three_runs(rng, n)
        return values | {"m": values["m"] + 1}

    table = many(shifted, 10)
    assert set(table["gap_o_verdict"]) == {"farther", "not shown"}
    assert (table["gap_o_verdict"] == "farther").mean() == pytest.approx(0.37, abs=0.08)
    assert table["gap_o"].mean() > 2 * table["gap_o_floor_of_mean"].mean()
    assert table["gap_o"].mean() < table["gap_o_floor"].mean()
    # what the table says could not be seen: more than this effect, which is 0.7 deviations of the differences
    assert (table["gap_o_least_sd"] > 0.7).all()


def test_verdict_of_a_method_closer_than_the_oracles_second_run():
    values = {"a": [1.0, 2.1, 3.0, 4.1], "retrain": [1.0, 2.0, 3.0, 4.0], "retrain_b": [3.0, 0.1, 5.1, 2.0]}
    row = summary(values, oracles=["retrain"]).loc["a"]
    assert row["gap_retrain_verdict"] == "closer" and row["gap_retrain_excess_p"] < 0.05


def test_a_small_gap_in_every_seed_is_not_farther_than_the_second_run():
    """The gap is significant, and smaller than what two honest retrainings differ by: not farther."""
    values = {"a": [1.5, 2.4, 3.5, 4.6], "retrain": [1.0, 2.0, 3.0, 4.0], "retrain_b": [3.0, 2.1, 3.1, 2.0]}
    row = summary(values, oracles=["retrain"]).loc["a"]
    assert row["gap_retrain_p"] < 0.01 and row["gap_retrain_verdict"] == "not shown"


def test_verdicts_are_adjusted_over_the_methods_of_a_place():
    values = {"a": [5.0, 6.0, 8.0], "b": [4.0, 9.0, 7.5], "retrain": [1.0, 1.0, 1.0], "retrain_b": [1.5, 0.0, 1.1]}
    table = summary(values, oracles=["retrain"])
    twin = np.array([0.5, 1.0, 0.1])
    each = [2 * min(paired_p(np.subtract(values[u], 1)), paired_p(np.subtract(values[u], 1) - twin)) for u in "ab"]
    assert table.loc[["a", "b"], "gap_retrain_excess_p"].tolist() == pytest.approx(holm(each).tolist())


def test_two_twins_are_averaged():
    values = {"a": [5.0], "retrain": [1.0], "retrain_b": [2.0], "retrain_c": [5.0]}
    table = summary(values, oracles=["retrain"], twins={"retrain_b": "retrain", "retrain_c": "retrain"})
    assert table.loc["a", "gap_retrain_floor"] == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("oracle", "twin", "value", "verdict"),
    [
        (0.0, 0.3, 0.2, "closer"),  # a distance, 0 is best
        (0.0, 0.3, 0.4, "farther"),
        (1.0, 0.9, 0.95, "closer"),  # a likeness, 1 is best
        (1.0, 0.9, 0.85, "farther"),
        (1.0, 1.02, 40.0, "farther"),  # a ratio: 40 times as fast is no noise
        (1.0, 1.02, 0.99, "closer"),
    ],
)
def test_floor_of_a_comparison_is_the_value_of_the_twin(oracle, twin, value, verdict):
    """What it is worth is how near it is to what the oracle has with itself."""
    values = {"a": [value, value + 1e-4, value - 1e-4], "retrain": [oracle] * 3, "retrain_b": [twin] * 3}
    row = summary(values, metric="likeness/retrain", oracles=["retrain", "retrain_exact"]).loc["a"]
    assert (row["gap_retrain_floor"], row["gap_retrain_verdict"]) == (pytest.approx(twin), verdict)
    assert row["gap_retrain_distance"] == pytest.approx(abs(value - oracle))
    assert pd.isna(row["gap_retrain_exact_floor"]), "another oracle's floor says nothing of it"


def test_oracle_and_its_twin_have_no_floor_of_their_own():
    table = summary(WITH_TWINS)
    for unlearner, why in (("retrain", "retrain itself: no floor"), ("retrain_b", "it is the floor of retrain")):
        assert pd.isna(table.loc[unlearner, "gap_retrain_floor"]) and why in table.loc[unlearner, "note"]
        assert table.loc[unlearner, "gap_retrain_exact_floor"] == pytest.approx(4 / 3), "but from the other oracle"


def test_one_oracle_is_no_floor_and_the_note_says_so():
    table = summary({u: v for u, v in WITH_TWINS.items() if u != "retrain_exact_b"})
    assert table.loc["ga", ["gap_retrain_exact_floor", "gap_retrain_exact_verdict"]].isna().all()
    assert table.loc["ga", "note"] == "no second retrain_exact: no floor, no verdict"
    assert table.loc["ga", "gap_retrain_floor"] == 0.5


# ---- what is empty has a reason -------------------------------------------------------------------------------------

REASONS = {
    "ci_": "no interval",
    "_low": "no interval|no gap",
    "_high": "no interval|no gap",
    "_verdict": "no verdict|compares with",
    "_excess_p": "no verdict|compares with",
    "_p": "no test|no gap",
    "_p_unadjusted": "no test|no gap",
    "_least_sd": "no test|no gap",
    "_least": "no test|no gap",
    "_floor": "no floor|it is the floor|compares with",
    "_floor_of_mean": "no floor|it is the floor|compares with",
    "gap_": "no gap",
}


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("twins", [{}, {"retrain_b": "retrain"}])
def test_every_empty_field_of_the_summary_has_its_reason(n, twins):
    rng = np.random.default_rng(n)
    results = [
        result(u, s, {"UA": rng.random(), "avg_gap/retrain": rng.random(), "KL/retrain_exact": rng.random()})
        for u in ("ga", "still", "retrain", "retrain_exact", "retrain_b")
        for s in range(n)
        if (u, s) != ("ga", 1) and (u, s) != ("retrain_exact", 0)
    ]
    table = summary_table(Contest(cells_table(results), ["retrain", "retrain_exact"], twins))
    empty = 0
    for row in table.to_dict("records"):
        for column in table.columns:
            if column != "note" and pd.isna(row[column]):
                empty += 1
                reason = next(r for key, r in REASONS.items() if column.startswith(key) or column.endswith(key))
                assert re.search(reason, row["note"] or ""), (column, row)
    assert empty


@pytest.mark.parametrize("table", [ranks_table, disagreement_table])
@pytest.mark.parametrize("n", [1, 3])
def test_every_empty_field_of_an_order_has_its_reason(table, n):
    results = [
        result(u, s, {"UA": s + len(u), "RA": 1.0, "MIA": float(len(u) * (-1) ** s)})
        for u in ("a", "bb", "ccc", "retrain")
        for s in range(n)
        if (u, s) != ("bb", 1)
    ]
    made = table(Contest(cells_table(results), ["retrain"]), {"UA": "lower", "RA": "higher", "MIA": "oracle"})
    numbers = made.select_dtypes("number")
    assert numbers.isna().any(axis=None), "a case that can tell"
    assert (made["note"].notna() | numbers.notna().all(axis=1)).all()


# ---- ranks.csv ------------------------------------------------------------------------------------------------------

DIRECTIONS = {"privacy": 3.5, "UA": "oracle", "KL": "lower", "ToW": "higher", "AIN": "oracle", "sparsity": "none"}


def test_mean_ranks_follow_the_direction_of_the_metric():
    """lower and higher by value; oracle by distance, on either side."""
    values = {"a": [1.0, 1.0], "b": [2.0, 5.0], "c": [4.0, 2.0], "retrain": [2.5, 4.9]}
    expected = {
        "KL/retrain": [1.0, 2.5, 2.5],
        "ToW/retrain": [3.0, 1.5, 1.5],
        # distances 1.5, 0.5, 1.5 and 3.9, 0.1, 2.9
        "UA": [2.75, 1.0, 2.25],
        # a comparison whose best is the oracle's own value
        "AIN/retrain": [2.75, 1.0, 2.25],
        # distances from 3.5: 2.5, 1.5, 0.5 and 2.5, 1.5, 1.5
        "privacy": [3.0, 1.75, 1.25],
    }
    for metric, mean_ranks in expected.items():
        table = ranks_table(contest(values, metric=metric, oracles=["retrain"]), DIRECTIONS)
        assert table["unlearner"].tolist() == ["a", "b", "c"], "no oracle is ranked"
        assert table["mean_rank"].tolist() == mean_ranks, metric
        assert (
            (table["oracle"] == ("" if metric == "privacy" else "retrain")).all()
            and (table["methods"] == 3).all()
            and (table["seeds"] == 2).all()
        )
    assert ranks_table(contest(values, metric="sparsity"), DIRECTIONS).empty


def test_w_is_of_the_scores_and_twins_are_not_ranked():
    values = WITH_TWINS | {"b": [1.0, 2.0, 3.0], "c": [9.0, 14.5, 10.0]}
    table = ranks_table(contest(values), DIRECTIONS)
    assert set(table["unlearner"]) == {"ga", "b", "c"}
    assert table["oracle"].tolist() == ["retrain"] * 3 + ["retrain_exact"] * 3, "once for each oracle"
    scores = np.abs(np.array([values[u] for u in ("ga", "b", "c")]) - values["retrain"]).T
    assert tuple(table.loc[0, ["W", "W_p"]]) == kendall_w(scores)


def test_method_that_lacks_a_seed_is_not_ranked():
    table = ranks_table(contest({"a": [1.0, 2.0], "b": [3.0, None], "c": [2.0, 3.0]}, metric="KL"), DIRECTIONS)
    table = table.set_index("unlearner")
    assert table.loc[["a", "c"], "mean_rank"].tolist() == [1.0, 2.0]
    assert math.isnan(table.loc["b", "mean_rank"]) and table.loc["b", "note"] == "not ranked: it lacks a seed"
    assert (table["methods"] == 2).all() and table.loc["a", "W"] == 1


# ---- disagreement.csv -----------------------------------------------------------------------------------------------


def several(**metrics):
    """Cells of the methods a, b, … and retrain with the given values of each metric."""
    units = [*"abcdef"[: len(next(iter(metrics.values()))) - 1], "retrain"]
    results = [result(u, 0, {m: float(v[i]) for m, v in metrics.items()}) for i, u in enumerate(units)]
    return Contest(cells_table(results), ["retrain"])


def test_disagreement_is_the_correlation_of_the_orders():
    """By distance from the oracle the methods stand 4, 2, 1, 3; KL puts them 4, 1, 2, 3: 1 − 6·2/60."""
    table = disagreement_table(several(UA=[9, 3, 5.5, 8, 5], **{"KL/retrain": [4, 1, 2, 3, 0]}), DIRECTIONS)
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["metric_a"], row["metric_b"], row["oracle"], row["methods"]) == ("UA", "KL/retrain", "retrain", 4)
    assert row["spearman"] == pytest.approx(0.8)


def test_direction_counts_not_sign():
    """ToW falls where KL rises: they agree wholly; a reversed order disagrees wholly."""
    same = several(**{"ToW/retrain": [0.9, 0.8, 0.1, 1.0], "KL/retrain": [0.1, 0.2, 5.0, 0.0]})
    assert disagreement_table(same, DIRECTIONS)["spearman"].tolist() == pytest.approx([1.0])
    other = several(**{"ToW/retrain": [0.1, 0.8, 0.9, 1.0], "KL/retrain": [0.1, 0.2, 5.0, 0.0]})
    assert disagreement_table(other, DIRECTIONS)["spearman"].tolist() == pytest.approx([-1.0])


def test_metric_without_direction_does_not_judge():
    table = disagreement_table(several(UA=[1, 2, 3, 0], sparsity=[1, 2, 3, 4], time_s=[3, 2, 1, 1]), DIRECTIONS)
    assert table.empty


# ---- missing.csv ----------------------------------------------------------------------------------------------------


def test_missing_cell_has_the_first_file_that_is_not_there_and_the_end_of_its_log(tmp_path):
    there, gone, never = (str(tmp_path / name) for name in ("there", "gone", "never"))
    Path(there).write_text("")
    Path(gone + ".log").write_text("step 1\nlacuna: unlearn: the loss is nan\n\n")
    cell = {"dataset": "d", "model": "m", "recipe": "r", "seed": "0", "scenario": "s", "state": "omp-0.90"}
    steps = [(name, name + ".log") for name in (there, gone, never)]
    table = missing_table([cell | {"unlearner": "ga", "steps": steps}, cell | {"unlearner": "b", "steps": steps[::2]}])
    assert table["reason"].tolist() == [
        f"{gone} is missing; its log ends: lacuna: unlearn: the loss is nan",
        f"{never} is missing; it was never run",
    ]
    assert table["unlearner"].tolist() == ["ga", "b"] and (table["state"] == "omp-0.90").all()
    assert missing_table([]).columns.tolist() == table.columns.tolist()


def test_what_is_missing_is_told_alike_wherever_the_results_lie(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "there").touch()
    (tmp_path / "logs/gone.log").write_text("lacuna: unlearn: the loss is nan\n")
    steps = [(f"results/{name}", f"results/logs/{name}.log") for name in ("there", "gone")]
    (reason,) = missing_table([{"unlearner": "ga", "steps": steps}], tmp_path)["reason"]
    assert reason == "results/gone is missing; its log ends: lacuna: unlearn: the loss is nan"


# ---- files ----------------------------------------------------------------------------------------------------------


def test_table_survives_a_csv(tmp_path):
    table = summary(WITH_TWINS | {"NA": [1.0, 2.0, 4.0]}).reset_index()
    table.to_csv(tmp_path / "s.csv", index=False)
    again = read_table(tmp_path / "s.csv")
    assert again["sparsity"].tolist() == ["0.90"] * len(table)
    assert again["unlearner"].tolist() == table["unlearner"].tolist()
    assert again["mean"].tolist() == table["mean"].tolist()


def test_curves_are_one_row_per_cell_attack_and_point():
    told = {"rmia": {"fpr": [0.1, 1.0], "tpr": [0.4, 1.0], "auc_per_pair": [None] * 3}}
    results = [result("ga", 3, {"u_lira_auc": 0.6}) | {"attacks": {"u_lira": {"fpr": [0.5], "tpr": [0.7]}, **told}}]
    results += [result(label, 3, {}) | {"attacks": told} for label in ("retrain", "again")]
    table = roc_table(results, ["retrain"], {"again": "retrain"})
    assert list(table.columns) == [*COORDINATES, "role", "attack", "fpr", "tpr"]
    rows = table[["unlearner", "role", "attack", "fpr", "tpr"]].itertuples(index=False, name=None)
    assert list(rows) == [
        ("ga", "method", "u_lira", 0.5, 0.7),
        ("ga", "method", "rmia", 0.1, 0.4),
        ("ga", "method", "rmia", 1.0, 1.0),
        ("retrain", "oracle", "rmia", 0.1, 0.4),
        ("retrain", "oracle", "rmia", 1.0, 1.0),
        ("again", "twin", "rmia", 0.1, 0.4),
        ("again", "twin", "rmia", 1.0, 1.0),
    ]


def published(ua, ra, ta, mia):
    """A cell with these percents, exact to two decimals: 10,000 samples in each part, the attack's score given."""
    labels = np.zeros(10_000, np.int64)

    def part(percent):
        return np.eye(2)[(np.arange(10_000) >= round(100 * percent)).astype(int)], labels

    cell = Cell.of(forget=part(100 - ua), retain=part(ra), test=part(ta))
    cell.cache["MIA"] = mia
    return cell


# UA, RA, TA, MIA-efficacy of Retrain, CIFAR-10, ResNet-18. 10 % at random: Fan et al., ICLR 2024, Table 1; by class,
# dense and 95 % sparse: Jia et al., NeurIPS 2023, Table 3
FAN, DENSE, SPARSE = (5.24, 100.0, 94.26, 12.88), (100.0, 100.0, 94.83, 100.0), (100.0, 99.99, 91.80, 100.0)


@pytest.mark.parametrize(
    ("oracle", "method", "gap"),
    [
        pytest.param(FAN, (2.85, 99.62, 93.93, 14.39), 1.15, id="salun"),
        pytest.param(FAN, (0.63, 99.88, 94.06, 2.70), 3.78, id="ft"),
        pytest.param(FAN, (0.69, 99.50, 94.01, 1.70), 4.12, id="ga"),
        pytest.param(FAN, (1.07, 99.20, 93.20, 2.67), 4.06, id="iu"),
        pytest.param(FAN, (4.19, 97.74, 91.59, 9.84), 2.26, id="l1_sparse"),
        pytest.param(DENSE, (22.53, 99.87, 94.31, 75.00), 25.78, id="ft by class, dense"),
        pytest.param(DENSE, (93.08, 92.60, 86.64, 94.03), 7.12, id="ga by class, dense"),
        pytest.param(SPARSE, (73.64, 99.87, 94.32, 83.02), 11.50, id="ft by class, sparse"),
        pytest.param(SPARSE, (98.09, 87.74, 82.58, 97.74), 6.41, id="ga by class, sparse"),
    ],
)
def test_published_average_gap(oracle, method, gap):
    """The gap that a paper prints comes out of the four percents beside it, as a metric and as gaps of the table."""
    cells = {"retrain": published(*oracle), "m": published(*method)}
    results = [
        result(u, 0, evaluate(cell, {"retrain": cells["retrain"]}, ["UA", "RA", "TA", "MIA", "avg_gap"]))
        for u, cell in cells.items()
    ]
    table = summary_table(Contest(cells_table(results), ["retrain"]))
    own = table[table["unlearner"] == "m"].set_index("metric")
    # papers round the percents and the gap, each to half a hundredth
    assert own.loc["avg_gap/retrain", "mean"] == pytest.approx(gap, abs=0.0101)
    assert own.loc[["UA", "RA", "TA", "MIA"], "gap_retrain"].abs().mean() == pytest.approx(gap, abs=0.0101)


# ---- recipes.csv -----------------------------------------------------------------------------------------------------


def two_recipes(**gaps):
    """Average gaps by recipe and method, one for each seed."""
    results = [
        result(method, seed, {"avg_gap/retrain": value}, recipe=recipe)
        for recipe, methods in gaps.items()
        for method, values in methods.items()
        for seed, value in enumerate(values)
        if value is not None
    ]
    return recipes_table(Contest(cells_table(results), ["retrain"]))


def test_recipes_rank_by_mean_gap_and_tau_counts_the_pairs():
    slow = {"a": [1.0, 3.0], "b": [3.0, 3.0], "c": [5.0, 4.0], "d": [9.0, 9.0]}
    quick = {"a": [1.0, 1.0], "b": [5.0, 4.0], "c": [4.0, 4.5], "d": [8.0, 8.0]}
    table = two_recipes(slow=slow, quick=quick).set_index("unlearner")
    assert table["rank_a"].tolist() == [1, 2, 3, 4]
    assert table["rank_b"].tolist() == [1, 3, 2, 4]
    assert table["tau"].tolist() == pytest.approx([4 / 6] * 4), "five pairs of six are in the same order"
    tied = 5 / math.sqrt(6 * 5)  # a and b tie in slow's second seed
    assert table["tau_within"].tolist() == pytest.approx([(tied + 4 / 6) / 2] * 4)
    # slow's first seed against quick's second, and slow's second against quick's first
    assert table["tau_across"].tolist() == pytest.approx([(1 + 3 / math.sqrt(6 * 5)) / 2] * 4)
    told = table[["recipe_a", "recipe_b", "methods", "seeds"]].drop_duplicates()
    assert told.to_numpy().tolist() == [["slow", "quick", 4, 2]]


def test_recipes_compare_what_both_have():
    gaps = {"a": [1.0], "b": [2.0], "c": [3.0]}
    table = two_recipes(one=gaps, two=gaps | {"new": [0.0]}, three=gaps | {"c": [0.5]})
    pairs = table.groupby(["recipe_a", "recipe_b"], sort=False)["tau"].first()
    assert pairs.to_dict() == pytest.approx({("one", "two"): 1, ("one", "three"): -1 / 3, ("two", "three"): -1 / 3})
    assert table["tau_within"].isna().all(), "one seed"
    assert set(table["unlearner"]) == {"a", "b", "c"}
    few = two_recipes(one={"a": [1.0], "b": [2.0]}, two={"a": [1.0], "b": [2.0]})
    assert few["tau"].isna().all() and (few["note"] == "2 methods: no order to compare").all()


def test_one_recipe_has_nothing_to_compare():
    assert two_recipes(one={"a": [1.0], "b": [2.0], "c": [3.0]}).empty


# ---- sparsity.csv ----------------------------------------------------------------------------------------------------


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


# ---- probes.csv, transfer.csv ---------------------------------------------------------------------------------------


def probes(values, target):
    """Probes with one accuracy for each seed."""
    return [
        result(u, seed, {"target_accuracy": value}, target=target)
        for u, own in values.items()
        for seed, value in enumerate(own)
    ]


def test_a_target_is_summed_up_as_if_it_were_alone():
    """Gaps, tests and floors are those of the summary of its probes; other targets change none of them."""
    others = {u: [100 - 3 * v for v in own] for u, own in WITH_TWINS.items()}
    oracles = ["retrain", "retrain_exact"]
    table = transfer_table(probes_table([*probes(WITH_TWINS, "pets"), *probes(others, "sun")]), oracles, TWINS)
    assert list(table["target"].unique()) == ["pets", "sun"]
    for target, values in (("pets", WITH_TWINS), ("sun", others)):
        own = table[table["target"] == target].drop(columns="target").reset_index(drop=True)
        alone = summary_table(contest(values, metric="target_accuracy")).drop(columns="unchanged")
        pd.testing.assert_frame_equal(own, alone)


def test_probes_that_are_not_there_are_refused():
    with pytest.raises(LacunaError, match="no cell of the experiment is finished"):
        probes_table([])


def test_documented_columns_are_those_that_are_written():
    """docs/tables.md has a section for each table, and in it one row for each column, in order."""
    page = (ROOT / "docs/tables.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\.csv\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    made = contest(WITH_TWINS)
    tables = {
        "cells": with_config(made.cells, {}),
        "layers": layers_table([]),
        "summary": with_config(summary_table(made), {}),
        "ranks": ranks_table(made, DIRECTIONS),
        "disagreement": disagreement_table(made, DIRECTIONS),
        "sparsity": sparsity_table(made, DIRECTIONS),
        "recipes": recipes_table(made),
        "missing": missing_table([]),
        "provenance": provenance_table([], {}),
        "roc": roc_table([], ["retrain"]),
        "backdoor": backdoor_table(made, "original"),
        "probes": probes_table(probes(WITH_TWINS, "pets")),
        "transfer": transfer_table(probes_table(probes(WITH_TWINS, "pets")), ["retrain", "retrain_exact"], TWINS),
    }
    assert list(sections) == list(tables)
    for name, table in tables.items():
        documented = re.findall(r"^\| `([^`]+)`", sections[name], re.MULTILINE)
        expected = []
        for column in table.columns:
            column = re.sub(r"^gap_retrain(?!_exact)", "gap_<oracle>", column)
            expected += [column] if not column.startswith("gap_retrain_exact") else []
        assert documented == expected, name


# ---- what must be known of a value ----------------------------------------------------------------------------------


def with_notes(unchanged=(), notes=()):
    """Cells of ga and rl beside an oracle, its twin and the original, three seeds; ga as said."""
    values = {"ga": [4.0, 6.0, 5.5], "rl": [3.0, 3.5, 9.0], "original": [0.0, 0.1, 0.3]}
    values |= {"retrain": [5.0, 6.0, 7.0], "retrain_b": [6.0, 6.5, 7.0]}
    results = []
    for pruner, sparsity in (("dense", "0.00"), ("omp", "0.90")):
        for u, own in values.items():
            for seed, value in enumerate(own):
                cell = result(u, seed, {"UA": value, "RA": 90.0 + value}, pruner=pruner, sparsity=sparsity)
                marked = {"unchanged": u == "ga" and (pruner, seed) in unchanged}
                said = {"UA": "draws differ"} if u == "ga" and (pruner, seed) in notes else {}
                results.append(cell | marked | {"notes": said})
    return Contest(cells_table(results), ["retrain"], {"retrain_b": "retrain"})


def test_a_method_that_returned_the_model_is_marked_in_every_table_and_left_out_of_none():
    made = with_notes(unchanged=[("omp", 0), ("omp", 2), ("dense", 1)])
    assert made.cells.groupby("unlearner")["unchanged"].sum().to_dict()["ga"] == 6, "both metrics of three cells"
    table = summary_table(made).set_index(["pruner", "unlearner", "metric"]).sort_index()
    assert table.loc[("omp", "ga"), "unchanged"].tolist() == [2, 2]
    assert table.loc[("dense", "ga"), "unchanged"].tolist() == [1, 1]
    assert table.loc[("omp", "ga", "UA"), "note"] == "returned the model unchanged on 2 of 3 seeds"
    assert table["unchanged"].sum() == 6 and pd.isna(table.loc[("omp", "rl", "UA"), "note"])
    sparse = sparsity_table(made, {"UA": "oracle"}).set_index("unlearner")
    assert sparse["unchanged"].to_dict() == {"ga": 2, "rl": 0, "original": 0}
    assert sparse.loc["ga", "note"].endswith(
        "returned the sparse model unchanged on 2 of 3 seeds; returned the dense model unchanged on 1 of 3 seeds"
    )
    order = ranks_table(made, {"UA": "oracle"}).set_index(["pruner", "unlearner"])
    assert order.loc[("omp", "ga"), "unchanged"] == 2 and order.loc[("omp", "ga"), "mean_rank"] >= 1
    assert order.loc[("omp", "ga"), "note"] == "returned the model unchanged on 2 of 3 seeds"
    assert still(made) == [
        "d/m/r/class/dense/0.00/ga: returned the model unchanged on 1 of 3 seeds",
        "d/m/r/class/omp/0.90/ga: returned the model unchanged on 2 of 3 seeds",
    ]


def test_notes_of_cells_and_their_marks_survive_a_file(tmp_path):
    """What is computed from cells.csv is what was computed from the results."""
    made = with_notes(unchanged=[("omp", 0)], notes=[("omp", 0), ("omp", 2), ("dense", 1)])
    table = summary_table(made)
    said = table.set_index(["pruner", "unlearner", "metric"])["note"]
    assert said[("omp", "ga", "UA")] == "returned the model unchanged on 1 of 3 seeds; seed 0, 2: draws differ"
    assert said[("dense", "ga", "UA")] == "seed 1: draws differ" and pd.isna(said[("dense", "ga", "RA")])
    with_config(made.cells, {}).to_csv(tmp_path / "cells.csv", index=False)
    again = Contest(read_table(tmp_path / "cells.csv"), ["retrain"], {"retrain_b": "retrain"})
    pd.testing.assert_frame_equal(summary_table(again), table)


def test_population_of_an_unchanged_cell_is_marked_too():
    cell = result("ga", 0, {"UA": 1.0}) | {"unchanged": True}
    table = cells_table([cell, result("ga", 0, {"klom/retrain": 2.0}), result("ga", 1, {"UA": 1.0})])
    assert table["unchanged"].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("untouched", "said"),
    [
        ([95.0, 97.0, 99.0], "original has UA 97.0 and retrain 98.0: there was next to nothing to forget"),
        ([3.0, 2.0, 1.0], None),
    ],
)
def test_original_that_never_knew_the_forget_set_is_told(untouched, said):
    values = {"original": untouched, "ft": [50.0, 60.0, 70.0], "retrain": [97.0, 98.0, 99.0]}
    values |= {"retrain_b": [98.0, 98.0, 98.5]}
    notes = summary(values, oracles=["retrain"])["note"].fillna("")
    assert notes["ft"] == (said or "")
    assert notes.str.contains("nothing to forget").all() == bool(said), "said of the place, in each of its rows"
    assert pd.isna(summary(values, oracles=["retrain"], metric="RA")["note"]["ft"]), "of UA alone"


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_mia_that_tells_no_model_from_another_is_told(value):
    values = {"ft": [value] * 3, "ga": [value] * 3, "retrain": [value] * 3}
    said = f"MIA is {value:.0f} for every model here: it tells no method from another"
    assert summary(values, metric="MIA", oracles=["retrain"])["note"].str.contains(said).all()
    values["ga"] = [value, 50.0, value]
    assert not summary(values, metric="MIA", oracles=["retrain"])["note"].str.contains("every model").any()


def test_the_untouched_model_is_found_by_its_method():
    assert original_of({"unlearners": {"b": {"method": "original"}, "a": {"method": "ga"}}}) == "b"
    both = {"a": {"method": "original"}, "original": {"method": "original"}}
    assert original_of({"unlearners": both}) == "original" == original_of({"unlearners": {}})


def test_a_text_that_a_spreadsheet_would_run_is_quoted(tmp_path):
    """Numbers are none, whatever they begin with; numbers in columns of texts neither."""
    texts = ["=HYPERLINK(1)", "+1+cmd", "@a", "\tb", "-x", "-1.5", "+3e2", "plain"]
    table = pd.DataFrame({"note": texts, "value": -1.0})
    write_table(tmp_path / "t.csv", table)
    again = read_table(tmp_path / "t.csv")
    assert list(again["note"]) == [f"'{text}" for text in texts[:5]] + texts[5:]
    assert list(again["value"]) == [-1.0] * len(texts)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "No columns"),
        (b"metric,value\nUA,1\0\n", "it holds a NUL"),
        (b"\xff\xfe", "utf-8"),
        (b"metric,value\nUA,1\n", "it has no column 'dataset'"),
        (b"a,b\n1,2,3\n4\n1,2,3,4\n", "Error tokenizing"),
    ],
)
def test_a_table_of_another_form_is_a_damaged_file(tmp_path, content, why):
    path = tmp_path / "cells.csv"
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=why) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
