"""Population metrics against brute force, closed forms and pools whose truth is known."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lacuna.errors import LacunaError
from lacuna.evaluation.population import POPULATION_METRICS, Pool, attacks, evaluate_population
from lacuna.evaluation.population.attacks import auc, rmia, roc, thinned, tpr_at, u_lira
from lacuna.evaluation.population.distance import epsilon, epsilon_score, forget_score, klom
from lacuna.predictions import margin

# ---- margins ---------------------------------------------------------------------------------------------------------


def test_margin_is_the_log_odds_of_the_label():
    p = np.array([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]])
    np.testing.assert_allclose(margin(np.log(p), np.array([1, 0])), [0.0, math.log(9)], atol=1e-12)


def test_margin_survives_where_the_confidence_is_one():
    x = np.array([[[800.0, 0.0, 0.0]], [[0.0, 900.0, 0.0]]], dtype=np.float32)
    np.testing.assert_allclose(margin(x, np.array([0])), [[800 - math.log(2)], [-900.0]], rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_margin_of_a_logit_that_is_not_finite_is_refused(bad):
    x = np.zeros((2, 5, 3))
    x[1, 3, 0] = bad
    with pytest.raises(LacunaError, match="the logits of sample 3 are not finite"):
        margin(x, np.zeros(5, int))


# ---- ROC -------------------------------------------------------------------------------------------------------------

SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30).filter(
    lambda pairs: len({positive for _, positive in pairs}) == 2
)


@given(SCORED)
def test_curve_is_what_each_threshold_gives(pairs):
    """Ties included: every point is a threshold, AUC is the Mann-Whitney statistic, TPR at an FPR is a maximum."""
    scores, positive = (np.array(x) for x in zip(*pairs, strict=True))
    yes, no = scores[positive], scores[~positive]
    points = {(float((no >= t).mean()), float((yes >= t).mean())) for t in [*scores, 99]}
    fpr, tpr = roc(scores.astype(float), positive)
    assert set(zip(fpr.tolist(), tpr.tolist(), strict=True)) == points
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    wins = (yes[:, None] > no).mean() + 0.5 * (yes[:, None] == no).mean()
    assert auc(fpr, tpr) == pytest.approx(wins, abs=1e-12)
    for level in (0.0, 0.01, 0.1, 0.3, 0.5, 1.0):
        assert tpr_at(level, fpr, tpr) == max(t for f, t in points if f <= level)


def test_nothing_is_gained_between_two_thresholds():
    """All scores equal: the only rules call all or nothing positive, so at 1 % FPR nothing is found."""
    fpr, tpr = roc(np.zeros(200), np.arange(200) < 100)
    assert (tpr_at(0.01, fpr, tpr), tpr_at(0.999, fpr, tpr), tpr_at(1.0, fpr, tpr)) == (0, 0, 1)
    assert auc(fpr, tpr) == 0.5


def test_a_level_that_is_hit_exactly_counts():
    """3 of 300 negatives above the threshold are 1 %, whatever 3/300 rounds to."""
    for negatives in (100, 300, 700, 900):
        allowed = negatives // 100
        scores = np.concatenate([np.full(10, 5.0), np.full(allowed, 6.0), np.zeros(negatives - allowed)])
        assert tpr_at(0.01, *roc(scores, np.arange(len(scores)) < 10)) == 1.0
        scores[10 + allowed] = 6.0  # one more
        assert tpr_at(0.01, *roc(scores, np.arange(len(scores)) < 10)) == 0.0


@pytest.mark.parametrize("positive", [np.ones(3, bool), np.zeros(3, bool)])
def test_curve_of_one_kind_alone_is_refused(positive):
    with pytest.raises(LacunaError, match="allowed: at least one of each kind"):
        roc(np.arange(3.0), positive)


def test_thinned_curve_lies_on_or_under_the_curve():
    rng = np.random.default_rng(0)
    positive = np.arange(4000) < 2000
    fpr, tpr = roc(rng.normal(positive * 1.0, 1), positive)
    levels, rates = thinned(fpr, tpr)
    assert levels[0] >= 1 / 2000 and levels[-1] == 1 and rates[-1] == 1
    assert [tpr_at(x, fpr, tpr) for x in levels] == rates.tolist()


# ---- attacks ---------------------------------------------------------------------------------------------------------


def halves(models, n, rng):
    """bool [models, n]: pairs of complementary random halves."""
    first = rng.random((models // 2, n)) < 0.5
    return np.stack([first, ~first], 1).reshape(models, n)


def a_pool(shift=0.0, models=16, n=60, seed=0, spread=1.0, noise=0):
    """Margins around a level of each sample's own, higher by `shift` for models that unlearned the sample."""
    rng = np.random.default_rng(seed)
    draws = np.random.default_rng([seed, noise, 7])
    sizes = {"retain": 2 * n, "forget": n, "val": 40, "test": 50}
    member = {part: halves(models, sizes[part], rng) for part in ("retain", "forget")}
    phi, correct = {}, {}
    for part, size in sizes.items():
        level = rng.normal(3, 2, size)
        phi[part] = level + spread * draws.normal(size=(models, size))
        if part in member:
            phi[part] = phi[part] + (shift if part == "forget" else 2.0) * member[part]
        phi[part] = phi[part].astype(np.float32)
        correct[part] = phi[part] > 0
    index = {part: np.arange(size) for part, size in sizes.items()}
    return Pool(np.arange(models), phi, correct, member, index)


