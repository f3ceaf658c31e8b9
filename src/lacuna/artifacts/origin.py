"""What a result says of its making, for the jobs that read it: was it made from the files that lie here?

Every file that later jobs read says so of itself: JSON under "parameters" and "inputs", npz in the archive's comment.
`artifacts.records` compares the same with a plan, which is no matter of jobs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lacuna.artifacts.files import comment_of, content_digest, place_of, read_json
from lacuna.errors import DamagedFile, LacunaError


def record_in(outputs: Iterable[str | Path]) -> Mapping[str, Any] | None:
    """`parameters` and `inputs` of the job that made these files; None if none of them says so."""
    for path in sorted(map(Path, outputs), key=lambda p: (p.suffix != ".json", str(p))):
        try:
            if path.suffix == ".json":
                record = read_json(path)
            elif path.suffix == ".npz":
                record = json.loads(comment_of(path) or "null")
            else:
                continue
        except (LacunaError, ValueError):
            continue  # damaged: no word of it counts
        if isinstance(record, Mapping) and isinstance(record.get("parameters"), Mapping):
            return record
    return None


def check_origin(path: str | Path, made_from: Mapping[str, Any] | None = None) -> None:
    """Raise DamagedFile for a file of a tree that was made from another file than the one that lies there now.

    It may be sound, of the right place and as old as Snakemake remembers, and still another run's. made_from: the
    inputs to look at, with their content; None: all that the file's record names.
    """
    if made_from is None:
        made_from = (record_in([path]) or {}).get("inputs")
    named = made_from if isinstance(made_from, Mapping) else {}
    tree = str(path).removesuffix(place_of(path))
    if other := other_content(
        {f"{tree}{place_of(told)}": content for told, content in named.items() if place_of(told)}
    ):
        raise DamagedFile(path, f"{path}: built from an older {other}")


def other_content(contents: Mapping[str, object]) -> str:
    """The first of these files that is there with another content; empty if there is none."""
    for path, content in contents.items():
        try:
            if Path(path).exists() and content_digest(path) != content:
                return path
        except LacunaError:
            continue  # the job that reads it says so
    return ""
