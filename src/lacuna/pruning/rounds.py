"""The rounds of iterative pruning, as numbers: a plan needs them before any model exists. Imports no torch."""

from __future__ import annotations

import itertools
from fractions import Fraction

ROUND = "round"


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
    """
    if rate is None:
        return []
    names = (f"{ROUND}{number:02d}" for number in itertools.count(1))
    return list(itertools.takewhile(lambda name: sparsity_of(name, rate) < sparsity_of(level, rate), names))
