"""The t interval against SciPy and a table."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lacuna.evaluation.statistics import t_interval


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=30), st.floats(0.5, 0.999))
def test_interval_is_the_one_of_scipy(values, level):
    mean, low, high = t_interval(values, level)
    assert mean == pytest.approx(np.mean(values), abs=1e-9)
    error = scipy.stats.sem(values)
    expected = (
        scipy.stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=error) if error else (mean, mean)
    )
    assert (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-7)


def test_interval_from_a_table():
    # t with 2 degrees of freedom at 0.975 is 4.3027; the sample deviation of 1, 2, 3 is 1
    mean, low, high = t_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert high - mean == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert mean - low == pytest.approx(high - mean)


@pytest.mark.parametrize("values", [[5.0], [5.0, 7.0]])
def test_two_values_have_no_interval(values):
    mean, low, high = t_interval(values)
    assert mean == np.mean(values)
    assert math.isnan(low)
    assert math.isnan(high)


def test_equal_values_have_a_point():
    assert t_interval(np.full(4, 2.5)) == (2.5, 2.5, 2.5)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        _, low, high = t_interval(rng.normal(1.0, 3.0, 4))
        hits += low <= 1.0 <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.02)
