"""A table from what it reads: the same from slim results, which hold each text once."""

import pandas as pd

from lacuna.artifacts.provenance import FACTS
from lacuna.reporting.tables.making import listed_of, made

GRID = {"unlearners": {"ga": {"method": "ga"}}}


def result(seed):
    """As a file gives it: no text is one of another file."""
    text = "".join(["U", "A"])
    return {
        "cell": dict(
            zip(("dataset", "model", "recipe", "scenario", "pruner", "sparsity", "unlearner"), "dmrcos", strict=False)
        )
        | {"seed": seed, "unlearner": "ga"},
        "metrics": {text: 1.5 + seed},
        "layers": {"sparsity": {"b": 0.5, "a": 0.25}},
        "layer_order": ["b", "a"],
        "notes": {text: "few samples"},
        "origin": dict.fromkeys(FACTS, 1),
        "evaluated_at_commit": "c",
        "job": "j",
        "inputs": {"x": "y"},
        "parameters": {"large": [1] * 100},
    }


def test_slim_results_make_the_same_tables():
    whole = [result(seed) for seed in range(3)]
    slim = [listed_of(each) for each in whole]
    assert not {"inputs", "parameters"} & slim[0].keys()
    (first,), (second,) = slim[0]["metrics"], slim[1]["metrics"]
    assert first is second, "one text in memory"
    for name in ("cells", "layers", "provenance"):
        tables = [
            made(name, {"metrics": metrics, "population": [], "grid": GRID, "log": print, "unknown": 1})
            for metrics in (whole, slim)
        ]
        pd.testing.assert_frame_equal(*tables)
        assert len(tables[0]) == (6 if name == "layers" else 3)
