"""roc.csv: curves of attacks."""

from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.roc import roc_table
from unit.reporting.tables.contests import result


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