def one_u_lira_score(phi, unlearned, held_out, t, i, own):
    """The score of model t on sample i, one Gaussian at a time."""

    def fit(i, side):
        values = [phi[m, i] for m in range(len(phi)) if held_out[m] != held_out[t] and unlearned[m, i] == side]
        return np.mean(values), np.var(values, ddof=1), len(values)

    total = 0.0
    for side, sign in ((True, 1), (False, -1)):
        mean, variance, _ = fit(i, side)
        if not own:
            fits = [fit(j, side) for j in range(phi.shape[1])]
            variance = sum(v * (k - 1) for _, v, k in fits) / sum(k - 1 for *_, k in fits)
        total += sign * (-((phi[t, i] - mean) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance))
    return total


@pytest.mark.parametrize(("variance", "own"), [("sample", True), ("pooled", False), ("auto", False)])
def test_u_lira_is_the_log_likelihood_ratio_of_held_out_models(variance, own):
    rng = np.random.default_rng(1)
    unlearned = halves(8, 5, rng)
    phi, held_out = rng.normal(size=(8, 5)), np.arange(8) // 2
    found = u_lira(phi, unlearned, held_out, variance)
    for t in range(8):
        for i in range(5):
            assert found[t, i] == pytest.approx(one_u_lira_score(phi, unlearned, held_out, t, i, own), rel=1e-9)


