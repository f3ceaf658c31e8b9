"""The margin of a prediction: all that the population metrics read of one. Pure NumPy."""

from __future__ import annotations

import numpy as np

from lacuna.errors import LacunaError


def margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """φ = log p_y − log Σ_{j≠y} p_j, the logit of the confidence in the label; it does not saturate as p_y does.

    logits: float [..., n, classes], two classes or more; labels: int [n]. Returns float64 [..., n], computed as
    logit_y − logsumexp of the others. Raises LacunaError naming the sample if a logit is not finite.
    Source: Carlini et al., S&P 2022 (LiRA); the margin of Georgiev et al., 2024.
    """
    if not np.isfinite(logits).all():
        row = int((~np.isfinite(logits)).any(-1).reshape(-1, logits.shape[-2]).any(0).argmax())
        raise LacunaError(f"the logits of sample {row} are not finite")
    x = logits.astype(np.float64)
    rows = np.arange(len(labels))
    own = x[..., rows, labels]
    x[..., rows, labels] = -np.inf
    top = x.max(-1)
    log_odds: np.ndarray = own - (top + np.log(np.exp(x - top[..., None]).sum(-1)))
    return log_odds
