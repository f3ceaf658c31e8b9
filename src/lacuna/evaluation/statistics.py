"""What seeds, the replicates of every experiment, can tell: intervals, paired tests, agreement of orders."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import nctdtrinc, stdtr, stdtrit

from lacuna.randomness import numpy_generator

MIN_SEEDS = 3
# largest p value that is called significant, and the chance to find what is there that an effect size is told for
LEVEL = 0.05
POWER = 0.8
# shuffles of a permutation test: with the observed order 10,000
_DRAWS = 9999

Values = Sequence[float] | np.ndarray
Interval = tuple[float, float, float]


def t_interval(values: Values, level: float = 0.95) -> Interval:
    """Mean and the two ends of its t interval: mean ± t_{(1+level)/2, n−1} · s/√n, s with n−1 in the denominator.

    At every n: bootstraps of a mean are too narrow for few values (BCa covers 89 % at n = 10). The interval of paired
    differences excludes 0 exactly where `paired_p` is below 1 − level. With fewer than 3 values the ends are NaN: two
    seeds say next to nothing about their spread.
    """
    values = np.asarray(values, dtype=np.float64)
    n, mean = len(values), float(np.mean(values))
    if n < MIN_SEEDS:
        return mean, math.nan, math.nan
    half = float(stdtrit(n - 1, (1 + level) / 2) * values.std(ddof=1) / math.sqrt(n))
    return mean, mean - half, mean + half


def welch_interval(a: tuple[float, float, int], b: tuple[float, float, int], level: float = 0.95) -> Interval:
    """Difference of two means and the ends of its interval, from independent samples of unequal spread (Welch, 1947).

    a, b: mean, standard deviation (n − 1 in the denominator) and size. d ± t_{(1+level)/2, ν} · √(s_a²/n_a + s_b²/n_b),
    ν = (s_a²/n_a + s_b²/n_b)² / (s_a⁴/(n_a²(n_a − 1)) + s_b⁴/(n_b²(n_b − 1))) (Satterthwaite). NaN ends with fewer
    than 3 values on a side or an unknown (NaN) deviation.
    """
    (mean_a, s_a, n_a), (mean_b, s_b, n_b) = a, b
    difference = mean_a - mean_b
    if min(n_a, n_b) < MIN_SEEDS or not math.isfinite(s_a + s_b):
        return difference, math.nan, math.nan
    v_a, v_b = s_a**2 / n_a, s_b**2 / n_b
    # of equal values on both sides nothing is left to chance
    half = 0.0
    if v_a + v_b > 0:
        # by shares, which cannot underflow as the fourth powers do
        share_a, share_b = v_a / (v_a + v_b), v_b / (v_a + v_b)
        freedom = 1 / (share_a**2 / (n_a - 1) + share_b**2 / (n_b - 1))
        half = float(stdtrit(freedom, (1 + level) / 2) * math.sqrt(v_a + v_b))
    return difference, difference - half, difference + half


def paired_p(differences: Values) -> float:
    """Two-sided p value of the paired t test that the mean difference is 0: t = mean/(s/√n), n − 1 degrees of freedom.

    NaN with fewer than 3 differences, or if all are equal: without spread there is no test.
    """
    differences = np.asarray(differences, dtype=np.float64)
    n = len(differences)
    if n < MIN_SEEDS or _equal(differences):
        return math.nan
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(n))
    return float(2 * stdtr(n - 1, -abs(t)))


def least_effect(n: int, tests: int = 1) -> float:
    """The smallest mean difference that n seeds show with 80 % power, in standard deviations of the paired differences.

    The test is the two-sided paired t test at Holm's first step among so many tests, level 0.05/tests: δ√n is the
    noncentrality at which T passes the critical value t_{1 − 0.05/(2·tests), n−1} with probability 0.8 (Cohen, 1988).
    The other side's share of the power is below 1e-4. NaN with fewer than 3 seeds, which have no test, or no tests.
    """
    if not n >= MIN_SEEDS or tests < 1:
        return math.nan
    critical = stdtrit(n - 1, 1 - LEVEL / (2 * tests))
    return float(nctdtrinc(n - 1, 1 - POWER, critical) / math.sqrt(n))


def _equal(values: np.ndarray) -> bool:
    """Whether the values differ by no more than rounding."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def holm(p: Values) -> np.ndarray:
    """p values [k] adjusted for a family of tests: running maximum of (k − i)·p₍ᵢ₎, i from 0, at most 1 (Holm, 1979).

    Rejecting where the adjusted value is ≤ α keeps the chance of any false rejection in the family at most α, however
    the tests depend on each other. NaN is no test: it stays NaN and does not count.
    """
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(len(p), math.nan)
    order = np.argsort(p)[: np.isfinite(p).sum()]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p[order]), 1.0)
    return adjusted


