"""Membership attacks with shadow models: U-LiRA and RMIA, and the curve that says what they can do.

The game: a model either was trained on x and unlearned it, or never saw x; an attack scores both. Every score is of a
held-out model: it had no part in fitting the attack, and neither had the model of the complementary half. So a
sample has as many reference models that unlearned it as never saw it, whichever case is scored, and against an
unlearner that leaves no trace the expected AUC is exactly 1/2. (Leaving out the scored model alone takes one from its
own side, and pulls the AUC below 1/2.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lacuna.errors import LacunaError
from lacuna.evaluation.population.pool import Pool
from lacuna.evaluation.statistics import t_interval
from lacuna.registry import register

# LiRA: with fewer models than this on a side, one variance for all samples is the better estimate
MODELS_FOR_OWN_VARIANCE = 32
_LEAST_VARIANCE = 1e-12
_LEVELS = 10.0 ** np.linspace(-5, 0, 101)


def roc(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the rule "score ≥ t", from t above all scores down to the lowest.

    scores: float, any shape; positive: bool, the same shape. Equal scores are one step, whatever their order.
    Returns two ascending arrays that begin with 0 and end with 1. Raises LacunaError unless both kinds are there.
    """
    scores, positive = np.ravel(scores), np.ravel(positive)
    total = int(positive.sum())
    if not 0 < total < len(positive):
        raise LacunaError(f"a ROC curve of {total} positives among {len(positive)}; allowed: at least one of each kind")
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    hits = np.cumsum(positive[order])[last]
    return np.append(0.0, (last + 1 - hits) / (len(positive) - total)), np.append(0.0, hits / total)


def auc(fpr: np.ndarray, tpr: np.ndarray) -> float:
    """Area under a `roc` curve, in [0, 1]: P(positive scores higher) + ½ P(equal)."""
    return float(np.trapezoid(tpr, fpr))


def tpr_at(level: float, fpr: np.ndarray, tpr: np.ndarray) -> float:
    """The largest TPR that a threshold reaches with FPR ≤ level, in [0, 1]; nothing is interpolated.

    With fewer than 1/level negatives this is the TPR at no false positive.
    """
    return float(tpr[np.flatnonzero(fpr <= level)[-1]])


def u_lira(phi: np.ndarray, unlearned: np.ndarray, held_out: np.ndarray, variance: str = "auto") -> np.ndarray:
    """U-LiRA: log N(φ; μ_unlearned, σ_unlearned) − log N(φ; μ_never, σ_never), per sample and held-out model.

    phi: float [m, n], margins; unlearned: bool [m, n], true where the model unlearned the sample, false where it
    never saw it; held_out: int [m], models with one number are scored with Gaussians fitted on all the others.
    variance: sample fits a variance per sample and side; pooled one per side; auto takes sample where every sample has
    at least 32 models on each side. Unbiased; no variance below 1e-12. Returns float64 [m, n], higher for "unlearned".

    Raises LacunaError if a sample has fewer than two fitting models on a side, or for an unknown variance.
    Source: Hayes et al., 2024 (Inexact unlearning needs more careful evaluations); Carlini et al., S&P 2022.
    """
    if variance not in ("auto", "sample", "pooled"):
        raise LacunaError(f"u_lira: variance '{variance}' is not allowed; allowed: auto, sample, pooled")
    phi = phi.astype(np.float64)
    scores = np.empty_like(phi)
    for group in np.unique(held_out):
        target, fitted = held_out == group, held_out != group
        score = np.zeros((int(target.sum()), phi.shape[1]))
        for side, sign in ((unlearned[fitted], 1.0), (~unlearned[fitted], -1.0)):
            n = side.sum(0)
            if n.min() < 2:
                kind = "unlearned" if sign > 0 else "never saw"
                raise LacunaError(
                    f"u_lira: {int(n.min())} models beside the held-out ones {kind} sample {int(n.argmin())}; "
                    "allowed: at least 2, train more shadow models"
                )
            mean = np.where(side, phi[fitted], 0.0).sum(0) / n
            squares = np.where(side, (phi[fitted] - mean) ** 2, 0.0).sum(0)
            own = variance == "sample" or (variance == "auto" and n.min() >= MODELS_FOR_OWN_VARIANCE)
            spread = squares / (n - 1) if own else squares.sum() / (n - 1).sum()
            spread = np.maximum(spread, _LEAST_VARIANCE)
            score -= sign * ((phi[target] - mean) ** 2 / spread + np.log(spread)) / 2
        scores[target] = score
    return scores


def rmia(phi: np.ndarray, population: np.ndarray, held_out: np.ndarray, gamma: float = 1.0) -> np.ndarray:
    """RMIA: Pr_z[(p_θ(x)/p(x)) / (p_θ(z)/p(z)) > γ], the share of population samples that x dominates.

    p_θ is a held-out model's confidence in the label, p(·) the mean confidence of all reference models (those with
    another number in `held_out`). phi: float [m, n], margins on the samples; population: float [m, z], margins on
    samples that no model saw; held_out: int [m]. Returns float64 [m, n] in [0, 1], higher for "member".

    Raises LacunaError without a population sample or a reference model.
    Source: Zarifzadeh et al., ICML 2024 (online form).
    """
    if not population.shape[1] or len(np.unique(held_out)) < 2:
        raise LacunaError("rmia: no population sample or no reference model; allowed: at least one of each")
    # log sigmoid(φ), exact where p itself rounds to 1 or 0
    log_x, log_z = (-np.logaddexp(0.0, -values.astype(np.float64)) for values in (phi, population))
    scores = np.empty_like(log_x)
    for group in np.unique(held_out):
        target, reference = held_out == group, held_out != group
        ratio_x, ratio_z = (log[target] - _log_mean(log[reference]) for log in (log_x, log_z))
        for row, of_x, of_z in zip(np.flatnonzero(target), ratio_x, ratio_z, strict=True):
            scores[row] = np.searchsorted(np.sort(of_z), of_x - np.log(gamma), side="left") / len(of_z)
    return scores


