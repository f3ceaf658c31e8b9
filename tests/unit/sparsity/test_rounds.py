"""The rounds of iterative pruning: one chain that serves every sparsity and lands on it."""

import itertools
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lacuna.errors import LacunaError
from lacuna.sparsity.rounds import rounds_to, sparsity_of


def test_one_shot_pruning_has_no_rounds():
    assert rounds_to("0.95", None) == []


@pytest.mark.parametrize(("sparsity", "rounds"), [("0.20", 0), ("0.21", 1), ("0.50", 3), ("0.80", 7), ("0.95", 13)])
def test_rounds_at_the_published_rate(sparsity, rounds):
    """0.8³ = 0.512 leaves more than half, 0.8⁴ = 0.4096 less: the fourth round lands on 0.50."""
    assert rounds_to(sparsity, 0.2) == [f"round{i:02d}" for i in range(1, rounds + 1)]


@given(st.integers(1, 9999), st.integers(9, 99))
def test_last_step_removes_at_most_the_rate_and_at_least_something(level, percent):
    sparsity, rate = f"{level / 10000:.4f}", percent / 100
    rounds = rounds_to(sparsity, rate)
    before = 1 - (sparsity_of(rounds[-1], rate) if rounds else 0)
    after = 1 - Fraction(sparsity)
    assert after < before
    assert before - after <= Fraction(str(rate)) * before


@given(st.lists(st.integers(1, 9999), min_size=2, max_size=2).map(sorted))
def test_a_lower_sparsity_needs_no_round_that_a_higher_one_lacks(levels):
    low, high = (rounds_to(f"{level / 10000:.4f}", 0.2) for level in levels)
    assert high[: len(low)] == low


@given(st.integers(1, 9999), st.floats(1e-12, 0.2))
def test_a_rate_that_takes_too_many_rounds_is_refused_with_the_least_that_does_not(level, rate):
    sparsity = f"{level / 10000:.4f}"
    try:
        assert len(rounds_to(sparsity, rate)) <= 100
    except LacunaError as error:
        said = re.fullmatch(
            r"rate: (\S+) is not allowed; allowed: at least (\S+) \(at most 100 rounds to 0\.\d+\)", str(error)
        )
        least = float(said[2])
        assert rate < least
        assert len(rounds_to(sparsity, least)) <= 100
        assert least <= 1e-4 or len(_all_rounds(sparsity, least - 1e-4)) > 100, "no smaller one with 4 decimals does"


def _all_rounds(sparsity, rate):
    names = (f"round{i:02d}" for i in itertools.count(1))
    return list(itertools.takewhile(lambda name: sparsity_of(name, rate) < Fraction(sparsity), names))


def test_rounds_are_exact():
    assert sparsity_of("round03", 0.2) == Fraction(61, 125)
