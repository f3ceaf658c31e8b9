"""What seeds, the replicates of every experiment, can tell: intervals, paired tests, agreement of orders.

Values of the shape [n] are one sample, [..., n] many, each along the last axis: the answers have then the shape [...],
and every sample has the same as if it were alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import nctdtrinc, stdtr, stdtrit

from lacuna.randomness import numpy_generator

MIN_SEEDS = 3
# largest p value that is called significant, and the chance to find what is there that an effect size is told for
LEVEL = 0.05
POWER = 0.8
# shuffles of a permutation test: with the observed order 10,000
_DRAWS = 9999
# how many of them, and of the tables that are shuffled, are worked on at once: arrays that a cache holds
_AT_ONCE, _COLUMNS = 500, 64

Values = Sequence[float] | np.ndarray
Interval = tuple[float, float, float]
# a number for one sample, an array for several
Numbers = Any


def t_interval(values: Values, level: float = 0.95) -> tuple[Numbers, Numbers, Numbers]:
    """Mean and the two ends of its t interval: mean ± t_{(1+level)/2, n−1} · s/√n, s with n−1 in the denominator.

    At every n: bootstraps of a mean are too narrow for few values (BCa covers 89 % at n = 10). The interval of paired
    differences excludes 0 exactly where `paired_p` is below 1 − level. With fewer than 3 values the ends are NaN: two
    seeds say next to nothing about their spread.
    """
    values = np.asarray(values, dtype=np.float64)
    n, mean = values.shape[-1], values.mean(-1)
    if n < MIN_SEEDS:
        return mean, mean * math.nan, mean * math.nan
    half = stdtrit(n - 1, (1 + level) / 2) * values.std(-1, ddof=1) / math.sqrt(n)
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


def paired_p(differences: Values) -> Numbers:
    """Two-sided p value of the paired t test that the mean difference is 0: t = mean/(s/√n), n − 1 degrees of freedom.

    NaN with fewer than 3 differences, or if all are equal: without spread there is no test.
    """
    differences = np.asarray(differences, dtype=np.float64)
    n, mean = differences.shape[-1], differences.mean(-1)
    if n < MIN_SEEDS:
        return mean * math.nan
    equal = np.ptp(differences, axis=-1) <= 1e-12 * np.abs(differences).max(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / (differences.std(-1, ddof=1) / math.sqrt(n))
    return np.where(equal, math.nan, 2 * stdtr(n - 1, -np.abs(t)))[()]


@functools.cache
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


def holm(p: Values) -> np.ndarray:
    """p values [..., k] adjusted for a family of tests: running maximum of (k − i)·p₍ᵢ₎, i from 0, ≤ 1 (Holm, 1979).

    Rejecting where the adjusted value is ≤ α keeps the chance of any false rejection in the family at most α, however
    the tests depend on each other. NaN is no test: it stays NaN and does not count.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, axis=-1)  # NaN last
    tests = np.isfinite(p).sum(-1, keepdims=True)
    factors = tests - np.arange(p.shape[-1])
    adjusted = np.minimum(np.maximum.accumulate(factors * np.take_along_axis(p, order, -1), axis=-1), 1.0)
    found = np.full(p.shape, math.nan)
    np.put_along_axis(found, order, np.where(factors > 0, adjusted, math.nan), -1)
    return found


def ranks(values: Values) -> np.ndarray:
    """Ranks [..., n] from 1 for the smallest; ties share their mean rank. Values equal to 10 significant digits tie."""
    first, last = _places(values)
    middle: np.ndarray = (first + last) / 2 + 1
    return middle


