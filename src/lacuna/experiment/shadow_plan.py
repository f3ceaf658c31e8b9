"""How many shadow models, in which jobs, and what each is trained on. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from lacuna.fields import Bound, Count
from lacuna.randomness import numpy_generator

# three pairs: one held out, and two models on each side of every sample for a variance
Pairs = Annotated[int, Bound("minimum", 6), Bound("multipleOf", 2)]


@dataclass(frozen=True, kw_only=True)
class Shadows:
    """The shadow models of every seed and state.

    models: how many, in pairs of complementary halves; attacks at 0.1 % FPR want 64 or more.
    per_job: how many one job trains, one after the other. More models add jobs and leave the old ones as they were.
    """

    models: Pairs = 8
    per_job: Count = 4

    def jobs(self) -> tuple[str, ...]:
        """The jobs by the numbers of their first and last model: ("0-3", "4-7")."""
        return tuple(
            f"{first}-{min(first + self.per_job, self.models) - 1}" for first in range(0, self.models, self.per_job)
        )


def models_of(job: str) -> range:
    """The models of a job: "4-7" → 4, 5, 6, 7."""
    first, last = map(int, job.split("-"))
    return range(first, last + 1)


def half_of(pool: np.ndarray, model: int, seed: int, dataset: str) -> np.ndarray:
    """The sorted half of the pool that a shadow model is trained on; models 2k and 2k + 1 have all of it between them.

    pool: int [n], indices. The draw hangs on pair, seed and dataset, not on how many models there are.
    """
    order = numpy_generator(seed, "shadow half", dataset, model // 2).permutation(np.sort(pool))
    first = len(pool) // 2
    return np.sort(order[:first] if model % 2 == 0 else order[first:])
