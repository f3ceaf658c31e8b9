"""Random streams: each stage and cell has its own, so no result depends on order or on what else runs."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive(*parts: str | int) -> int:
    """A 63-bit seed from what names the stream, e.g. derive(seed, "train", "digits", "resnet8").

    The same parts give the same seed on every machine; any other parts an unrelated one.
    """
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def numpy_generator(*parts: str | int) -> np.random.Generator:
    """A NumPy generator on the stream that `parts` name."""
    return np.random.Generator(np.random.PCG64(derive(*parts)))
