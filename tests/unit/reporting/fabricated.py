"""Folders of tables as an experiment leaves them, of cells that are made up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lacuna.artifacts.coordinates import WILDCARDS, State
from lacuna.artifacts.files import read_json, write_json
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.configs import with_config
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.files import write_table
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table

BETTER = {"UA": "oracle", "RA": "oracle", "TA": "oracle", "MIA": "oracle", "avg_gap": "lower", "klom": "lower"}
OPTIONS = {"class": {"method": "class", "forget_class": 3}, "random": {"method": "random", "fraction": 0.1}}
# a cell's UA, RA, TA and MIA: its scenario, state, label and seed, and the noise of its own
Values = Callable[[str, str, str, np.random.Generator], Sequence[float]]


def near_retraining(scenario: str, state: str, label: str, noise: np.random.Generator) -> Sequence[float]:
    """Whoever forgets comes near the oracles, by chance alone; the original forgets nothing."""
    middle = np.array([0.0, 99.0, 95.0, 5.0] if label == "original" else [60.0, 98.0, 94.0, 70.0])
    return tuple(middle + noise.normal(0, 1, 4))


def results(
    values: Values = near_retraining,
    labels: Iterable[str] = ("original", "retrain", "retrain_b", "ft", "ga"),
    seeds: int = 4,
    scenarios: Iterable[str] = ("class", "random"),
    states: Iterable[str] = ("dense", "omp-0.90"),
    datasets: Iterable[str] = ("digits",),
    lacking: Callable[[Mapping[str, Any]], bool] = lambda cell: False,
) -> list[dict[str, Any]]:
    """Results of `evaluate`, without the average gaps. lacking: cells that are not there."""
    found = []
    for dataset in datasets:
        for scenario in scenarios:
            for state in states:
                for label in labels:
                    for seed in range(seeds):
                        cell = {"dataset": dataset, "model": "net", "recipe": "short", "seed": seed, "unlearner": label}
                        cell |= {"scenario": scenario} | State.parse(state)._asdict()
                        noise = np.random.default_rng([*map(ord, f"{dataset}{scenario}{state}{label}"), seed])
                        told = dict(zip(("UA", "RA", "TA", "MIA"), values(scenario, state, label, noise), strict=True))
                        if not lacking(cell):
                            found.append({"cell": cell, "metrics": told})
    return found


def with_gaps(found: list[dict[str, Any]], oracles: Iterable[str]) -> list[dict[str, Any]]:
    """The same with the average gap to each oracle of the same place and seed."""

    def place(cell: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(value for name, value in cell.items() if name != "unlearner")

    values = {(each["cell"]["unlearner"], place(each["cell"])): each["metrics"] for each in found}
    gaps = []
    for each in found:
        beside = {oracle: values.get((oracle, place(each["cell"]))) for oracle in oracles}
        told = {
            f"avg_gap/{oracle}": float(np.mean([abs(each["metrics"][m] - its[m]) for m in its]))
            for oracle, its in beside.items()
            if its
        }
        gaps.append(each | {"metrics": each["metrics"] | told})
    return gaps


def tables(
    folder: Path,
    found: list[dict[str, Any]],
    twins: Mapping[str, str] | None = None,
    oracles: Sequence[str] = ("retrain",),
    missing: Iterable[Mapping[str, Any]] = (),
) -> Path:
    """The folder with cells.csv, summary.csv, sparsity.csv, missing.csv and experiment.json of these results."""
    twins = {"retrain_b": "retrain"} if twins is None else twins
    labels = {name: [*dict.fromkeys(r["cell"][name] for r in found)] for name in found[0]["cell"]}
    grid: dict[str, Any] = {
        "datasets": {label: {"method": "digits"} for label in labels["dataset"]},
        "models": {"net": {"method": "resnet8"}},
        "recipes": {"short": {}},
        "scenarios": {label: OPTIONS.get(label, {"method": "indices"}) for label in labels["scenario"]},
        "pruners": {label: {"method": "omp"} for label in labels["pruner"] if label != "dense"},
        "unlearners": {label: {"method": twins.get(label, label)} for label in labels["unlearner"]},
    }
    judging = {"oracles": list(oracles), "twins": dict(twins), "better": BETTER, "costs": []}
    contest = Contest(cells_table(found), oracles, twins)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "cells.csv", with_config(contest.cells, grid))
    write_table(folder / "summary.csv", with_config(summary_table(contest), grid))
    write_table(folder / "sparsity.csv", sparsity_table(contest, BETTER))
    write_table(folder / "missing.csv", pd.DataFrame(missing, columns=[*WILDCARDS, "reason"]))
    told = {"name": folder.name, "seeds": labels["seed"], "grid": grid, "judging": judging}
    write_json(folder / "experiment.json", told)
    return folder


def retold(folder: Path, judging: Mapping[str, Any] | None = None, **facts: Any) -> Path:
    """The folder with these facts in its experiment.json. judging: parts of it."""
    told = read_json(folder / "experiment.json")
    write_json(folder / "experiment.json", {**told, "judging": {**told["judging"], **(judging or {})}, **facts})
    return folder
