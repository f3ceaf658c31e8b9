"""summary.csv: gaps, tests, floors, verdicts, and the reason of every empty field."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from lacuna.evaluation import Cell, evaluate
from lacuna.evaluation.statistics import holm, least_effect, paired_p, t_interval
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.disagreement import disagreement_table
from lacuna.reporting.tables.ranks import ranks_table
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table
from lacuna.reporting.tables.verdicts import still
from unit.reporting.tables.contests import TWINS, VALUES, WITH_TWINS, contest, result, summary, with_notes


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