def _log_mean(logs: np.ndarray) -> np.ndarray:
    """log of the mean of exp over the first axis."""
    top = logs.max(0)
    mean: np.ndarray = top + np.log(np.exp(logs - top).mean(0))
    return mean


# ---- on a pool: each forgotten sample, each model --------------------------------------------------------------------


def attack_scores(pool: Pool, attack: str) -> np.ndarray:
    """Scores of `u_lira` or `rmia` on D_f, float64 [m, n]; computed once for a pool."""
    if attack not in pool.cache:
        phi = pool.phi["forget"]
        pool.cache[attack] = (
            u_lira(phi, pool.member["forget"], pool.pairs)
            if attack == "u_lira"
            else rmia(phi, pool.population(), pool.pairs)
        )
    return pool.cache[attack]


def roc_of(pool: Pool, attack: str) -> tuple[np.ndarray, np.ndarray]:
    """The `roc` curve of an attack over all held-out models and D_f; positive: the model unlearned the sample."""
    return roc(attack_scores(pool, attack), pool.member["forget"])


def thinned(fpr: np.ndarray, tpr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve's TPR, by `tpr_at`, at FPR levels from 10⁻⁵ to 1, 20 a decade; none below the curve's first step."""
    levels = _LEVELS[fpr[fpr > 0][0] * (1 - 1e-9) <= _LEVELS]
    return levels, np.array([tpr_at(level, fpr, tpr) for level in levels])


def summary_of(pool: Pool, attack: str) -> dict[str, Any]:
    """What is told of an attack beside its metrics, as JSON values.

    positives, negatives: scored cases; fpr, tpr: the thinned curve; auc_per_pair: mean and 95 % t interval of the AUC
    over the pairs of models (null with fewer than 3), the replicates within a pool.
    """
    scores, positive = attack_scores(pool, attack), pool.member["forget"]
    fpr, tpr = thinned(*roc(scores, positive))
    pairs = [pool.pairs == pair for pair in np.unique(pool.pairs)]
    interval = t_interval([auc(*roc(scores[rows], positive[rows])) for rows in pairs])
    return {
        "positives": int(positive.sum()),
        "negatives": int((~positive).sum()),
        "fpr": fpr.tolist(),
        "tpr": tpr.tolist(),
        "auc_per_pair": [value if np.isfinite(value) else None for value in interval],
    }


_LIRA = {"better": "oracle", "oracle": False, "source": "Hayes et al., 2024"}
_RMIA = {"better": "oracle", "oracle": False, "source": "Zarifzadeh et al., ICML 2024"}


@register("u_lira_auc", unit="1", low=0.0, high=1.0, **_LIRA)
def u_lira_auc(pool: Pool) -> float:
    """AUC of U-LiRA between models that unlearned a sample and models that never saw it; 0.5 is perfect unlearning."""
    return auc(*roc_of(pool, "u_lira"))


@register("u_lira_accuracy", unit="%", low=0.0, high=100.0, **_LIRA)
def u_lira_accuracy(pool: Pool) -> float:
    """Percent of U-LiRA's decisions that are right at the threshold of equal likelihood; 50 is perfect unlearning."""
    return 100.0 * float(((attack_scores(pool, "u_lira") > 0) == pool.member["forget"]).mean())


@register("u_lira_tpr_1", unit="%", low=0.0, high=100.0, **_LIRA)
def u_lira_tpr_1(pool: Pool) -> float:
    """TPR of U-LiRA at 1 % FPR."""
    return 100.0 * tpr_at(0.01, *roc_of(pool, "u_lira"))


@register("u_lira_tpr_01", unit="%", low=0.0, high=100.0, **_LIRA)
def u_lira_tpr_01(pool: Pool) -> float:
    """TPR of U-LiRA at 0.1 % FPR; with fewer than 1,000 negatives, at no false positive."""
    return 100.0 * tpr_at(0.001, *roc_of(pool, "u_lira"))


@register("rmia_auc", unit="1", low=0.0, high=1.0, **_RMIA)
def rmia_auc(pool: Pool) -> float:
    """AUC of RMIA between models that unlearned a sample and models that never saw it; 0.5 is perfect unlearning."""
    return auc(*roc_of(pool, "rmia"))


@register("rmia_tpr_1", unit="%", low=0.0, high=100.0, **_RMIA)
def rmia_tpr_1(pool: Pool) -> float:
    """TPR of RMIA at 1 % FPR."""
    return 100.0 * tpr_at(0.01, *roc_of(pool, "rmia"))


@register("rmia_tpr_01", unit="%", low=0.0, high=100.0, **_RMIA)
def rmia_tpr_01(pool: Pool) -> float:
    """TPR of RMIA at 0.1 % FPR; with fewer than 1,000 negatives, at no false positive."""
    return 100.0 * tpr_at(0.001, *roc_of(pool, "rmia"))
