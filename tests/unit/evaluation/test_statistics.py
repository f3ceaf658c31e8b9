"""Intervals, tests and orders against SciPy, enumeration and numbers worked by hand."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lacuna.evaluation.statistics import (
    holm,
    kendall_tau,
    kendall_w,
    least_effect,
    paired_p,
    ranks,
    spearman,
    t_interval,
)
from lacuna.randomness import numpy_generator


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


def coverage(draw, n, truth, draws=20_000):
    """Share of intervals that hold the truth; as `t_interval` computes them, all at once."""
    values = draw(np.random.default_rng(n), (draws, n))
    _, low, high = t_interval(values[0])
    scale = (high - low) / values[0].std(ddof=1)
    ends = values.mean(1)[:, None] + scale / 2 * values.std(1, ddof=1)[:, None] * [-1, 1]
    np.testing.assert_allclose(ends[1], t_interval(values[1])[1:])
    return float(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())


@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_interval_covers_the_truth_as_often_as_it_says(n):
    assert 0.94 <= coverage(lambda rng, size: rng.normal(1.0, 3.0, size), n, 1.0) <= 0.96


@pytest.mark.parametrize(("n", "covered"), [(3, 0.888), (5, 0.883), (10, 0.900), (20, 0.918)])
def test_interval_of_skewed_values_covers_less(n, covered):
    """Exponential values: what docs/tables.md says of them."""
    assert coverage(lambda rng, size: rng.exponential(1.0, size), n, 1.0) == pytest.approx(covered, abs=0.01)


# ---- tests ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-1000, 1000), min_size=3, max_size=20).filter(lambda v: len(set(v)) > 1))
def test_paired_p_is_the_one_of_scipy(values):
    assert paired_p(values) == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, rel=1e-9)


@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_interval_excludes_zero_exactly_where_the_test_is_significant(n):
    """On differences whose p values lie on both sides of 0.05, at every number of seeds."""
    rng = np.random.default_rng(n)
    excluded = significant = 0
    for _ in range(500):
        differences = rng.normal(rng.choice([0.0, 2.0]) / math.sqrt(n), 1.0, n)
        _, low, high = t_interval(differences)
        assert (low > 0 or high < 0) == (paired_p(differences) < 0.05)
        excluded += low > 0 or high < 0
        significant += paired_p(differences) < 0.05
    assert 20 < excluded == significant < 480


@given(st.floats(0.5, 0.999))
def test_paired_test_and_t_interval_tell_the_same(level):
    """p is the level at which the interval ends at 0: below 1 − level the interval excludes it."""
    values = [0.1, 0.4, 0.2, 0.5, -0.1]
    _, low, high = t_interval(values, level)
    assert (low > 0 or high < 0) == (paired_p(values) < 1 - level)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0], [0.0] * 4, [-99.3] * 5, [0.1 + 0.2, 0.3, 0.3]])
def test_no_test_without_spread_or_seeds(values):
    assert math.isnan(paired_p(values))


@pytest.mark.parametrize(("n", "tests"), [(3, 1), (3, 7), (5, 7), (10, 1), (10, 20)])
def test_least_effect_is_found_four_times_of_five(n, tests):
    """Differences with this mean, in their standard deviations: simulated."""
    values = np.random.default_rng(0).normal(least_effect(n, tests), 1.0, (20_000, n))
    t = values.mean(1) / (values.std(1, ddof=1) / math.sqrt(n))
    found = 2 * scipy.stats.t.sf(np.abs(t), n - 1) < 0.05 / tests
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_no_effect_can_be_seen_without_a_test():
    assert math.isnan(least_effect(2)) and math.isnan(least_effect(10, 0))


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        # 4·0.005; 3·0.01; 2·0.03; 0.04, which may not fall below 0.06
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.4, 0.6, 0.5], [1.0, 1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.03], [0.03]),
        # NaN is no test: the family has two
        ([0.04, math.nan, 0.01], [0.04, math.nan, 0.02]),
        ([math.nan], [math.nan]),
        ([], []),
    ],
)
def test_holm_by_hand(p, adjusted):
    np.testing.assert_allclose(holm(p), adjusted, rtol=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_step_down_procedure_rejects(p, level):
    """From the smallest p on, reject while p ≤ level/(tests left)."""
    rejected = set()
    for i, k in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if (len(p) - i) * p[k] > level:
            break
        rejected.add(k)
    assert {k for k, a in enumerate(holm(p)) if a <= level} == rejected


# ---- orders ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12))
def test_ranks_are_those_of_scipy(values):
    assert ranks(values).tolist() == scipy.stats.rankdata(values).tolist()


def test_ranks_tie_values_that_differ_by_rounding_alone():
    assert ranks([0.3, 0.1 + 0.2, 0.4]).tolist() == [1.5, 1.5, 3.0]
    assert ranks([100 - 99.7, 100.3 - 100, 0.30001]).tolist() == [1.5, 1.5, 3.0]
    assert ranks([1e-13, 2e-13]).tolist() == [1, 2], "small is not equal"


def test_same_order_in_every_seed_is_w_1_and_opposite_orders_w_0():
    assert kendall_w(np.array([[1, 2, 3, 4], [10, 20, 30, 40], [0.1, 0.2, 0.7, 0.9]]))[0] == 1
    assert kendall_w(np.array([[1, 2, 3, 4], [4, 3, 2, 1]])) == (0, 1)
    assert kendall_w(np.array([[1, 1, 3], [2, 2, 9]]))[0] == 1, "with ties too"


@pytest.mark.parametrize(
    ("scores", "w"),
    [
        # rank sums 4, 8, 9, 9 around 7.5: Σ = 17; 12·17/(9·60)
        ([[1, 2, 3, 4], [1, 3, 2, 4], [2, 3, 4, 1]], 204 / 540),
        # ranks 1.5, 1.5, 3 and 1, 2.5, 2.5; sums 2.5, 4, 5.5: Σ = 4.5; each seed ties two, 2·(6 + 6) off 4·24
        ([[5, 5, 9], [1, 2, 2]], 12 * 4.5 / (96 - 24)),
        # the second seed ties all: ranks 1, 2, 3 and 2, 2, 2; Σ = 2; 2·24 off 96
        ([[1, 2, 3], [7, 7, 7]], 12 * 2 / (96 - 48)),
    ],
)
def test_w_by_hand(scores, w):
    assert kendall_w(np.array(scores))[0] == pytest.approx(w, rel=1e-12)


@given(
    st.tuples(st.integers(2, 5), st.integers(3, 6)).flatmap(
        lambda shape: st.lists(
            st.lists(st.integers(0, 4), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
        )
    )
)
def test_w_is_friedmans_statistic_over_its_maximum(scores):
    """χ² = m(n − 1)W, ties included; undefined where every seed ties all methods."""
    scores = np.array(scores)
    m, n = scores.shape
    w, p = kendall_w(scores)
    if (np.ptp(scores, axis=1) == 0).all():
        assert math.isnan(w) and math.isnan(p)
    else:
        assert m * (n - 1) * w == pytest.approx(scipy.stats.friedmanchisquare(*scores.T).statistic, abs=1e-9)
        assert 0 < p <= 1


@pytest.mark.parametrize("scores", [[[1, 2, 3], [1, 3, 2], [1, 2, 3]], [[1, 1, 2], [1, 2, 2], [1, 1, 2]]])
def test_p_of_w_is_the_share_of_all_orders_that_agree_as_much(scores):
    """Against every combination of orders of the three seeds, 216 of them."""
    scores = np.array(scores)
    _, p = kendall_w(scores)
    combinations = itertools.product(*(itertools.permutations(row) for row in scores))
    as_much = [((np.sum([ranks(row) for row in c], axis=0) - 6) ** 2).sum() for c in combinations]
    observed = ((np.sum([ranks(row) for row in scores], axis=0) - 6) ** 2).sum()
    assert p == pytest.approx(np.mean(np.array(as_much) >= observed - 1e-9), abs=0.02)
    assert 0.01 < p < 0.99, "a case that can tell"


def test_w_needs_two_seeds_and_two_methods():
    for shape in ((1, 4), (4, 1), (3, 0), (0, 3)):
        assert np.isnan(kendall_w(np.arange(float(np.prod(shape))).reshape(shape))).all()


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=3, max_size=10))
def test_spearman_is_the_one_of_scipy(pairs):
    a, b = zip(*pairs, strict=True)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert math.isnan(spearman(a, b))
    else:
        assert spearman(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-12)


def test_two_values_have_no_correlation():
    assert math.isnan(spearman([1, 2], [1, 2]))


# ---- Kendall's τ -----------------------------------------------------------------------------------------------------


def test_kendall_tau_is_that_of_scipy():
    rng = np.random.default_rng(0)
    for n in (3, 5, 20):
        for _ in range(20):
            a, b = rng.integers(0, 6, (2, n)).astype(float)
            expected = scipy.stats.kendalltau(a, b).statistic
            assert kendall_tau(a, b) == pytest.approx(expected, nan_ok=True)


def test_kendall_tau_of_next_to_nothing_is_none():
    assert math.isnan(kendall_tau([1.0, 2.0], [1.0, 2.0]))
    assert math.isnan(kendall_tau([1.0, 1.0, 1.0 + 1e-13], [1.0, 2.0, 3.0]))


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 40])
def test_many_samples_have_each_what_they_have_alone(n):
    """To the last bit, with ties, equal values and tests that are none."""
    rng = np.random.default_rng(n)
    values = rng.normal(50, 3, (60, n))
    values[::4], values[1] = np.round(values[::4]), 2.5
    p = np.where(rng.random(values.shape) < 0.2, np.nan, np.round(rng.random(values.shape), 2))
    for of, many in (
        (t_interval, np.stack(t_interval(values), 1)),
        (paired_p, paired_p(values)),
        (ranks, ranks(values)),
    ):
        assert np.array_equal(many, [of(row) for row in values], equal_nan=True)
    assert np.array_equal(holm(p), [holm(row) for row in p], equal_nan=True)
    assert np.array_equal(spearman(values, p), [spearman(a, b) for a, b in zip(values, p, strict=True)], equal_nan=True)


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (10, 6)])
def test_many_tables_agree_each_as_if_it_were_alone(shape):
    """p too: a shuffle of one is a shuffle of each."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(70, *shape)) + 2 * rng.normal(size=(70, 1, shape[1]))
    scores[:20], scores[0] = np.round(scores[:20]), 1.0
    w, p = kendall_w(scores)
    assert math.isnan(w[0]) and len({*p[1:].tolist()}) > 2
    for number in (0, 1, 19, 63, 64, 69):
        assert np.array_equal(kendall_w(scores[number]), (w[number], p[number]), equal_nan=True)


def test_shuffled_orders_are_the_same_in_a_quarter_of_the_memory():
    from lacuna.evaluation.statistics import _DRAWS, _shuffles

    wide = np.broadcast_to(np.arange(5), (_DRAWS, 2, 5))
    orders = _shuffles(2, 5)
    assert np.array_equal(orders, numpy_generator("kendall", 2, 5).permuted(wide, axis=2)) and orders.itemsize == 2


def test_p_of_agreement_counts_the_shuffles_one_by_one():
    """By the definition, on fractions of ranks: no rounding decides."""
    from lacuna.evaluation.statistics import _shuffles

    scores = np.array([[1.0, 2.0, 2.0, 4.0], [2.0, 1.0, 3.0, 4.0], [1.0, 3.0, 2.0, 2.0]])
    by_seed = np.array([scipy.stats.rankdata(row) for row in scores])
    spread = ((by_seed.sum(0) - 7.5) ** 2).sum()
    as_much = sum(
        ((sum(row[order] for row, order in zip(by_seed, orders, strict=True)) - 7.5) ** 2).sum() >= spread - 1e-9
        for orders in _shuffles(3, 4)
    )
    assert kendall_w(scores)[1] == (1 + as_much) / 10_000