def _places(values: Values) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last place, from 0, among all in order, of those that tie with each value."""
    values = np.asarray(values, dtype=np.float64)
    rounded = np.array([float(f"{value:.10g}") for value in values.ravel().tolist()]).reshape(values.shape)
    order = np.argsort(rounded, axis=-1, kind="stable")
    ordered = np.take_along_axis(rounded, order, -1)
    place = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    new = np.ones(values.shape, dtype=bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    ends = np.ones(values.shape, dtype=bool)
    ends[..., :-1] = new[..., 1:]
    first = np.maximum.accumulate(np.where(new, place, 0), axis=-1)
    behind = np.where(ends, place, values.shape[-1])[..., ::-1]
    last = np.minimum.accumulate(behind, axis=-1)[..., ::-1]
    back = np.argsort(order, axis=-1, kind="stable")
    return np.take_along_axis(first, back, -1), np.take_along_axis(last, back, -1)


def kendall_w(scores: np.ndarray) -> tuple[Numbers, Numbers]:
    """Kendall's W, how far m seeds agree on the order of n methods, and its p value. scores: [..., m, n].

    W = 12 Σ(Rᵢ − R̄)² / (m²(n³ − n) − m Σ(t³ − t)), Rᵢ the sum of method i's ranks, t the sizes of ties within a seed:
    1 for the same order in every seed, 0 for none (Kendall & Babington Smith, 1939). p: the share of 10,000 orders,
    shuffled within each seed (the observed one among them), that agree at least as much; no large-sample approximation.
    Both NaN with fewer than 2 seeds or methods, or if every seed ties all methods.
    """
    *shape, m, n = scores.shape
    if m < 2 or n < 2:
        return (np.full(shape, math.nan)[()],) * 2
    first, last = _places(scores)
    by_seed = ((first + last) / 2 + 1).reshape(-1, m, n)
    size = (last - first + 1).reshape(-1, m * n)
    # over the ties, t times for each
    most = m**2 * (n**3 - n) - m * (size**2 - 1).sum(1)
    w, p = np.full((2, len(by_seed)), math.nan)
    if (known := np.flatnonzero(most)).size:
        spread = ((by_seed[known].sum(1) - m * (n + 1) / 2) ** 2).sum(1)
        w[known] = 12 * spread / most[known]
        p[known] = (1 + _as_much(by_seed[known], spread)) / (1 + _DRAWS)
    return w.reshape(shape)[()], p.reshape(shape)[()]


def _as_much(by_seed: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """How many shuffled orders [g] have rank sums that spread at least as much. by_seed: ranks [g, m, n]; spread: [g].

    In whole numbers, twice the centred ranks, so that no rounding decides; a product with the shuffles as a matrix of 0
    and 1 sums the ranks of many tables at once.
    """
    from scipy.sparse import csr_array  # which a plan, that asks for `least_effect`, need not load

    _, m, n = by_seed.shape
    exact = np.float32 if (m * (n - 1)) ** 2 * n < 2**24 else np.float64
    doubled = (2 * by_seed - (n + 1)).reshape(-1, m * n).T.astype(exact)
    orders = _shuffles(m, n)
    found = np.zeros(by_seed.shape[0], dtype=np.int64)
    for draw in range(0, _DRAWS, _AT_ONCE):
        some = orders[draw : draw + _AT_ONCE].transpose(0, 2, 1) + n * np.arange(m)
        rows = len(some) * n
        sums = csr_array((np.ones(some.size, exact), some.ravel(), m * np.arange(rows + 1)), shape=(rows, m * n))
        for start in range(0, len(found), _COLUMNS):
            part = slice(start, start + _COLUMNS)
            shuffled = (sums @ np.ascontiguousarray(doubled[:, part])).reshape(len(some), n, -1)
            found[part] += (np.einsum("dng,dng->dg", shuffled, shuffled) >= 4 * spread[part]).sum(0)
    return found


@functools.lru_cache(maxsize=2)
def _shuffles(m: int, n: int) -> np.ndarray:
    """[draws, m, n]: so many orders of n, for each of m seeds."""
    # of 200 methods and ten seeds 40 MB instead of 160; the same orders, whatever the type
    orders = np.broadcast_to(np.arange(n, dtype=np.uint16 if n < 2**16 else np.int64), (_DRAWS, m, n))
    return numpy_generator("kendall", m, n).permuted(orders, axis=2)


def spearman(a: Values, b: Values) -> Numbers:
    """Spearman's rank correlation: Pearson's on the ranks, in [−1, 1].

    NaN with fewer than 3 values, or if one side ties all of them.
    """
    return correlation_of_ranks(ranks(a), ranks(b))


def correlation_of_ranks(a: np.ndarray, b: np.ndarray) -> Numbers:
    """The same of two rows of ranks, or of each row of one with the same row of the other."""
    x, y = (r - r.mean(-1, keepdims=True) for r in (a, b))
    scale = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    known = (scale > 0) & (a.shape[-1] >= 3)
    return np.where(known, (x * y).sum(-1) / np.where(scale > 0, scale, 1.0), math.nan)[()]


def kendall_tau(a: Values, b: Values) -> float:
    """Kendall's τ_b, how alike two orders are: (C − D) / √((n₀ − n_a)(n₀ − n_b)), in [−1, 1].

    C, D: pairs in the same and in the reverse order, n₀ all pairs, n_a and n_b those that a or b ties (Kendall, 1945).
    NaN with fewer than 3 values, or if one side ties all of them. Values equal to 10 significant digits tie.
    """
    signs = [np.sign(r[:, None] - r) for r in (ranks(a), ranks(b))]
    scale = math.sqrt(np.prod([np.abs(s).sum() for s in signs]))
    return float((signs[0] * signs[1]).sum() / scale) if len(signs[0]) >= 3 and scale > 0 else math.nan
