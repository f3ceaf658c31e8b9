"""cells.csv: one row per cell and metric, with its notes."""

import math

import pandas as pd
import pytest

from lacuna.errors import LacunaError
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.configs import with_config
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.files import read_table
from lacuna.reporting.tables.summary import summary_table
from unit.reporting.tables.contests import result, with_notes


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
