"""How far the distribution of unlearned models is from that of retrained ones: KLOM and the ε-score.

Per forgotten sample, two sets of margins: of the models that unlearned it, and of the oracles retrained on the same
halves without D_f. With few models both are noisy, and KLOM is biased upwards: with fewer than 16 a side it has a note;
the second oracle's value, or that of an oracle's twin, is what a perfect unlearner would get.
"""

from __future__ import annotations

import math

import numpy as np

from lacuna.errors import LacunaError
from lacuna.evaluation.cell import Noted
from lacuna.evaluation.population.pool import Pool
from lacuna.registry import register

EPSILON_CAP = 50.0
# with fewer on a side KLOM is mostly its own bias: 8.5 nats with 4, 6.5 with 8, for two sets of one distribution
FEW_MODELS = 16


def klom(
    unlearned: np.ndarray, oracle: np.ndarray, bins: int = 20, clip: float = 100.0, least: float = 1e-5
) -> np.ndarray:
    """KLOM: per sample, KL(P‖Q) in nats between the histograms of the margins of unlearned (P) and oracle (Q) models.

    unlearned, oracle: float [models, n], numbers of models may differ. Margins are clipped to ±clip; `bins` equal bins
    go from the joint minimum to the joint maximum, the last one closed. Where P > 0, Q is at least `least`; then Q is
    normalised again. Returns float64 [n], ≥ 0 up to rounding. Raises LacunaError for a margin that is not finite.
    Source: Georgiev et al., 2024 (Attribute-to-delete).
    """
    _refuse_non_finite("klom", unlearned, oracle)
    p, q = (np.clip(x.astype(np.float64), -clip, clip) for x in (unlearned, oracle))
    low = np.minimum(p.min(0), q.min(0))
    width = np.maximum(p.max(0), q.max(0)) - low
    width = np.where(width > 0, width, 1.0)
    p, q = (_frequencies((x - low) / width, bins) for x in (p, q))
    q = np.where(p > 0, np.maximum(q, least), q)
    q /= q.sum(0)
    seen = p > 0
    divergence: np.ndarray = np.where(seen, p * np.log(np.where(seen, p, 1.0) / np.where(seen, q, 1.0)), 0.0).sum(0)
    return divergence


def _frequencies(x: np.ndarray, bins: int) -> np.ndarray:
    """Share of each column of x, [models, n] in [0, 1], in each of `bins` equal bins: [bins, n]."""
    place = np.minimum((x * bins).astype(np.int64), bins - 1)
    counts = np.zeros((bins, x.shape[1]))
    np.add.at(counts, (place, np.broadcast_to(np.arange(x.shape[1]), place.shape)), 1.0)
    return counts / len(x)


def epsilon(unlearned: np.ndarray, retrained: np.ndarray, delta: float = 1e-5) -> np.ndarray:
    """Per-sample ε of the NeurIPS 2023 challenge: the strongest evidence that any tried rule tells both kinds apart.

    unlearned, retrained: float [models, n], logit-scaled confidences (`margin`). Rules: score ≥ t on the side of the
    larger median, t on a grid of 0.01 over all values; and score within [s, t] for the distribution with the
    smaller range, on the same grid. A rule with false positive rate a and false negative rate b shows
    max(ln(1−δ−a) − ln b, ln(1−δ−b) − ln a); infinity if both are 0; nothing if one is. ε is the maximum, in [0, 50];
    50 too where one range is below 1 % of the other. Returns float64 [n].
    Raises LacunaError for a value that is not finite.
    Source: Triantafillou et al., 2024 (Are we making progress in unlearning?), the challenge's released scoring.
    """
    _refuse_non_finite("epsilon", unlearned, retrained)
    columns = zip(unlearned.T.astype(np.float64), retrained.T.astype(np.float64), strict=True)
    return np.array([_epsilon_of_one(u, r, delta) for u, r in columns])


def _epsilon_of_one(unlearned: np.ndarray, retrained: np.ndarray, delta: float) -> float:
    positive, negative = unlearned, retrained
    if np.median(retrained) > np.median(unlearned):
        positive, negative = retrained, unlearned
    ranges = [float(np.ptp(x)) for x in (positive, negative)]
    if max(ranges) == 0:  # two constants
        return 0.0 if positive[0] == negative[0] else EPSILON_CAP
    if min(ranges) / max(ranges) < 0.01:
        return EPSILON_CAP
    values = np.concatenate([positive, negative])
    thresholds = np.linspace(values.min(), values.max(), math.ceil(100 * np.ptp(values)))
    a, b = (np.searchsorted(np.sort(x), thresholds, side="left") / len(x) for x in (negative, positive))
    rules = [(1 - a, b)]
    peaky, other = (positive, negative) if ranges[0] < ranges[1] else (negative, positive)
    low, width = float(peaky.min()), float(np.ptp(peaky))
    first, last = low + width - 2, float(peaky.max()) + 2
    right = np.linspace(first, last, math.ceil(100 * (last - first)))
    left = np.linspace(right - width - 2, right - width + 2, 400)
    # what a window holds hangs only on how many values lie left of its ends: each such pair once
    ordered = np.sort(values)
    ends = np.zeros((len(values) + 1,) * 2, dtype=bool)
    ends[np.searchsorted(ordered, left, side="left"), np.searchsorted(ordered, right, side="right")] = True
    start, stop = np.nonzero(ends)
    inside = [_counted(x, ordered, start, stop) / len(x) for x in (peaky, other)]
    # called positive: inside the window if the peaky distribution is the positive one, else outside
    rules.append((inside[1], 1 - inside[0]) if peaky is positive else (1 - inside[0], inside[1]))
    return min(EPSILON_CAP, max(_evidence(a, b, delta) for a, b in rules))


