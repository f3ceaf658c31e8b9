"""ranks.csv: orders of methods."""

import math

import numpy as np

from lacuna.evaluation.statistics import kendall_w
from lacuna.reporting.tables.ranks import ranks_table
from unit.reporting.tables.contests import DIRECTIONS, WITH_TWINS, contest


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
