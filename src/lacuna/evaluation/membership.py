"""Membership inference: does the model still treat D_f as training data?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lacuna.evaluation.cell import Cell
from lacuna.randomness import numpy_generator
from lacuna.registry import register

Feature = Callable[[np.ndarray, np.ndarray], np.ndarray]
_LOG_FLOOR = 1e-30


def correctness(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """1 where the first arg-max is the label, else 0. p: probabilities [n, classes]; y: int [n]. Returns [n, 1]."""
    return (p.argmax(1) == y).astype(np.float64)[:, None]


def confidence(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """p_y, the probability of the label; [n, 1]."""
    return p[np.arange(len(y)), y].astype(np.float64)[:, None]


def entropy(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """−Σ p ln p in nats, 0 ln 0 = 0; [n, 1]."""
    p = p.astype(np.float64)
    return -(p * np.log(np.maximum(p, _LOG_FLOOR))).sum(1, keepdims=True)


def modified_entropy(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """−(1−p_y) ln p_y − Σ_{k≠y} p_k ln(1−p_k) in nats, row by row; [n, 1] (Song & Mittal, USENIX Security 2021)."""
    p = p.astype(np.float64)
    rows = np.arange(len(y))
    own = p[rows, y]
    others = p * np.log(np.maximum(1 - p, _LOG_FLOOR))
    others[rows, y] = 0.0
    return (-(1 - own) * np.log(np.maximum(own, _LOG_FLOOR)) - others.sum(1))[:, None]


def probabilities(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The whole vector p; [n, classes]."""
    return p.astype(np.float64)


def svc_attack(members: np.ndarray, nonmembers: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the attack, SVC(C=3, RBF, gamma=1/#features), on two feature arrays [n, d].

    Returns the rule: features [n, d] → bool [n], true for "member".
    """
    # scikit-learn takes seconds to load: only where an attack is asked for
    from sklearn.svm import SVC

    x = np.concatenate([members, nonmembers])
    y = np.concatenate([np.ones(len(members)), np.zeros(len(nonmembers))])
    attack = SVC(C=3, kernel="rbf", gamma="auto").fit(x, y)
    return lambda features: attack.predict(features) == 1


def efficacy(cell: Cell, feature: Feature) -> float:
    """100 · the share of D_f that an attack on `feature` takes for non-members.

    Members are as many retained samples as there are test samples, drawn once for a split (the same for every
    method); non-members are the test samples. Equal sizes: an imbalance of 5 % can flip the score.
    """
    retain, test = cell["retain"], cell["test"]
    n = min(len(retain.labels), len(test.labels))
    rng = numpy_generator("membership", len(retain.labels), len(test.labels))
    shadow = [np.sort(rng.permutation(len(part.labels))[:n]) for part in (retain, test)]
    members, nonmembers = (
        feature(part.probabilities[rows], part.labels[rows]) for part, rows in zip((retain, test), shadow, strict=True)
    )
    forget = feature(cell["forget"].probabilities, cell["forget"].labels)
    return 100.0 * float(1 - svc_attack(members, nonmembers)(forget).mean())


_ABOUT = {"unit": "%", "low": 0.0, "high": 100.0, "better": "oracle", "oracle": False}
_SOURCE = "Jia et al., NeurIPS 2023 (attack: Song & Mittal, USENIX Security 2021)"


@register("MIA", **_ABOUT, source=_SOURCE)
def mia_confidence(cell: Cell) -> float:
    """MIA-efficacy on the confidence p_y: percent of D_f taken for non-members; the one that papers report."""
    if "MIA" not in cell.cache:
        cell.cache["MIA"] = efficacy(cell, confidence)
    return cell.cache["MIA"]


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
