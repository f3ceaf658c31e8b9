"""Intervals over seeds, the replicates of every experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

MIN_SEEDS = 3


def t_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """Mean and the two ends of its t interval: mean ± t_{(1+level)/2, n−1} · s/√n, s with n−1 in the denominator.

    With fewer than 3 values the ends are NaN: two seeds say next to nothing about their spread.
    """
    values = np.asarray(values, dtype=np.float64)
    n, mean = len(values), float(np.mean(values))
    if n < MIN_SEEDS:
        return mean, math.nan, math.nan
    half = float(stdtrit(n - 1, (1 + level) / 2) * values.std(ddof=1) / math.sqrt(n))
    return mean, mean - half, mean + half
