"""Rows that belong together: in the order in which they come, all of one size at once, and NaN left out."""

import math

import numpy as np

from lacuna.evaluation.statistics import holm, least_effect
from lacuna.reporting.tables.groups import adjusted, grouped, known_parts, least_effects, means_of


def test_groups_are_numbered_as_they_first_appear_and_keep_their_rows_in_order():
    of = grouped(np.array([2, 0, 2, 1, 0, 2]), np.array([0, 0, 0, 5, 0, 1]))
    assert of.of.tolist() == [0, 1, 0, 2, 1, 3] and of.first.tolist() == [0, 1, 3, 5]
    found = {n: (numbers.tolist(), rows.tolist()) for numbers, rows in of.by_size() for n in [rows.shape[1]]}
    assert found == {1: ([2, 3], [[3], [5]]), 2: ([0, 1], [[0, 2], [1, 4]])}


def test_keys_whose_product_no_number_holds_are_told_apart():
    keys = [np.array([0, 2**40, 2**40]), np.array([2**40, 0, 0]), np.array([0, 0, 1])]
    assert grouped(*keys).of.tolist() == [0, 1, 2]


def test_no_rows_are_no_groups():
    empty = grouped(np.array([], dtype=int))
    assert len(empty.of) == len(empty.first) == 0 and not list(empty.by_size())


def test_what_is_known_of_each_row_keeps_its_order():
    values = np.array([[1.0, math.nan, 3.0], [math.nan] * 3, [4.0, 5.0, math.nan]])
    found = {places.shape[1]: (rows.tolist(), places.tolist()) for rows, places in known_parts(values)}
    assert found == {0: ([1], [[]]), 2: ([0, 2], [[0, 2], [0, 1]])}
    assert np.array_equal(means_of(values), [2.0, math.nan, 4.5], equal_nan=True)


def test_families_of_any_size_are_adjusted_each_by_itself():
    p, families = np.array([0.01, 0.04, math.nan, 0.03, 0.5]), grouped(np.array([0, 1, 1, 0, 0]))
    assert np.array_equal(adjusted(p, families)[[0, 3, 4]], holm([0.01, 0.03, 0.5]))
    assert np.array_equal(adjusted(p, families)[[1, 2]], holm([0.04, math.nan]), equal_nan=True)
    least = least_effects(np.array([3.0, 3.0, math.nan, 5.0, 3.0]), p, families)
    expected = [least_effect(3, 3), least_effect(3, 1), math.nan, least_effect(5, 3), least_effect(3, 3)]
    assert np.array_equal(least, expected, equal_nan=True)
