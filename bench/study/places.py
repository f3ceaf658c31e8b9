"""A study in places: each scenario at each sparsity is an experiment of its own, with its own values."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lacuna.experiment.overlay import SUFFIX

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs/results"
# of these the values follow from the recipe, or there are none
UNTUNED = ("original", "retrain", "retrain_exact")

Experiment = Mapping[str, Any]
Values = Mapping[str, Mapping[str, Mapping[str, Any]]]


def places(experiment: Experiment) -> dict[str, tuple[str, str]]:
    """By the name of its experiment, each scenario and sparsity."""
    grid = experiment["grid"]
    texts = [s if isinstance(s, str) else f"{s:.4f}".rstrip("0").ljust(4, "0") for s in grid["sparsities"]]
    return {f"{experiment['name']}_{a}_{b}": (a, b) for a, b in itertools.product(grid["scenarios"], texts)}


def is_tuned(label: str, entry: Mapping[str, Any] | None) -> bool:
    return (entry or {}).get("method", label) not in UNTUNED


def at_place(experiment: Experiment, name: str, seeds: Sequence[int] | None, values: Values) -> dict[str, Any]:
    """The experiment of one place. seeds: with the best values of the place; None: for its search, as FILE has it."""
    scenario, sparsity = places(experiment)[name]
    entries = experiment["grid"]["unlearners"]
    grid = experiment["grid"] | {
        "scenarios": {scenario: experiment["grid"]["scenarios"][scenario]},
        "sparsities": [sparsity],
    }
    made = {**experiment, "name": name, "figures": [], "grid": grid}
    if seeds is None:
        return made
    grid["seeds"] = list(seeds)
    if made.pop("tuning", None) is None and not values:
        return made
    grid["unlearners"] = {label: entry for label, entry in entries.items() if not is_tuned(label, entry)}
    found = {label: study for label, study in values.get(name, {}).items() if label in entries}
    for label, study in found.items():
        entry = entries[label] or {}
        best = study["trials"][study["best"]]["values"]
        grid["unlearners"][label + SUFFIX] = {"method": label, **entry, **best}
    if "unprune" in grid:
        around = [entry for entry in grid["unprune"] if entry["unlearner"] in found]
        grid["unprune"] = [{**entry, "unlearner": entry["unlearner"] + SUFFIX} for entry in around]
    return made


def read_values(experiment: Experiment, pages: Path = PAGES) -> dict[str, Any]:
    file = pages / experiment["name"] / "values.json"
    values = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if "of" not in values:
        return values
    theirs = read_values({"name": values["of"]}, pages)
    return {experiment["name"] + name.removeprefix(values["of"]): found for name, found in theirs.items()}


def expected_cells(experiment: Experiment, values: Values) -> dict[tuple[str, str], int]:
    """By scenario and sparsity, as tables name it, the cells of one seed."""
    grids = {place: at_place(experiment, name, [0], values)["grid"] for name, place in places(experiment).items()}
    trained = math.prod(len(experiment["grid"][axis]) for axis in ("datasets", "models", "recipes"))
    return {
        as_in_tables(place): trained * (len(grid["unlearners"]) + sum(map(_sweep, grid.get("unprune", []))))
        for place, grid in grids.items()
    }


def _sweep(entry: Mapping[str, Any]) -> int:
    """How many cells an entry of `unprune` is: one of each combination of its lists."""
    return math.prod(len(value) for value in entry.values() if isinstance(value, list))


def as_in_tables(place: tuple[str, str]) -> tuple[str, str]:
    return place[0], "0.00" if place[1] == "dense" else place[1]
