"""The rounds of iterative pruning, as numbers: a plan needs them before any model exists. Imports no torch."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

from lacuna.errors import LacunaError

ROUND = "round"
# each round is a training of its own, and a job that waits for the one before it
MOST = 100


def sparsity_of(level: str | float, rate: float | None) -> Fraction:
    """The sparsity of a level, exactly: of a number itself, of "round03" 1 − (1 − rate)³."""
    text = str(level)
    if not text.startswith(ROUND):
        return Fraction(text)
    assert rate is not None, "only iterative pruning has rounds"
    return 1 - (1 - Fraction(str(rate))) ** int(text.removeprefix(ROUND))


def rounds_to(level: str | float, rate: float | None) -> list[str]:
    """The rounds before a level, in order: none if pruning is not iterative (rate None).

    The last step to a sparsity prunes at most `rate` of the survivors and lands on it: 0.50 at rate 0.2 follows
    round 3 (0.488), round 3 follows round 2. So one chain of rounds serves every sparsity.
    Raises LacunaError for a rate so small that more than 100 rounds come before the level.
    """
    if rate is None:
        return []
    left = math.log(1 - sparsity_of(level, rate))
    if left < (MOST + 1) * math.log1p(-rate):
        least = math.ceil(-1e4 * math.expm1(left / (MOST + 1))) / 1e4
        raise LacunaError(
            f"rate: {rate:g} is not allowed; allowed: at least {least:g} (at most {MOST} rounds to {level})"
        )
    names = (f"{ROUND}{number:02d}" for number in itertools.count(1))
    return list(itertools.takewhile(lambda name: sparsity_of(name, rate) < sparsity_of(level, rate), names))
