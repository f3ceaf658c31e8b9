"""Random streams: each stage and cell has its own, so no result depends on order or on what else runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(*parts: str | int) -> int:
    """A 63-bit seed from what names the stream, e.g. derive(seed, "train", "digits", "resnet8").

    The same parts give the same seed on every machine; any other parts an unrelated one.
    """
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def numpy_generator(*parts: str | int) -> np.random.Generator:
    """A NumPy generator on the stream that `parts` name."""
    return np.random.Generator(np.random.PCG64(derive(*parts)))


def seed_streams(seed: int, device: torch.device | None = None) -> None:
    """Start the global streams of Python, NumPy and torch, on the CPU and the given device, at `seed` (63 bits)."""
    import torch  # a plan needs streams and no torch

    random.seed(seed)
    np.random.seed([seed % 2**32, seed >> 32])  # noqa: NPY002 the one that others draw from
    # not torch.manual_seed, which looks for every kind of device
    torch.default_generator.manual_seed(seed)
    if device is not None and device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """For a while the global streams of `seed_streams` are those of `seed`; then they go on as before.

    For code that is not ours and draws from them: a network's dropout, or what it draws by NumPy.
    """
    import torch

    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        seed_streams(seed, device)
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)  # noqa: NPY002
