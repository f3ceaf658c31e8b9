"""Classes by name: where an entry calls a class by its name, the number that the datasets give it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lacuna.artifacts.files import read_json
from lacuna.data import DATASETS, SCENARIOS
from lacuna.errors import LacunaError, meant
from lacuna.experiment.checks import named
from lacuna.experiment.grid import Entry, Experiment
from lacuna.fields import build

# names that a sentence lists
_LISTED = 20


def numbered(experiment: Experiment, ingested: str | Path | None) -> Experiment:
    """The experiment with numbers for class names, so that a class is the same cell by its name and by its number.

    ingested: where ingested datasets lie; those that are there as the grid has them need not be asked again. Datasets
    are asked for their names only if an entry names a class. Raises LacunaError for a class that a dataset has not,
    and for one to which two datasets give different numbers.
    """
    scenarios = dict(experiment.axes["scenarios"])
    names: dict[str, Sequence[str]] = {}
    for label, entry in scenarios.items():
        for option in SCENARIOS[entry.method].named:
            chosen = entry.values[option]
            if any(isinstance(item, str) for item in (chosen if isinstance(chosen, list) else [chosen])):
                if not names:
                    for dataset, its in experiment.axes["datasets"].items():
                        with named(f"grid.datasets.{dataset}", its):
                            names[dataset] = _names_of(dataset, its, ingested)
                value = _by_number(chosen, names, f"grid.scenarios.{label}.{option}")
                scenarios[label] = entry = Entry(entry.method, entry.values | {option: value})
    return dataclasses.replace(experiment, axes=experiment.axes | {"scenarios": scenarios}) if names else experiment


def _by_number(chosen: Any, names: dict[str, Sequence[str]], where: str) -> Any:
    if isinstance(chosen, list):
        numbers = [_by_number(item, names, where) for item in chosen]
        if len(set(numbers)) < len(numbers):
            raise LacunaError(f"{where}: {chosen} names a class twice; allowed: each class once")
        return numbers
    if not isinstance(chosen, str):
        return chosen
    found = {dataset: _number(chosen, known, dataset, where) for dataset, known in names.items()}
    (first, number), *others = found.items()
    for other, its in others:
        if its != number:
            raise LacunaError(
                f"{where}: '{chosen}' is class {number} of {first} and class {its} of {other}; "
                "allowed: a name with the same number in all datasets, or an experiment for each"
            )
    return number


def _number(name: str, known: Sequence[str], dataset: str, where: str) -> int:
    if not known:
        raise LacunaError(f"{where}: '{name}' is not known, as dataset '{dataset}' names no classes; allowed: a number")
    if name not in known:
        listed = ", ".join(known[:_LISTED]) + (f" and {len(known) - _LISTED} more" if len(known) > _LISTED else "")
        raise LacunaError(
            f"{where}: '{name}' is no class of dataset '{dataset}'{meant(name, known)}; "
            f"allowed: 0 to {len(known) - 1}, or a name: {listed}"
        )
    return known.index(name)


def _names_of(label: str, entry: Entry, ingested: str | Path | None) -> Sequence[str]:
    dataset = build(DATASETS[entry.method], entry.values)
    if ingested is not None:
        try:
            meta = read_json(Path(ingested, label, "meta.json"))
            # where the user's files are not at hand, as on a node of a cluster, they cannot have changed
            if meta["entry"] == {"method": entry.method, **entry.values} and meta.get("content", "") in (
                "",
                dataset.content(),
            ):
                return list(meta["class_names"])
        except (OSError, LacunaError, KeyError, TypeError):
            pass  # nothing usable is stored: ask the dataset itself
    return list(dataset.class_names())
