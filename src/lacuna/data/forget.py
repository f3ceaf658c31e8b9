"""The forget set that a scenario takes from a split."""

from __future__ import annotations

import numpy as np

from lacuna.data.scenarios.base import DatasetFacts, Scenario
from lacuna.data.splits import Split
from lacuna.errors import LacunaError
from lacuna.randomness import numpy_generator

# of a dataset with a backdoor: who is poisoned, and the stamped test images
_BACKDOOR = ("poisoned", "triggered")


def forget_split(base: Split, facts: DatasetFacts, scenario: Scenario, seed: int, dataset: str, label: str) -> Split:
    """Divide `train` of a seed's split into retain and forget as the scenario says.

    Returns sorted int64 index arrays `retain`, `forget`, `val`, `test` and, where the scenario forgets
    a part of the label space, `test_forgotten` (that part of the test set, then absent from `test`); and, as they are,
    `poisoned` and `triggered` of a dataset with a backdoor.
    Raises LacunaError if nothing is left to forget, to retain or to test on.
    """
    rng = numpy_generator(seed, "forget", dataset, label)
    forget = np.sort(scenario.forget(base["train"], facts, rng))
    forgotten_test = scenario.forgotten_test(base["test"], facts)
    parts = {
        "retain": np.setdiff1d(base["train"], forget),
        "forget": forget,
        "val": base["val"],
        "test": np.setdiff1d(base["test"], forgotten_test),
    }
    for part, index in parts.items():
        if not len(index):
            raise LacunaError(
                f"scenario '{label}' of dataset '{dataset}' leaves no image in '{part}'; allowed: at least 1"
            )
    parts |= {"test_forgotten": forgotten_test} if len(forgotten_test) else {}
    return parts | {part: base[part] for part in _BACKDOOR if part in base}
