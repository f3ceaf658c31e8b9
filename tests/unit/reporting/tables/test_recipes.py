"""recipes.csv: do two recipes rank alike?"""

import math

import pytest

from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.recipes import recipes_table
from unit.reporting.tables.contests import result


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
