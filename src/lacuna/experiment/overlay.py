"""An experiment with the values that tuning found, as a file that can be run. Imports no torch."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

# how an experiment is run is no part of it: where, and on which of its cells
HOW_TO_RUN = ("device", "images", "missing", "results", "snakemake_patches")
# what a winner's entry is called beside the one that it was searched from
SUFFIX = "_tuned"


def without_how_to_run(config: Mapping[str, Any]) -> dict[str, Any]:
    """An experiment's files without how it is run: another disk or device makes nothing of it run again."""
    return {key: value for key, value in config.items() if key not in HOW_TO_RUN}


def with_winning_values(
    config: Mapping[str, Any], place: Mapping[str, str], winners: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The experiment `<name>_tuned` on one dataset, model and recipe, with the winning values.

    config: the experiment as its files have it; how it was run (`HOW_TO_RUN`) is left out. place: the labels of that
    dataset, model and recipe. winners: by label of an unlearner, the values that differ from the grid's. An entry that
    gets other values gets another label, `ft_tuned`, since a label names files; where the grid's values won, cells are
    shared.
    """
    experiment = copy.deepcopy({key: value for key, value in without_how_to_run(config).items() if key != "tuning"})
    experiment["name"] = config["name"] + SUFFIX
    grid = experiment["grid"]
    for axis in ("dataset", "model", "recipe"):
        grid[f"{axis}s"] = {place[axis]: grid[f"{axis}s"][place[axis]]}
    labels = {
        label: _beside(label, grid["unlearners"]) if winners.get(label) else label for label in grid["unlearners"]
    }
    grid["unlearners"] = {
        labels[label]: {"method": label, **(entry or {}), **winners[label]} if winners.get(label) else entry
        for label, entry in grid["unlearners"].items()
    }
    for entry in grid.get("unprune") or []:
        around = entry["unlearner"]
        several = isinstance(around, list)
        entry["unlearner"] = [labels[label] for label in around] if several else labels[around]
    return experiment


def _beside(label: str, taken: Mapping[str, Any]) -> str:
    while label in taken:
        label += SUFFIX
    return label


def as_yaml(experiment: Mapping[str, Any], head: str) -> str:
    """The file's text; head: the comment that it begins with."""
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    return comment + yaml.safe_dump(dict(experiment), sort_keys=False, allow_unicode=True, width=120)
