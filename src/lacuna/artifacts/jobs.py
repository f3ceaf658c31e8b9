"""job.json: what a job that made a model did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from lacuna.artifacts.files import place_of
from lacuna.artifacts.grammar import amount, count, each, fields, mapping, read_as, text
from lacuna.artifacts.layout import of_cell

if TYPE_CHECKING:
    from lacuna.artifacts.contents import Job

JOB = fields(
    {"cell": mapping, "seconds": amount, "inputs": each(text), "parameters": mapping, "versions": each(text)},
    {
        **dict.fromkeys(("steps", "samples", "forwards", "backwards", "threads"), count),
        **{"facts": mapping, "outputs": each(text), "commit": text, "network": mapping},
    },
)


def read_job(path: str | Path) -> Job:
    """A model's job.json. Raises DamagedFile as `grammar.read_as`, and for one of another cell than its path names."""
    return cast("Job", read_as(path, "job", of_cell(JOB, place_of(path))))
