"""What may be thrown away: made from something else, and made again where that has changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lacuna.artifacts.files import read_json, write_json
from lacuna.errors import LacunaError


def write_cache(path: str | Path, made_from: str, content: Mapping[str, Any]) -> None:
    """Keep what can be made again; made_from: a digest of all that it was made from."""
    write_json(path, {"made_from": made_from, "content": content})


def read_cache(path: str | Path, made_from: str) -> dict[str, Any] | None:
    """What `write_cache` kept under this digest; None for nothing, for what was altered or made from something else."""
    try:
        stored = read_json(path)
    except LacunaError:
        return None
    content = stored.get("content")
    return content if stored.get("made_from") == made_from and isinstance(content, dict) else None
