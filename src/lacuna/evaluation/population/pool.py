"""The answers of all shadow models of one method, from the files that hold some of them each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lacuna.errors import LacunaError

# samples that no shadow model was trained on
NEVER_SEEN = ("val", "test", "test_forgotten")
# beside the held-out pair, a sample needs two models on each side for a variance
MIN_MODELS = 6


@dataclass(frozen=True)
class Pool:
    """All shadow models of one method.

    models: int [m], their numbers; 2k and 2k+1 were trained on complementary halves. phi: by part, float [m, n],
    `margin` of every model on every sample of retain, forget and what no model saw (val, test, test_forgotten).
    correct: by part, bool [m, n]. member: bool [m, n] by part, for retain and forget: was the sample in the half; a
    member of `forget` was trained on and unlearned, any other never seen. index: by part, int [n], places in the
    dataset.

    Raises LacunaError for fewer than 6 models, a pair with a missing half or halves that are not complementary, or a
    margin that is not finite.
    """

    models: np.ndarray
    phi: Mapping[str, np.ndarray]
    correct: Mapping[str, np.ndarray]
    member: Mapping[str, np.ndarray]
    index: Mapping[str, np.ndarray]
    cache: dict[str, np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.models) < MIN_MODELS:
            raise LacunaError(
                f"{len(self.models)} shadow models are not enough to score held-out ones; "
                f"allowed: at least {MIN_MODELS}"
            )
        pairs, counts = np.unique(self.models // 2, return_counts=True)
        if (counts != 2).any() or len(np.unique(self.models)) != len(self.models):
            first = 2 * int(pairs[(counts != 2).argmax()])
            raise LacunaError(f"shadow models {first} and {first + 1} must both be there, once; found {self.models}")
        order = np.argsort(self.models)
        for part, member in self.member.items():
            if (member[order[::2]] == member[order[1::2]]).any():
                raise LacunaError(f"the halves of a pair of shadow models are not complementary in '{part}'")
        for part, phi in self.phi.items():
            if not np.isfinite(phi).all():
                row, column = np.argwhere(~np.isfinite(phi))[0]
                raise LacunaError(
                    f"shadow model {self.models[row]}: its margin on sample {column} of '{part}' is not finite"
                )

    @classmethod
    def from_jobs(cls, jobs: Mapping[str, Mapping[str, np.ndarray]]) -> Pool:
        """From what jobs stored, by file name: `models`, `dataset` (a hash), `phi/<part>`, `correct/<part>`, ...

        Raises LacunaError naming the file that is about other samples than the first.
        """
        (one, first), *others = jobs.items()
        shared = [key for key in first if key.startswith("index/") or key == "dataset"]
        for name, job in others:
            if job.keys() != first.keys() or any(not np.array_equal(job[key], first[key]) for key in shared):
                raise LacunaError(
                    f"{name}: its shadow models are of another pool than those of {one}; "
                    "delete it and run the same command again"
                )

        def stacked(prefix: str) -> dict[str, np.ndarray]:
            keys = [key for key in first if key.startswith(prefix)]
            return {key.removeprefix(prefix): np.concatenate([job[key] for job in jobs.values()]) for key in keys}

        index = {key.removeprefix("index/"): first[key] for key in shared if key != "dataset"}
        models = np.concatenate([job["models"] for job in jobs.values()])
        return cls(models, stacked("phi/"), stacked("correct/"), stacked("member/"), index)

    @property
    def pairs(self) -> np.ndarray:
        """int [m]: the pair of complementary halves that a model belongs to; pairs are held out together."""
        return self.models // 2

    def of_members(self, values: np.ndarray, part: str = "forget") -> np.ndarray:
        """For every sample of the part, the values of the models that had it in their half: [m, n] → [m/2, n]."""
        first = np.argsort(~self.member[part], axis=0, kind="stable")[: len(self.models) // 2]
        return np.take_along_axis(values, first, axis=0)

    def population(self) -> np.ndarray:
        """Margins on every sample that no model saw, float [m, n]."""
        return np.concatenate([self.phi[part] for part in NEVER_SEEN if part in self.phi], axis=1)

    def accuracy(self, part: str) -> float:
        """Mean accuracy over the models, in percent; on `retain`, of each model on its own half of it."""
        if part not in self.member:
            return 100.0 * float(self.correct[part].mean())
        return 100.0 * float(self.correct[part][self.member[part]].mean())

    def check_comparable(self, oracle: Pool, label: str) -> None:
        """Raise LacunaError unless the oracle's models were trained on the same halves and asked the same samples."""
        same = np.array_equal(self.models, oracle.models) and self.index.keys() == oracle.index.keys()
        if not same or any(
            not np.array_equal(mine[part], theirs[part])
            for mine, theirs in ((self.index, oracle.index), (self.member, oracle.member))
            for part in mine
        ):
            raise LacunaError(f"oracle '{label}' has other shadow models: not the same halves of the same pool")
