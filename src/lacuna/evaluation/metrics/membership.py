"""Membership inference: does the model still treat D_f as training data?

Every attack learns from retained samples (members) and as many test samples (non-members). On a well-fitted model one
draw of them can say 3 where another says 95: where the label's probability is 1 for most of either set, a few samples
decide on which side of the boundary all of these lie. So MIA is the median over 11 draws, the same ones for every
method; the other attacks, for their cost, have the median over 3, the third drawn only where the first two are more
than 20 points apart. Where draws disagree by more than 20 points the value has a note, and so have the metrics that are
made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lacuna.evaluation import svm
from lacuna.evaluation.cell import Absent, Cell, Noted, Part
from lacuna.randomness import numpy_generator
from lacuna.registry import register

Feature = Callable[[np.ndarray, np.ndarray], np.ndarray]
_LOG_FLOOR = 1e-30
DRAWS = 11
# of all but the reported attack
FEW_DRAWS = 3
# draws that are further apart, in points, get a note
_DISAGREE = 20.0


def correctness(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 where the first arg-max is the label, else 0. p: probabilities [n, classes]; y: int [n]. Returns [n, 1]."""
    feature: np.ndarray = (p.argmax(1) == y).astype(np.float64)[:, None]
    return feature


def confidence(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """p_y, the probability of the label; [n, 1]."""
    feature: np.ndarray = p[np.arange(len(y)), y].astype(np.float64)[:, None]
    return feature


def entropy(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """−Σ p ln p in nats, 0 ln 0 = 0; [n, 1]."""
    p = p.astype(np.float64)
    feature: np.ndarray = -(p * np.log(np.maximum(p, _LOG_FLOOR))).sum(1, keepdims=True)
    return feature


def modified_entropy(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """−(1−p_y) ln p_y − Σ_{k≠y} p_k ln(1−p_k) in nats, row by row; [n, 1] (Song & Mittal, USENIX Security 2021)."""
    p = p.astype(np.float64)
    rows = np.arange(len(y))
    own = p[rows, y]
    others = p * np.log(np.maximum(1 - p, _LOG_FLOOR))
    others[rows, y] = 0.0
    feature: np.ndarray = (-(1 - own) * np.log(np.maximum(own, _LOG_FLOOR)) - others.sum(1))[:, None]
    return feature


def probabilities(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The whole vector p; [n, classes]."""
    return p.astype(np.float64)


@dataclass(frozen=True)
class Shadow:
    """Rows of the retained and of the test samples that an attack learns from or is scored on."""

    retain: np.ndarray
    test: np.ndarray


def shadows(cell: Cell, ratio: float = 1.0, draw: int = 0) -> Shadow:
    """As many retained samples as there are test samples, drawn for a split: a draw is the same for every method.

    Equal sizes: an imbalance of 5 % can flip the score. ratio: members for one non-member, where it is not 1.
    The rows are in a random order, so a part of them is a random sample.
    """
    sizes = len(cell["retain"].labels), len(cell["test"].labels)
    rng = numpy_generator("membership", *sizes, *([draw] if draw else []))
    orders = [rng.permutation(size) for size in sizes]
    n = min(sizes)
    return Shadow(orders[0][: max(1, round(n * min(ratio, 1.0)))], orders[1][: max(1, round(n / max(ratio, 1.0)))])


def _values(part: Part, feature: Feature, rows: np.ndarray | None = None) -> np.ndarray:
    return (
        feature(part.probabilities, part.labels)
        if rows is None
        else feature(part.probabilities[rows], part.labels[rows])
    )


class _Attacks:
    """The SVC attacks on one feature of a cell that learn from its first draws, or from parts of these."""

    def __init__(self, cell: Cell, feature: Feature, draws: int):
        whole = [shadows(cell, draw=draw) for draw in range(draws)]
        # only what is drawn: the kernel of a vector has a column for each
        self._rows = [np.unique(np.concatenate([s.retain for s in whole])), np.arange(len(cell["test"].labels))]
        self._pool = svm.Pool(_values(cell["retain"], feature, self._rows[0]), _values(cell["test"], feature))
        self.forget = _values(cell["forget"], feature)

    def fit(self, shadow: Shadow, plain: bool = False) -> svm.Decision:
        """The attack that learns from these rows."""
        return self._pool.fit(np.searchsorted(self._rows[0], shadow.retain), shadow.test, plain)


def _attacks(cell: Cell, feature: Feature, draws: int) -> _Attacks:
    """Those of a cell, kept for the feature that several metrics ask for."""
    if feature is not confidence:
        return _Attacks(cell, feature, draws)
    if "attacks" not in cell.cache:
        cell.cache["attacks"] = _Attacks(cell, feature, DRAWS)
    attacks: _Attacks = cell.cache["attacks"]
    return attacks


def efficacies(
    cell: Cell, feature: Feature, ratio: float = 1.0, plain: bool = False, draws: int = DRAWS
) -> Iterator[float]:
    """100 · the share of D_f that an attack on `feature` takes for non-members, for each draw of what it learns from.

    ratio: see `shadows`. plain: the attacks are scikit-learn's SVC. A sample of D_f on the boundary is a member.
    """
    attacks = _attacks(cell, feature, draws)
    for draw in range(draws):
        decision = attacks.fit(shadows(cell, ratio, draw), plain)
        yield 100.0 * float((decision(attacks.forget) < 0).mean())


def efficacy(cell: Cell, feature: Feature, ratio: float = 1.0, plain: bool = False, draws: int = FEW_DRAWS) -> Noted:
    """The median of `efficacies`, with a note where they disagree by more than 20 points.

    Of three draws the third is left out where two agree so far: the median would be one of the two, or between them.
    """
    return _median(efficacies(cell, feature, ratio, plain, draws), draws)


def _median(scores: Iterable[float], draws: int) -> Noted:
    known: list[float] = []
    for score in scores:
        known.append(score)
        if draws == FEW_DRAWS and len(known) == 2 and max(known) - min(known) <= _DISAGREE:
            break
    low, high = min(known), max(known)
    note = f"draws of members from {low:.1f} to {high:.1f}" if high - low > _DISAGREE else ""
    return Noted(np.median(known), note)


def balanced_accuracy(members: np.ndarray, nonmembers: np.ndarray) -> float:
    """100 · (TPR + TNR)/2 of decision values, 0 and above for "member"."""
    return 50.0 * float((members >= 0).mean() + (nonmembers < 0).mean())


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve: P(positive > negative) + ½ P(equal), in [0, 1]."""
    both = np.concatenate([positive, negative])
    _, place, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def linear_attack(members: np.ndarray, nonmembers: np.ndarray) -> tuple[float, float]:
    """Slope a and offset b of a logistic regression on one feature [n]: a member where a x + b >= 0.

    Minimises Σ log(1 + exp(−y(ax + b))) + a²/2 by Newton's method, to the last bits.
    """
    x = np.concatenate([members, nonmembers])
    y = np.repeat([1.0, 0.0], [len(members), len(nonmembers)])
    # in units of the spread: Newton's method does not care, its starting point does
    centre, scale = x.mean(), x.std() or 1.0
    design = np.stack([(x - centre) / scale, np.ones(len(x))], 1)
    penalty = np.array([1 / scale**2, 0.0])

    def loss(v: np.ndarray) -> float:
        z = design @ v
        return float(np.logaddexp(0, z).sum() - y @ z + penalty @ v**2 / 2)

    v = np.zeros(2)
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(design @ v, -500, 500)))
        gradient = design.T @ (p - y) + penalty * v
        # a touch on the diagonal: with perfect separation and no spread the offset has no curvature
        hessian = (design.T * (p * (1 - p))) @ design + np.diag(penalty + 1e-12)
        step = np.linalg.solve(hessian, gradient)
        length, before = 1.0, loss(v)
        while loss(v - length * step) > before and length > 1e-8:
            length /= 2
        v = v - length * step
        if np.abs(length * step).max() < 1e-10:
            break
    slope = v[0] / scale
    return float(slope), float(v[1] - slope * centre)


_ABOUT = {"unit": "%", "low": 0.0, "high": 100.0, "better": "oracle", "oracle": False}
_SOURCE = "Jia et al., NeurIPS 2023 (attack: Song & Mittal, USENIX Security 2021)"
_PRIVACY = {"oracle": False, "source": "Jia et al., NeurIPS 2023"}
_RANGE = _ABOUT | {"better": "none"}


@register("MIA", **_ABOUT, source=_SOURCE)
def mia_confidence(cell: Cell) -> float:
    """MIA-efficacy on the confidence p_y: percent of D_f taken for non-members, the median over 11 draws of the members
    that the attack learns from; the one that papers report, of one draw."""
    if "MIA" not in cell.cache:
        cell.cache["MIA"] = _median(_of_draws(cell), DRAWS)
    median: float = cell.cache["MIA"]
    return median


def _of_draws(cell: Cell) -> list[float]:
    if "MIA draws" not in cell.cache:
        cell.cache["MIA draws"] = list(efficacies(cell, confidence))
    draws: list[float] = cell.cache["MIA draws"]
    return draws


@register("MIA_draws_low", **_RANGE, source=_SOURCE)
def mia_draws_low(cell: Cell) -> float:
    """MIA by the draw that gives the lowest value."""
    return min(_of_draws(cell))


@register("MIA_draws_high", **_RANGE, source=_SOURCE)
def mia_draws_high(cell: Cell) -> float:
    """MIA by the draw that gives the highest value; more than 20 points above the lowest, MIA has a note."""
    return max(_of_draws(cell))


@register("MIA_plain", **_ABOUT, default=False, source=_SOURCE)
def mia_plain(cell: Cell) -> float:
    """MIA by scikit-learn's SVC, which stops at an error of 1e-3 in the decision and takes some fifty times longer."""
    return efficacy(cell, confidence, plain=True)


@register("MIA_correctness", **_ABOUT, source=_SOURCE)
def mia_correctness(cell: Cell) -> float:
    """MIA-efficacy on correctness."""
    return efficacy(cell, correctness)


@register("MIA_entropy", **_ABOUT, source=_SOURCE)
def mia_entropy(cell: Cell) -> float:
    """MIA-efficacy on the entropy of p."""
    return efficacy(cell, entropy)


@register("MIA_modified_entropy", **_ABOUT, source=_SOURCE)
def mia_modified_entropy(cell: Cell) -> float:
    """MIA-efficacy on the modified entropy."""
    return efficacy(cell, modified_entropy)


@register("MIA_probabilities", **_ABOUT, source=_SOURCE)
def mia_probabilities(cell: Cell) -> float:
    """MIA-efficacy on the whole probability vector."""
    return efficacy(cell, probabilities)


def _privacy(cell: Cell) -> tuple[float, float] | Absent:
    """Balanced accuracy and area under the curve of attacks on the confidence, each for the half of either set that it
    did not learn from; medians over the draws."""
    known: tuple[float, float] | None = cell.cache.get("privacy")
    if known is not None:
        return known
    attacks, scores = _attacks(cell, confidence, FEW_DRAWS), []
    for whole in (shadows(cell, draw=draw) for draw in range(FEW_DRAWS)):
        half = min(len(whole.retain), len(whole.test)) // 2
        if not half:
            return Absent("one retained or test sample cannot be divided into two halves")
        decision = attacks.fit(Shadow(whole.retain[:half], whole.test[:half]))
        held_out = ((cell["retain"], whole.retain), (cell["test"], whole.test))
        members, nonmembers = (decision(_values(part, confidence, rows[half:])) for part, rows in held_out)
        scores.append((balanced_accuracy(members, nonmembers), auc(members, nonmembers)))
    accuracy, area = np.median(scores, axis=0)
    known = cell.cache["privacy"] = float(accuracy), float(area)
    return known


@register("MIA_privacy", **_PRIVACY, unit="%", low=0.0, high=100.0, better=50.0)
def mia_privacy(cell: Cell) -> float | Absent:
    """MIA-privacy: (TPR + TNR)/2 of the attack on the confidence, fitted on half of the members and non-members and
    scored on the other half; 50 if training samples cannot be told from test samples, which is best."""
    values = _privacy(cell)
    return values if isinstance(values, Absent) else values[0]


@register("MIA_privacy_auc", **_PRIVACY, unit="1", low=0.0, high=1.0, better=0.5)
def mia_privacy_auc(cell: Cell) -> float | Absent:
    """Area under the ROC curve of the same attack on the same held-out half, by its decision values; best is 0.5."""
    values = _privacy(cell)
    return values if isinstance(values, Absent) else values[1]


@register("MIA_linear", **_ABOUT, source="Kurmanji et al., NeurIPS 2023; feature: Carlini et al., IEEE S&P 2022")
def mia_linear(cell: Cell) -> float:
    """As MIA, by a logistic regression on the log-odds log p_y − log Σ_{j≠y} p_j."""
    retain, test, forget = (cell[part].log_odds for part in ("retain", "test", "forget"))
    drawn = (shadows(cell, draw=draw) for draw in range(FEW_DRAWS))
    rules = (linear_attack(retain[s.retain], test[s.test]) for s in drawn)
    return _median((100.0 * float((slope * forget + offset < 0).mean()) for slope, offset in rules), FEW_DRAWS)


@register(
    "MIA_auc",
    **_ABOUT | {"unit": "1", "high": 1.0},
    source="Carlini et al., IEEE S&P 2022; Hayes et al., 2024",
)
def mia_auc(cell: Cell) -> float:
    """Area under the ROC curve of the log-odds, D_f against never-seen samples: P(higher on D_f) + ½ P(equal); no fit.

    Never seen are the test samples; under class forgetting those of the forgotten class. ½ if D_f looks never seen.
    """
    unseen = cell["test_forgotten" if "test_forgotten" in cell.parts else "test"]
    return auc(cell["forget"].log_odds, unseen.log_odds)


@register(
    "MIA_sensitivity",
    **_ABOUT | {"unit": "points", "better": "lower"},
    source="Xiao et al., 2025 (un-pruning)",
)
def mia_sensitivity(cell: Cell) -> float:
    """Largest less smallest MIA with 0.9, 0.95, 1, 1.05 and 1.1 members for one non-member; medians over 3 draws, so
    that it tells of the balance of members more than of which were drawn."""
    scores = [efficacy(cell, confidence, ratio) for ratio in (0.9, 0.95, 1.05, 1.1)]
    scores.append(_median(_of_draws(cell)[:FEW_DRAWS], FEW_DRAWS))
    return max(scores) - min(scores)