def test_u_lira_fits_a_variance_per_sample_where_there_are_enough_models():
    rng = np.random.default_rng(2)
    for models, chosen in ((66, "sample"), (64, "pooled")):  # 32 and 31 fitting models on each side
        unlearned, phi = halves(models, 4, rng), rng.normal(size=(models, 4))
        both = [u_lira(phi, unlearned, np.arange(models) // 2, v) for v in ("auto", chosen)]
        np.testing.assert_array_equal(*both)


def test_scored_model_and_its_partner_have_no_part_in_the_attack():
    """Another answer of one model moves its own scores and those that it is a reference for, not its partner's."""
    pool = a_pool(models=8)
    unlearned, phi = pool.member["forget"], pool.phi["forget"].astype(np.float64)
    changed = phi.copy()
    changed[5] += 100.0
    for score in (
        lambda x: u_lira(x, unlearned, pool.pairs),
        lambda x: rmia(x, pool.population(), pool.pairs),
    ):
        before, after = score(phi), score(changed)
        np.testing.assert_array_equal(before[4], after[4])
        assert (before[[0, 1, 2, 3, 6, 7]] != after[[0, 1, 2, 3, 6, 7]]).any()


@given(st.integers(0, 10_000))
def test_rmia_is_a_count_over_population_samples(seed):
    """Brute force over models, samples and z; p as plain probabilities; ties at the threshold do not count."""
    rng = np.random.default_rng(seed)
    phi, z, held_out = rng.normal(0, 2, (4, 3)), rng.normal(0, 2, (4, 5)), np.array([0, 0, 1, 1])
    for gamma in (1.0, 2.0):
        found = rmia(phi, z, held_out, gamma)
        p_x, p_z = (1 / (1 + np.exp(-v)) for v in (phi, z))
        for t in range(4):
            others = held_out != held_out[t]
            for i in range(3):
                ratio = p_x[t, i] / p_x[others, i].mean()
                count = sum(ratio / (p_z[t, k] / p_z[others, k].mean()) > gamma for k in range(5))
                assert found[t, i] == count / 5


def test_rmia_of_a_sample_that_equals_a_population_sample():
    """The ratio is then exactly 1, which is not more than 1."""
    z = np.random.default_rng(0).normal(size=(4, 1))
    assert (rmia(z, z, np.arange(4) // 2) == 0).all()


def test_rmia_sees_past_a_confidence_of_one():
    """Margins of 40 and 60 are both p = 1 in float64; the larger one still counts as more."""
    phi, z = np.full((4, 1), 40.0), np.full((4, 1), 40.0)
    phi[0] = 60.0
    assert rmia(phi, z, np.arange(4) // 2)[0, 0] == 1


@pytest.mark.parametrize("attack", ["u_lira", "rmia"])
@pytest.mark.parametrize("models", [6, 16])
def test_perfect_unlearning_cannot_be_told(attack, models):
    """Identical distributions: the mean AUC over many pools is 1/2 within four standard errors, however few models."""
    values = [POPULATION_METRICS[f"{attack}_auc"](a_pool(0.0, models=models, seed=s)) for s in range(60)]
    assert np.mean(values) == pytest.approx(0.5, abs=4 * np.std(values, ddof=1) / math.sqrt(60))
    assert np.std(values) < 0.06


def test_leaving_out_one_model_alone_is_biased():
    """Why pairs are held out: the scored model's own side would be short of one, and the AUC fall below 1/2."""
    found = {"pair": [], "alone": []}
    for seed in range(40):
        pool = a_pool(0.0, models=6, seed=seed)
        unlearned, phi = pool.member["forget"], pool.phi["forget"]
        for name, held_out in (("pair", pool.pairs), ("alone", pool.models)):
            found[name].append(auc(*roc(u_lira(phi, unlearned, held_out), unlearned)))
    assert np.mean(found["alone"]) < 0.48 < 0.49 < np.mean(found["pair"]) < 0.51


@pytest.mark.parametrize("attack", ["u_lira", "rmia"])
def test_remaining_knowledge_is_found(attack):
    """The larger the trace, the larger the AUC; its interval over pairs excludes 1/2."""
    pools = [a_pool(shift) for shift in (0.0, 1.0, 3.0)]
    values = [POPULATION_METRICS[f"{attack}_auc"](pool) for pool in pools]
    assert values[0] < 0.56 < 0.65 < values[1] < values[2]
    mean, low, high = attacks.summary_of(pools[1], attack)["auc_per_pair"]
    assert 0.5 < low < mean < high


def test_u_lira_reaches_the_bound_of_two_known_gaussians():
    """With many models the attack is the optimal test: AUC = Φ(d/√2), accuracy Φ(d/2), for margins d apart."""
    pool = a_pool(1.0, models=128, n=150)
    normal = lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2)))  # noqa: E731
    assert attacks.u_lira_auc(pool) == pytest.approx(normal(1 / math.sqrt(2)), abs=0.01)
    assert attacks.u_lira_accuracy(pool) == pytest.approx(100 * normal(0.5), abs=1)


def test_margins_that_do_not_vary_give_no_nan():
    pool = a_pool(0.0, models=6, spread=0.0)
    for metric in ("u_lira_auc", "rmia_auc"):
        assert POPULATION_METRICS[metric](pool) == 0.5
    assert (attacks.attack_scores(pool, "u_lira") == 0).all()


def test_attacks_refuse_what_they_cannot_do():
    rng = np.random.default_rng(0)
    unlearned, phi = halves(4, 3, rng), rng.normal(size=(4, 3))
    with pytest.raises(
        LacunaError, match="u_lira: 1 models beside the held-out ones unlearned sample 0; allowed: at lea"
    ):
        u_lira(phi, unlearned, np.arange(4) // 2)
    with pytest.raises(LacunaError, match="variance 'mine' is not allowed; allowed: auto, sample, pooled"):
        u_lira(phi, unlearned, np.arange(4) // 2, "mine")
    for z, held_out in ((phi[:, :0], np.arange(4)), (phi, np.zeros(4))):
        with pytest.raises(LacunaError, match="rmia: no population sample or no reference model"):
            rmia(phi, z, held_out)


# ---- distances -------------------------------------------------------------------------------------------------------


def test_klom_by_hand():
    """Ten margins at 0 and ten at 1 against five and fifteen: two of the twenty bins are filled."""
    p, q = np.repeat([0.0, 1.0], [10, 10])[:, None], np.repeat([0.0, 1.0], [5, 15])[:, None]
    assert klom(p, q)[0] == pytest.approx(0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75), rel=1e-12)
    # the other way round, and on any scale
    assert klom(200 * q - 100, 200 * p - 100)[0] == pytest.approx(
        0.25 * math.log(0.5) + 0.75 * math.log(1.5), rel=1e-12
    )


def test_klom_of_disjoint_margins_is_bounded_by_the_least_frequency():
    """Q gets 1e-5 where P has everything, and is normalised again."""
    assert klom(np.zeros((4, 1)), np.ones((4, 1)))[0] == pytest.approx(math.log((1 + 1e-5) / 1e-5), rel=1e-12)


def test_klom_of_equal_sets_is_zero_and_clips():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 5, (12, 7))
    assert np.abs(klom(x, x[::-1])).max() < 1e-15
    assert (klom(np.full((3, 2), 4.0), np.full((5, 2), 4.0)) == 0).all(), "constants"
    assert (klom(np.full((3, 2), 1e3), np.full((5, 2), 1e6)) == 0).all(), "both beyond the clip"


def test_epsilon_by_hand():
    """A single threshold is right about 3 of 4 on both sides; windows of this width see less: ln(1 − δ − ¼) − ln ¼."""
    low, high = np.array([0.0, 10, 20, 90])[:, None], np.array([5.0, 80, 95, 100])[:, None]
    for pair in ((low, high), (high, low)):
        assert epsilon(*pair)[0] == pytest.approx(math.log((0.75 - 1e-5) / 0.25), rel=1e-9)


def brute_epsilon(u, r, delta=1e-5):
    """Every rule of the definition, one at a time."""
    positive, negative = (r, u) if np.median(r) > np.median(u) else (u, r)
    spans = [np.ptp(positive), np.ptp(negative)]
    if min(spans) / max(spans) < 0.01:
        return 50.0
    every = np.concatenate([u, r])
    rates = []
    for t in np.linspace(every.min(), every.max(), math.ceil(100 * (every.max() - every.min()))):
        rates.append(((negative >= t).mean(), (positive < t).mean()))
    peaky = positive if spans[0] < spans[1] else negative
    w = np.ptp(peaky)
    low, high = peaky.min() + w - 2, peaky.max() + 2
    for t in np.linspace(low, high, math.ceil(100 * (high - low))):
        left = np.linspace(t - w - 2, t - w + 2, 400)[:, None]
        in_p, in_n = (((x >= left) & (x <= t)).mean(1) for x in (positive, negative))
        rates += zip(*((in_n, 1 - in_p) if peaky is positive else (1 - in_n, in_p)), strict=True)
    best = 0.0
    for a, b in set(rates):
        if a == b == 0:
            return 50.0
        if a == 0 or b == 0:
            continue
        for x, y in ((a, b), (b, a)):
            if 1 - delta - x > 0:
                best = max(best, math.log(1 - delta - x) - math.log(y))
    return min(best, 50.0)


@pytest.mark.parametrize("seed", range(4))
def test_epsilon_is_the_best_of_all_rules(seed):
    rng = np.random.default_rng(seed)
    u = rng.normal(0, 0.3 + 0.2 * seed, (6, 1)).round(2)
    r = rng.normal(0.3 * seed, 0.5, (6, 1)).round(2)
    assert epsilon(u, r)[0] == pytest.approx(brute_epsilon(u[:, 0], r[:, 0]), rel=1e-12)


def test_epsilon_of_what_is_told_apart_wholly_or_not_at_all():
    x = np.random.default_rng(0).normal(size=(9, 1))
    assert epsilon(x, x + 100)[0] == 50
    assert epsilon(x, np.linspace(-500, 500, 9)[:, None])[0] == 50, "a range below 1 % of the other"
    assert epsilon(np.ones((3, 1)), np.ones((3, 1)))[0] == 0, "the same constant"
    assert epsilon(np.ones((3, 1)), np.zeros((3, 1)))[0] == 50, "two constants"


def test_points_by_hand():
    """⌈ln 31⌉ = 4: buckets up to [3.5, 4) count, each half of the one before."""
    eps = np.array([0.0, 0.49, 0.5, 1.0, 3.5, 3.99, 4.0, 50.0])
    points = [1, 1, 1 / 2, 1 / 4, 2**-7, 2**-7, 0, 0]
    assert forget_score(eps, 32) == pytest.approx(np.mean(points), rel=1e-15)
    assert forget_score(np.array([0.9, 1.0]), 3) == 0.25, "⌈ln 2⌉ = 1: the second bucket is the last"
    with pytest.raises(LacunaError, match="2 models on a side are not enough; allowed: at least 3"):
        forget_score(eps, 2)


def test_score_is_points_times_utility_ratios():
    x = np.random.default_rng(0).normal(size=(9, 5))
    # of equal sets no rule says more than its own complement does: the points are what is left to compare
    points = forget_score(epsilon(x, x), 9)
    assert points > 0
    assert epsilon_score(x, x, (90, 100), (45, 50)) == pytest.approx(points * 0.9 * 0.9, rel=1e-12)
    with pytest.raises(LacunaError, match="the retrained models have accuracy 0"):
        epsilon_score(x, x, (90, 100), (45, 0))


@pytest.mark.parametrize("distance", [klom, epsilon])
def test_distance_of_a_margin_that_is_not_finite_is_refused(distance):
    x = np.zeros((4, 3))
    bad = x.copy()
    bad[2, 1] = np.nan
    for pair in ((bad, x), (x, bad)):
        with pytest.raises(LacunaError, match="the margin of model 2 on sample 1 is not finite"):
            distance(*pair)


# ---- pools -----------------------------------------------------------------------------------------------------------


def jobs_of(pool, cuts=(3,)):
    """The pool as jobs stored it, each with some of its models."""
    jobs = {}
    for i, rows in enumerate(np.split(np.arange(len(pool.models)), cuts)):
        jobs[f"{i}.npz"] = {"models": pool.models[rows], "dataset": np.array("hash")}
        for kind in ("phi", "correct", "member"):
            jobs[f"{i}.npz"] |= {f"{kind}/{part}": x[rows] for part, x in getattr(pool, kind).items()}
        jobs[f"{i}.npz"] |= {f"index/{part}": x for part, x in pool.index.items()}
    return jobs


def test_pool_is_the_same_however_its_jobs_are_cut_and_ordered():
    pool, oracle = a_pool(1.0, models=8, n=12), a_pool(0.0, models=8, n=12, noise=1)
    expected = evaluate_population(pool, {"retrain": oracle})
    for cuts in ((), (3,), (2, 5)):
        again = Pool.from_jobs(jobs_of(pool, cuts))
        assert evaluate_population(again, {"retrain": oracle}) == expected
    turned = dict(reversed(jobs_of(pool).items()))
    values = evaluate_population(Pool.from_jobs(turned))
    assert values == pytest.approx({k: v for k, v in expected.items() if "/" not in k}, rel=1e-12)


def test_metrics_of_a_pool_are_in_their_range_and_an_oracle_is_at_no_distance_from_itself():
    pool = a_pool(1.0, models=8)
    found = evaluate_population(pool, {"same": pool, "other": a_pool(0.0, models=8, noise=1)})
    assert found["klom/same"] == 0
    assert found["klom/other"] > 0
    for name, value in found.items():
        about = POPULATION_METRICS[name.partition("/")[0]].about
        assert about["low"] <= value <= (math.inf if about["high"] is None else about["high"])
        assert about["oracle"] == ("/" in name)
        assert about["better"] in {"lower", "higher", "oracle"} and about["unit"] and about["source"]
    names = {"u_lira_auc", "u_lira_accuracy", "u_lira_tpr_1", "u_lira_tpr_01", "rmia_auc", "rmia_tpr_1", "rmia_tpr_01"}
    oracle_names = {f"{m}/{o}" for m in ("klom", "klom_p95", "klom_test", "epsilon_score") for o in ("same", "other")}
    assert set(found) == names | oracle_names


def test_distances_are_over_the_models_that_had_the_sample():
    """Whatever models say of a sample that they never saw, unlearned and oracle alike, does not matter."""
    pool, oracle = a_pool(1.0, models=8), a_pool(0.0, models=8, noise=1)
    expected = evaluate_population(pool, {"o": oracle}, ["klom", "epsilon_score"])
    for p in (pool, oracle):
        p.phi["forget"][~p.member["forget"]] = -77
    assert evaluate_population(pool, {"o": oracle}, ["klom", "epsilon_score"]) == expected
    pool.phi["forget"][pool.member["forget"]] -= 1
    assert evaluate_population(pool, {"o": oracle}, ["klom"]) != {"klom/o": expected["klom/o"]}


def test_rmia_of_a_pool_compares_with_what_no_model_saw():
    pool = a_pool(1.0, models=6)
    never_seen = np.concatenate([pool.phi["val"], pool.phi["test"]], axis=1)
    expected = rmia(pool.phi["forget"], never_seen, np.array([0, 0, 1, 1, 2, 2]))
    np.testing.assert_array_equal(attacks.attack_scores(pool, "rmia"), expected)


def test_retain_accuracy_is_of_each_model_on_its_own_half():
    pool = a_pool(models=6)
    pool.correct["retain"][:] = pool.member["retain"]
    assert pool.accuracy("retain") == 100
    pool.correct["retain"][0] = False
    assert pool.accuracy("retain") == pytest.approx(100 * (1 - pool.member["retain"][0].sum() / (3 * 120)))
    assert pool.accuracy("test") == pytest.approx(100 * pool.correct["test"].mean())


def test_too_few_or_unpaired_models_are_refused():
    with pytest.raises(LacunaError, match="4 shadow models are not enough to score held-out ones; allowed: at least 6"):
        a_pool(models=4)
    pool = a_pool(models=8)
    jobs = jobs_of(pool, (7,))
    del jobs["1.npz"]
    with pytest.raises(LacunaError, match="shadow models 6 and 7 must both be there, once"):
        Pool.from_jobs(jobs)
    with pytest.raises(LacunaError, match="must both be there, once"):
        Pool.from_jobs(jobs_of(pool) | {"again": jobs_of(pool)["0.npz"]})


def test_halves_that_overlap_are_refused():
    pool = a_pool(models=6)
    pool.member["retain"][2, 5] ^= True
    with pytest.raises(LacunaError, match="not complementary in 'retain'"):
        Pool.from_jobs(jobs_of(pool))


def test_margin_in_a_file_that_is_not_finite_is_refused_by_model_and_sample():
    pool = a_pool(models=6)
    pool.phi["test"][4, 9] = np.inf
    with pytest.raises(LacunaError, match="shadow model 4: its margin on sample 9 of 'test' is not finite"):
        Pool.from_jobs(jobs_of(pool))


@pytest.mark.parametrize("key", ["dataset", "index/forget", "index/test"])
def test_files_of_other_pools_are_refused_by_name(key):
    jobs = jobs_of(a_pool(models=8), (2, 5))
    jobs["2.npz"][key] = np.array("another") if key == "dataset" else jobs["2.npz"][key] + 1
    with pytest.raises(LacunaError, match=r"^2.npz: its shadow models are of another pool than those of 0.npz; delete"):
        Pool.from_jobs(jobs)


def test_oracle_of_other_halves_is_refused():
    pool = a_pool(models=8)
    for other in (a_pool(models=8, seed=1), a_pool(models=6), a_pool(models=8, n=61)):
        with pytest.raises(
            LacunaError, match="oracle 'exact' has other shadow models: not the same halves of the same po"
        ):
            evaluate_population(pool, {"exact": other})


def test_unknown_metric_is_refused():
    with pytest.raises(LacunaError, match=r"unknown population metric 'lira'; allowed: .*u_lira_auc"):
        evaluate_population(a_pool(), metrics=["lira"])


def test_population_metrics_import_no_torch():
    code = (
        "import sys\n"
        "from lacuna.evaluation.population import POPULATION_METRICS\n"
        "list(POPULATION_METRICS.values())\n"
        "print([m for m in ('torch', 'sklearn', 'matplotlib', 'pandas') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


@pytest.mark.parametrize(("models", "few"), [(30, True), (32, False)])
def test_klom_of_few_models_has_a_note(models, few):
    """Two sets of one distribution: the bias, which the note is about."""
    found = evaluate_population(a_pool(1.0, models=models), {"o": a_pool(1.0, models=models, noise=1)}, ["klom"])
    assert ("klom/o" in found.notes) == few
    if few:
        assert found.notes["klom/o"].startswith("15 models a side: with fewer than 16 mostly bias")
