"""cells.csv and summary.csv: order, pairing by seed, and what is left empty."""

import math

import numpy as np
import pandas as pd
import pytest

from lacuna.errors import LacunaError
from lacuna.evaluation.statistics import t_interval
from lacuna.reporting.tables import COORDINATES, GROUP, cells_table, roc_table, summary_table

PLACE = {"dataset": "d", "model": "m", "recipe": "r", "scenario": "class", "pruner": "omp", "sparsity": "0.90"}


def result(unlearner, seed, metrics, **place):
    return {"cell": PLACE | {"unlearner": unlearner, "seed": seed} | place, "metrics": metrics}


def test_cells_are_one_row_per_cell_and_metric_in_the_given_order():
    table = cells_table([result("ga", 1, {"UA": 5.0, "RA": 6.0}), result("ft", 0, {"RA": 7.0})])
    assert list(table.columns) == [*COORDINATES, "metric", "value"]
    rows = table[["unlearner", "seed", "metric", "value"]].itertuples(index=False, name=None)
    assert list(rows) == [("ga", 1, "UA", 5.0), ("ga", 1, "RA", 6.0), ("ft", 0, "RA", 7.0)]
    assert table["sparsity"].tolist() == ["0.90"] * 3, "a label, not a number"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_value_that_is_not_finite_is_refused_with_its_cell(value):
    with pytest.raises(LacunaError, match=f"metric 'UA' of d/m/r/1/class/omp/0.90/ga is {value}"):
        cells_table([result("ga", 0, {"UA": 1.0}), result("ga", 1, {"UA": value})])


VALUES = {"ga": [10.0, 14.0, 12.0], "retrain": [9.0, 15.0, 10.0], "retrain_exact": [8.0, 12.0, 13.0]}


def summary(values=VALUES, seeds=range(3), oracles=("retrain", "retrain_exact"), metric="UA"):
    results = [result(u, s, {metric: v[s]}) for s in seeds for u, v in values.items()]
    return summary_table(cells_table(results), oracles).set_index("unlearner")


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
    assert table["note"].isna().all()


@pytest.mark.parametrize(("seeds", "note"), [((0,), "1 seed: no interval"), ((0, 1), "2 seeds: no interval")])
def test_few_seeds_have_a_note_and_no_interval(seeds, note):
    table = summary(seeds=seeds)
    assert table["note"].tolist() == [note] * 3
    for column in ("ci_low", "ci_high", "gap_retrain_low", "gap_retrain_high"):
        assert table[column].isna().all()
    assert table.loc["ga", "gap_retrain"] == pytest.approx(np.mean([1, -1][: len(seeds)])), "the mean gap is told"


def test_order_of_methods_and_metrics_is_kept():
    names = ["zeta", "alpha", "retrain", "mid"]
    results = [result(u, s, {"UA": 1.0, "RA": 2.0, "MIA": 3.0}) for s in (0, 1) for u in names]
    table = summary_table(cells_table(results), ["retrain"])
    assert list(dict.fromkeys(table["unlearner"])) == names
    assert list(dict.fromkeys(table["metric"])) == ["UA", "RA", "MIA"]
    assert list(table.columns) == [
        *GROUP,
        *("metric", "mean", "ci_low", "ci_high", "n"),
        *("gap_retrain", "gap_retrain_low", "gap_retrain_high", "note"),
    ]


def test_oracle_of_another_place_is_no_partner():
    """Every coordinate but the method must agree: here the oracle exists at another sparsity and on another seed."""
    results = [result("ga", 0, {"UA": 5.0}), result("retrain", 0, {"UA": 1.0}, sparsity="0.95")]
    results += [result("retrain", 1, {"UA": 2.0})]
    table = summary_table(cells_table(results), ["retrain"])
    assert table[table["unlearner"] == "ga"]["gap_retrain"].isna().all()


def test_metric_that_is_a_comparison_has_no_gap():
    table = summary(metric="avg_gap/retrain")
    assert table["gap_retrain"].isna().all()
    assert table.loc["ga", "mean"] == pytest.approx(12.0)


def test_table_survives_a_csv(tmp_path):
    table = summary().reset_index()
    table.to_csv(tmp_path / "s.csv", index=False)
    again = pd.read_csv(tmp_path / "s.csv", dtype=dict.fromkeys(GROUP, str))
    assert again["sparsity"].tolist() == ["0.90"] * 3
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
