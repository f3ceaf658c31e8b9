"""One split per seed, and the forget set that a scenario takes from it."""

from __future__ import annotations

import numpy as np

from lacuna.errors import LacunaError
from lacuna.randomness import numpy_generator

VAL_FRACTION = 0.1
Split = dict[str, np.ndarray]


def split(y: np.ndarray, train: int, seed: int, dataset: str) -> Split:
    """Split dataset indices into train, val (10 % of the training images, stratified) and test.

    y: int [n] labels, training images first; train: how many of them are training images.
    Returns sorted int64 index arrays `train`, `val`, `test`. Raises LacunaError if a class has fewer than two images.
    """
    rng = numpy_generator(seed, "split", dataset)
    val = []
    for k in np.unique(y[:train]):
        members = np.flatnonzero(y[:train] == k)
        if len(members) < 2:
            raise LacunaError(
                f"class {k} has {len(members)} training image; allowed: at least 2 (one is for validation)"
            )
        val.append(rng.permutation(members)[: max(1, round(VAL_FRACTION * len(members)))])
    held_out = np.sort(np.concatenate(val))
    return {
        "train": np.setdiff1d(np.arange(train), held_out),
        "val": held_out,
        "test": np.arange(train, len(y)),
    }
