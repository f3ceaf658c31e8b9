"""Where a number comes from: the configuration of its cell, and the job that made the cell's model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# What is told of a job, in the order of the columns of provenance.csv.
FACTS = (
    "commit",
    "random_stream",
    "lacuna",
    "python",
    "torch",
    "numpy",
    "device",
    "arithmetic",
    "execution",
    "threads",
    "slurm_job",
    "seconds",
    "model_sha256",
    "predictions_sha256",
)
# coordinate → axis of the grid; the un-prunings are unlearners too
_AXES = {
    "dataset": ("datasets",),
    "model": ("models",),
    "recipe": ("recipes",),
    "scenario": ("scenarios",),
    "pruner": ("pruners",),
    "unlearner": ("unlearners", "unprune"),
}


def facts_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """`FACTS` from the content of a cell's job.json; None for what it does not hold.

    seconds: of the method alone. model_sha256, predictions_sha256: the checksums that the two files carry.
    """
    facts = {**job, **job.get("versions", {})}
    facts |= {f"{name}_sha256": content for name, content in job.get("outputs", {}).items()}
    return {name: facts.get(name) for name in FACTS}


def unchanged(job: Mapping[str, Any]) -> bool:
    """Whether a cell's job says that its method gave back the original model bit for bit; never of `original`."""
    method = job.get("parameters", {}).get("unlearner", {}).get("method")
    return method != "original" and (job.get("facts") or {}).get("unchanged") == 1.0


def config_hash(grid: Mapping[str, Mapping[str, Any]], cell: Mapping[str, Any]) -> str:
    """16 hex digits that name the configuration of a cell: labels and options of all its entries, and the sparsity.

    grid: options by label by axis, defaults filled in. cell: the coordinates of the tables. Seeds share a
    configuration, and so do two tables in which one label has the same options; another value is another hash.
    """
    chosen: dict[str, Any] = {"sparsity": cell["sparsity"]}
    for coordinate, axes in _AXES.items():
        label = cell[coordinate]
        entry = next((grid[axis][label] for axis in axes if label in grid.get(axis, {})), None)
        chosen[coordinate] = [label, entry]
        if coordinate == "unlearner" and entry is not None and "unlearner" in entry:
            # what is un-pruned around
            chosen["around"] = grid["unlearners"][entry["unlearner"]]
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:16]
