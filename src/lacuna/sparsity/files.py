"""Masks to and from files."""

from __future__ import annotations

from pathlib import Path

import torch

from lacuna.artifacts.files import check_beside, read_mask, write_npz
from lacuna.sparsity.mask import Mask


def save_mask(path: str | Path, mask: Mask) -> None:
    """Write a mask, one bit per weight."""
    write_npz(path, "mask", mask.pack())


def load_mask(path: str | Path) -> Mask:
    """The mask that `save_mask` wrote. Raises LacunaError for an unusable file."""
    masks = read_mask(path)
    check_beside(path)
    return Mask({name: torch.from_numpy(bits) for name, bits in masks.items()})
