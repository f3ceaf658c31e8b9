"""meta.json: what a dataset is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from lacuna.artifacts.grammar import count, fields, listed, number, read_as, text

if TYPE_CHECKING:
    from lacuna.artifacts.contents import Meta


META = fields(
    {
        **dict.fromkeys(("classes", "train", "test"), count),
        **{"shape": listed(count, 3), "mean": listed(number), "std": listed(number), "sha256": text},
    }
)


def read_meta(path: str | Path) -> Meta:
    """A dataset's meta.json. Raises DamagedFile as `grammar.read_as`."""
    return cast("Meta", read_as(path, "meta", META))
