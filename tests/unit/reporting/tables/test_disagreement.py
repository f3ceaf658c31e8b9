"""disagreement.csv: do two metrics order alike?"""

import pytest

from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.disagreement import disagreement_table
from unit.reporting.tables.contests import DIRECTIONS, result


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
