"""Which methods are the best: seldom any by chance alone, and every one that the seeds cannot tell from the best."""

import numpy as np
import pandas as pd
import pytest

from lacuna.reporting.best import best_methods, best_of
from lacuna.reporting.columns import PLACE
from unit.reporting.tables.contests import HERE, contest

METHODS = ["a", "b", "c", "d", "e"]


def scores(rng, seeds, shifts):
    """Scores of methods that share what a seed does to all of them."""
    shared = rng.normal(0, 3, (seeds, 1))
    return pd.DataFrame(shared + rng.normal(0, 1, (seeds, len(METHODS))) + np.array(shifts), columns=METHODS)


@pytest.mark.parametrize("seeds", [3, 5])
def test_of_equal_methods_any_is_called_best_in_at_most_one_experiment_of_twenty(seeds):
    rng = np.random.default_rng(seeds)
    found = sum(bool(best_of(scores(rng, seeds, [0] * 5))) for _ in range(300))
    # three standard deviations above 5 % of 300
    assert found <= 15 + 3 * (300 * 0.05 * 0.95) ** 0.5


def test_methods_that_are_as_good_stay_and_the_others_go():
    rng, alone = np.random.default_rng(1), 0
    for _ in range(30):
        best = best_of(scores(rng, 10, [0, 0, 20, 20, 20]))
        assert best <= {"a", "b"} and best
        alone += len(best) == 1
    assert alone <= 6, "by chance alone one of two equal ones goes"


def test_the_order_of_methods_and_seeds_is_of_no_account():
    given = scores(np.random.default_rng(2), 6, [0, 1, 9, 9, 9])
    assert best_of(given) == best_of(given[METHODS[::-1]].iloc[::-1])


def test_one_method_and_equal_scores_have_no_best():
    assert best_of(pd.DataFrame({"a": [1.0, 2.0, 3.0]})) == frozenset()
    assert best_of(pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]})) == frozenset()
    # a difference without spread has no test
    assert best_of(pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]})) == frozenset()


def test_no_method_is_left_out_for_one_that_is_worse():
    """b is worse than a on every seed, so told from it; c has a worse mean and is told from neither; d is far."""
    rng = np.random.default_rng(3)
    a = rng.normal(0, 0.01, 8)
    given = pd.DataFrame(
        {"a": a, "b": a + 1 + rng.normal(0, 0.01, 8), "c": 2 + rng.normal(0, 9, 8), "d": 50 + rng.normal(0, 0.01, 8)}
    )
    given["c"] += 2 - given["c"].mean()
    assert best_of(given) == {"a", "b", "c"}
    assert best_of(given[["a", "b", "c"]]) == frozenset(), "all of them is none"


def test_candidates_are_methods_that_forget_and_have_every_seed():
    """The untouched model, an oracle and a method without one of its seeds may have the lowest value: none is best."""
    rng = np.random.default_rng(4)
    levels = {"original": 0, "retrain": 0, "lacking": 0, "a": 5, "b": 90, "c": 90}
    values = {label: list(level + rng.normal(0, 1, 6)) for label, level in levels.items()}
    values["lacking"][2] = None
    of = contest(values, metric="KL", oracles=("retrain",))
    place = tuple(HERE[name] for name in PLACE)
    assert best_methods(of, {"KL": "lower"}) == {(*place, "KL", ""): {"a"}}
    # the farther from the oracle, the worse; the higher, the better
    assert best_methods(of, {"KL": "oracle"}) == {(*place, "KL", "retrain"): {"a"}}
    assert best_methods(of, {"KL": "higher"}) == {(*place, "KL", ""): {"b", "c"}}
