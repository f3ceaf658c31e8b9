"""meta.json: what a dataset is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lacuna.artifacts.grammar import count, fields, listed, number, read_as, text

META = fields(
    {
        **dict.fromkeys(("classes", "train", "test"), count),
        **{"shape": listed(count, 3), "mean": listed(number), "std": listed(number), "sha256": text},
    }
)


def read_meta(path: str | Path) -> dict[str, Any]:
    """A dataset's meta.json. Raises DamagedFile as `grammar.read_as`."""
    return read_as(path, "meta", META)
