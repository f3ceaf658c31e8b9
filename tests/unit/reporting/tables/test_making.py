"""A table from what it reads: the same from slim results, which hold each text once."""

import pandas as pd

from lacuna.artifacts.provenance import FACTS
from lacuna.reporting.tables.making import Listing, made

GRID = {"unlearners": {"ga": {"method": "ga"}}}


def result(seed):
    """As a file gives it: no text is one of another file."""
    text = "".join(["U", "A"])
    return {
        "cell": dict(
            zip(("dataset", "model", "recipe", "scenario", "pruner", "sparsity", "unlearner"), "dmrcos", strict=False)
        )
        | {"seed": seed, "unlearner": "ga"},
        "metrics": {text: 1.5 + seed, "RA": 2.0},
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
    listing = Listing()
    slim = [listing.of(each) for each in whole]
    assert not {"inputs", "parameters"} & slim[0].keys()
    (first, _), (second, _) = slim[0]["metrics"], slim[1]["metrics"]
    assert first is second, "one text in memory"
    assert {**slim[0]} == {key: value for key, value in whole[0].items() if key in slim[0]} | {
        "layer_order": ("b", "a")
    }
    for name in ("cells", "layers", "provenance"):
        tables = [
            made(name, {"metrics": metrics, "population": [], "grid": GRID, "log": print, "unknown": 1})
            for metrics in (whole, slim)
        ]
        pd.testing.assert_frame_equal(*tables)
        assert len(tables[0]) == (3 if name == "provenance" else 6)
        assert tables[0]["unlearner"].tolist() == ["ga"] * len(tables[0])
