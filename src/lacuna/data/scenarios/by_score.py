"""Forget what is hard, by a score of every training sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from lacuna.data.scenarios.base import DatasetFacts, Scenario
from lacuna.fields import Bound, Fraction, Text
from lacuna.registry import register

Folds = Annotated[int, Bound("minimum", 2)]


@dataclass(frozen=True, kw_only=True)
class ByScore(Scenario):
    """The samples at one end of a ranking; equal scores in the order of the dataset.

    fraction: their share of the training set, in (0, 1).
    model, recipe: labels of the grid: which network, trained how, gives the scores, whatever the cells use.
    """

    fraction: Fraction
    model: Text
    recipe: Text

    needs: ClassVar[tuple[str, ...]] = ("scores",)

    def ranked(self, train: np.ndarray, facts: DatasetFacts, sign: float) -> np.ndarray:
        """The `fraction` of `train` with the highest sign · score."""
        assert facts.scores is not None
        order = np.argsort(-sign * facts.scores[train], kind="stable")
        return train[order[: round(self.fraction * len(train))]]


@register("memorised")
@dataclass(frozen=True, kw_only=True)
class Memorised(ByScore):
    """D_f = the training samples that can only be known by heart: highest 1 − p_y by a model that was not shown them.

    folds: K; the training part is divided into K at random, and model k is trained on all but the k-th. A sample's
    score comes from the one model that was not trained on it, so K trainings serve every scenario of these folds.

    Held-out confidence stands for the memorisation of Feldman & Zhang (NeurIPS 2020), the confidence gained by being
    trained on, which takes many models with and without each sample: what a trained network fits anyway, p_y ≈ 1,
    drops out of their difference.
    """

    folds: Folds = 5

    def share(self, meta: Mapping[str, Any]) -> float:
        return self.fraction

    def forget(self, train: np.ndarray, facts: DatasetFacts, rng: np.random.Generator) -> np.ndarray:
        return self.ranked(train, facts, 1.0)


@register("hardest")
@dataclass(frozen=True, kw_only=True)
class Hardest(ByScore):
    """D_f = the training samples of the highest or the lowest loss under the dense model that was trained on all of D.

    pick: highest, what the network never fitted well; lowest, what it is surest of and, as the others teach it too,
    still knows after retraining without it.

    Fan et al. (ECCV 2024) choose the worst case by a bi-level problem: the set whose loss stays lowest after it was
    unlearned. This ranking is no solution of it; `lowest` leans the same way and costs no training.
    """

    pick: Literal["highest", "lowest"] = "highest"

    def forget(self, train: np.ndarray, facts: DatasetFacts, rng: np.random.Generator) -> np.ndarray:
        return self.ranked(train, facts, 1.0 if self.pick == "highest" else -1.0)
