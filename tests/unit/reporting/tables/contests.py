"""Cells of methods, oracles and their twins, made up."""

from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.summary import summary_table

HERE = {"dataset": "d", "model": "m", "recipe": "r", "scenario": "class", "pruner": "omp", "sparsity": "0.90"}


def result(unlearner, seed, metrics, **place):
    return {"cell": HERE | {"unlearner": unlearner, "seed": seed} | place, "metrics": metrics}


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


DIRECTIONS = {"privacy": 3.5, "UA": "oracle", "KL": "lower", "ToW": "higher", "AIN": "oracle", "sparsity": "none"}


def probes(values, target):
    """Probes with one accuracy for each seed."""
    return [
        result(u, seed, {"target_accuracy": value}, target=target)
        for u, own in values.items()
        for seed, value in enumerate(own)
    ]


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