def ranks(values: Values) -> np.ndarray:
    """Ranks [n] from 1 for the smallest; ties share their mean rank. Values equal to 10 significant digits tie."""
    rounded = [float(f"{value:.10g}") for value in values]
    _, place, count = np.unique(rounded, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def kendall_w(scores: np.ndarray) -> tuple[float, float]:
    """Kendall's W, how far m seeds agree on the order of n methods, and its p value. scores: [m, n].

    W = 12 Σ(Rᵢ − R̄)² / (m²(n³ − n) − m Σ(t³ − t)), Rᵢ the sum of method i's ranks, t the sizes of ties within a seed:
    1 for the same order in every seed, 0 for none (Kendall & Babington Smith, 1939). p: the share of 10,000 orders,
    shuffled within each seed (the observed one among them), that agree at least as much; no large-sample approximation.
    Both NaN with fewer than 2 seeds or methods, or if every seed ties all methods.
    """
    m, n = scores.shape
    by_seed = np.array([ranks(row) for row in scores]).reshape(m, n)
    ties = sum((count**3 - count).sum() for row in by_seed for count in [np.unique(row, return_counts=True)[1]])
    most = m**2 * (n**3 - n) - m * ties
    if m < 2 or n < 2 or most == 0:
        return math.nan, math.nan
    middle = m * (n + 1) / 2
    spread = ((by_seed.sum(0) - middle) ** 2).sum()
    shuffled = np.take_along_axis(by_seed[None], _shuffles(m, n), 2).sum(1)
    as_much = (((shuffled - middle) ** 2).sum(1) >= spread - 1e-9).sum()
    return float(12 * spread / most), float((1 + as_much) / (1 + _DRAWS))


@functools.lru_cache(maxsize=2)
def _shuffles(m: int, n: int) -> np.ndarray:
    orders = np.broadcast_to(np.arange(n), (_DRAWS, m, n))
    return numpy_generator("kendall", m, n).permuted(orders, axis=2)


def spearman(a: Values, b: Values) -> float:
    """Spearman's rank correlation: Pearson's on the ranks, in [−1, 1].

    NaN with fewer than 3 values, or if one side ties all of them.
    """
    x, y = (r - r.mean() for r in (ranks(a), ranks(b)))
    scale = math.sqrt((x @ x) * (y @ y))
    return float(x @ y) / scale if len(x) >= 3 and scale > 0 else math.nan


def kendall_tau(a: Values, b: Values) -> float:
    """Kendall's τ_b, how alike two orders are: (C − D) / √((n₀ − n_a)(n₀ − n_b)), in [−1, 1].

    C, D: pairs in the same and in the reverse order, n₀ all pairs, n_a and n_b those that a or b ties (Kendall, 1945).
    NaN with fewer than 3 values, or if one side ties all of them. Values equal to 10 significant digits tie.
    """
    signs = [np.sign(r[:, None] - r) for r in (ranks(a), ranks(b))]
    scale = math.sqrt(np.prod([np.abs(s).sum() for s in signs]))
    return float((signs[0] * signs[1]).sum() / scale) if len(signs[0]) >= 3 and scale > 0 else math.nan