def _counted(x: np.ndarray, ordered: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """How many of x are among ordered[start:stop], for each window (none where stop ≤ start)."""
    below = np.searchsorted(np.sort(x), ordered, side="left")
    upto = np.searchsorted(np.sort(x), ordered, side="right")
    from_left = np.append(below, len(x))[start]
    from_right = np.append(0, upto)[stop]
    count: np.ndarray = np.maximum(from_right - from_left, 0)
    return count


def _evidence(fpr: np.ndarray, fnr: np.ndarray, delta: float) -> float:
    """The largest ε that any rule with these rates shows."""
    if ((fpr == 0) & (fnr == 0)).any():
        return math.inf
    both = (fpr > 0) & (fnr > 0)
    a, b = fpr[both], fnr[both]
    shown = [0.0]
    for one, other in ((a, b), (b, a)):
        known = 1 - delta - one > 0
        shown.extend(np.log(1 - delta - one[known]) - np.log(other[known]))
    return float(max(shown))


def forget_score(eps: np.ndarray, models: int) -> float:
    """Mean points of the challenge, in [0, 1]: ε in [0.5k, 0.5k + 0.5) gives 2⁻ᵏ.

    0 instead where 0.5k + 0.5 > ⌈ln(models − 1)⌉: so few models cannot show such an ε.
    eps: float [n] of `epsilon`; models: how many there were on each side.
    Raises LacunaError for fewer than 3 models.
    """
    if models < 3:
        raise LacunaError(f"ε-score: {models} models on a side are not enough; allowed: at least 3")
    bucket = np.floor(2 * eps)
    return float(np.where(0.5 * bucket + 0.5 <= math.ceil(math.log(models - 1)), 0.5**bucket, 0.0).mean())


def epsilon_score(
    unlearned: np.ndarray,
    retrained: np.ndarray,
    retain: tuple[float, float],
    test: tuple[float, float],
    delta: float = 1e-5,
) -> float:
    """The score of the NeurIPS 2023 challenge: `forget_score` · RA_u/RA_r · TA_u/TA_r; 1 is the best forgetting.

    unlearned, retrained: float [models, n], as for `epsilon`; retain, test: accuracies (unlearned, retrained).
    Raises LacunaError if a retrained accuracy is 0.
    """
    if min(retain[1], test[1]) <= 0:
        raise LacunaError("ε-score: the retrained models have accuracy 0; allowed: more, utility is told as a ratio")
    points = forget_score(epsilon(unlearned, retrained, delta), min(len(unlearned), len(retrained)))
    return points * (retain[0] / retain[1]) * (test[0] / test[1])


def _refuse_non_finite(name: str, *values: np.ndarray) -> None:
    for x in values:
        if not np.isfinite(x).all():
            model, sample = np.argwhere(~np.isfinite(x))[0]
            raise LacunaError(f"{name}: the margin of model {model} on sample {sample} is not finite")


# ---- on a pool: the models that had a sample, against the oracles of the same halves ---------------------------------


def _both(pool: Pool, oracle: Pool) -> tuple[np.ndarray, np.ndarray]:
    return tuple(p.of_members(p.phi["forget"]) for p in (pool, oracle))  # type: ignore[return-value]


def _klom_of_forget(pool: Pool, oracle: Pool) -> np.ndarray:
    return klom(*_both(pool, oracle))


def _klom_of(value: float, models: int) -> Noted:
    few = f"{models} models a side: with fewer than {FEW_MODELS} mostly bias, compare with the twin's"
    return Noted(max(0.0, float(value)), few if models < FEW_MODELS else "")


_KLOM = {"unit": "nats", "low": 0.0, "high": None, "better": "lower", "oracle": True, "source": "Georgiev et al., 2024"}


@register("klom", **_KLOM)
def klom_forget(pool: Pool, oracle: Pool) -> float:
    """KLOM on D_f, mean over its samples: models that unlearned a sample against oracles of the same halves."""
    return _klom_of(_klom_of_forget(pool, oracle).mean(), len(pool.models) // 2)


@register("klom_p95", **_KLOM)
def klom_forget_p95(pool: Pool, oracle: Pool) -> float:
    """KLOM on D_f, 95th percentile over its samples."""
    return _klom_of(np.percentile(_klom_of_forget(pool, oracle), 95), len(pool.models) // 2)


@register("klom_test", **_KLOM)
def klom_test(pool: Pool, oracle: Pool) -> float:
    """KLOM on the test set, mean over its samples; all models of both, for none has seen them."""
    return _klom_of(klom(pool.phi["test"], oracle.phi["test"]).mean(), len(pool.models))


@register(
    "epsilon_score", unit="1", low=0.0, high=None, better="higher", oracle=True, source="Triantafillou et al., 2024"
)
def epsilon_score_of_pool(pool: Pool, oracle: Pool) -> float:
    """ε-score of the NeurIPS 2023 challenge: mean points for small ε on D_f × RA ratio × TA ratio to the oracle."""
    retain, test = ((pool.accuracy(part), oracle.accuracy(part)) for part in ("retain", "test"))
    return epsilon_score(*_both(pool, oracle), retain, test)
