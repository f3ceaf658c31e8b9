"""Distances between predicted distributions: to an oracle, and to a network that learnt nothing."""

from __future__ import annotations

import math

import numpy as np

from lacuna.errors import LacunaError
from lacuna.evaluation.cell import Cell, Part
from lacuna.registry import register

_KL = {"unit": "nats", "low": 0.0, "high": None, "better": "lower", "oracle": True}
_JS = _KL | {"high": math.log(2)}
_KL_SOURCE = "Golatkar et al., CVPR 2020; Kullback & Leibler, 1951"
_JS_SOURCE = "Chundawat et al., AAAI 2023; Lin, IEEE Trans. Inf. Theory 1991"


def kullback_leibler(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL(p‖q) = Σ_k p_k (ln p_k − ln q_k) of each row, in nats [n], from log-probabilities [n, classes]."""
    divergence: np.ndarray = np.maximum((np.exp(p) * (p - q)).sum(1), 0.0)
    return divergence


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """½ KL(p‖m) + ½ KL(q‖m), m = (p+q)/2, of each row, in nats [n], 0 to ln 2; from log-probabilities [n, classes]."""
    m = np.logaddexp(p, q) - math.log(2)
    divergence: np.ndarray = np.minimum((kullback_leibler(p, m) + kullback_leibler(q, m)) / 2, math.log(2))
    return divergence


def _kl(cell: Cell, oracle: Cell, part: str) -> float:
    return float(kullback_leibler(oracle[part].log_probabilities, cell[part].log_probabilities).mean())


def _js(cell: Cell, oracle: Cell, part: str) -> float:
    return float(jensen_shannon(oracle[part].log_probabilities, cell[part].log_probabilities).mean())


@register("KL_forget", **_KL, source=_KL_SOURCE)
def kl_forget(cell: Cell, oracle: Cell) -> float:
    """Mean over D_f of KL(p_oracle‖p_u), summed over classes."""
    return _kl(cell, oracle, "forget")


@register("KL_test", **_KL, source=_KL_SOURCE)
def kl_test(cell: Cell, oracle: Cell) -> float:
    """Mean over the test set of KL(p_oracle‖p_u); under class forgetting without the forgotten class."""
    return _kl(cell, oracle, "test")


@register("JS_forget", **_JS, source=_JS_SOURCE)
def js_forget(cell: Cell, oracle: Cell) -> float:
    """Mean over D_f of JS(p_oracle, p_u) = ½ KL(p_oracle‖M) + ½ KL(p_u‖M), M = (p_oracle + p_u)/2."""
    return _js(cell, oracle, "forget")


@register("JS_test", **_JS, source=_JS_SOURCE)
def js_test(cell: Cell, oracle: Cell) -> float:
    """Mean over the test set of JS(p_oracle, p_u); under class forgetting without the forgotten class."""
    return _js(cell, oracle, "test")


@register(
    "activation_distance",
    unit="1",
    low=0.0,
    high=math.sqrt(2),
    better="lower",
    oracle=True,
    source="Golatkar et al., CVPR 2021; Chundawat et al., AAAI 2023",
)
def activation_distance(cell: Cell, oracle: Cell) -> float:
    """Mean over D_f of ‖p_u − p_oracle‖₂."""
    apart = cell["forget"].probabilities - oracle["forget"].probabilities
    return float(np.sqrt(np.square(apart).sum(1)).mean())


@register(
    "completeness",
    unit="%",
    low=0.0,
    high=100.0,
    better="higher",
    oracle=True,
    source="Cao & Yang, IEEE S&P 2015",
)
def completeness(cell: Cell, oracle: Cell) -> float:
    """Percent of D_f on which the first arg-max of the cell and of the oracle is the same class."""
    return 100.0 * float((cell["forget"].logits.argmax(1) == oracle["forget"].logits.argmax(1)).mean())


@register(
    "ZRF",
    unit="1",
    low=0.0,
    high=1.0,
    better="oracle",
    oracle=False,
    needs=("random_init",),
    source="Chundawat et al., AAAI 2023",
)
def zero_retrain_forgetting(cell: Cell) -> float:
    """Zero retrain forgetting: 1 − mean over D_f of JS(p_u, p_random)/ln 2, p_random by a network as it is initialised.

    1 if the model knows no more of D_f than a network that learnt nothing. An oracle need not score 1: what it
    learnt from D_r says something about D_f too.
    """
    forget = cell["forget"]
    random = of_forget(cell.extra["random_init"], forget)
    return 1 - float(jensen_shannon(forget.log_probabilities, random.log_probabilities).mean()) / math.log(2)


def of_forget(random_init: dict[str, np.ndarray], forget: Part) -> Part:
    """The rows of a random network's predictions that belong to D_f.

    Raises LacunaError if there are none for a sample of D_f.
    """
    logits, index = np.asarray(random_init["logits"]), random_init.get("index")
    if index is not None:
        if forget.index is None:
            raise LacunaError("random_init: it has an index but the forget set has none; allowed: both or neither")
        order = np.argsort(index)
        at = np.minimum(np.searchsorted(index[order], forget.index), len(index) - 1)
        rows = order[at]
        if not np.array_equal(index[rows], forget.index):
            raise LacunaError("random_init: a sample of the forget set is not in it; allowed: predictions for each")
        logits = logits[rows]
    if logits.shape != forget.logits.shape:
        raise LacunaError(
            f"random_init: logits of shape {logits.shape}; allowed: {forget.logits.shape}, as for the forget set"
        )
    return Part(logits, forget.labels, forget.index, "random_init")
