"""What the record of an experiment tells the tables; imports no pandas, so that a plan can ask too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def original_of(grid: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """The label of the untouched model in a grid (see `provenance.config_hash`); of several the one that bears
    its name, else the first, for they are the same model. "original" if the grid has none."""
    labels = [label for label, entry in grid.get("unlearners", {}).items() if entry["method"] == "original"]
    return "original" if "original" in labels else min(labels, default="original")


def told_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What tables may ask of an experiment, by the names of their parameters.

    record: the content of experiment.json, of which `grid` and `judging` count. oracles, twins, original: who is who
    (`Contest`). better: the direction of each metric; judged: the same without costs. grid: see `config_hash`.
    """
    judging, grid = record["judging"], record["grid"]
    better = judging["better"]
    return {
        "oracles": judging["oracles"],
        "twins": judging["twins"],
        "original": original_of(grid),
        "better": better,
        "judged": {name: direction for name, direction in better.items() if name not in judging["costs"]},
        "grid": grid,
    }
