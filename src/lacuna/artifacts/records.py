"""What a result says of its making, against what the plan would do now.

Snakemake keeps a record of each file's params in .snakemake, which does not travel with results/; the files' own
records do (`artifacts.origin`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lacuna.artifacts.coordinates import State
from lacuna.artifacts.files import place_of, told_as
from lacuna.artifacts.layout import FOLDERS, cell_at, model_at
from lacuna.artifacts.origin import other_content, record_in

_NONE = "nothing"


def disagreement(record: Mapping[str, Any], parameters: Mapping[str, Any], inputs: Iterable[str]) -> str:
    """The first difference between a record and a job as it is planned, as words; empty if there is none.

    inputs: the job's input files; those of results count, by their content where they exist.
    """
    now = json.loads(json.dumps(parameters))
    before = dict(record["parameters"])
    by_other_code = before.pop("code", None) != now.pop("code", None)
    for key, there, here in differences(before, now):
        return f"{key}: {there} there, {here} here"
    if by_other_code:
        return "made by other code"
    made_from = record.get("inputs")
    made_from = {k: v for k, v in made_from.items() if place_of(k)} if isinstance(made_from, Mapping) else {}
    # a record tells results/..., wherever they lie
    lying = {told_as(path): path for path in inputs if place_of(path)}
    for path in sorted(set(lying) ^ set(made_from)):
        return f"{path}: {'made from it' if path in made_from else 'not made from it'}"
    other = other_content({lying[path]: content for path, content in made_from.items()})
    return f"made from another {other}" if other else ""


def differences(there: Any, here: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted key and both values, shortened, of every leaf in which two JSON values differ."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for name in [*there, *(name for name in here if name not in there)]:
            place = f"{key}.{name}".lstrip(".")
            if name not in there:
                yield place, _NONE, _shown(here[name])
            elif name not in here:
                yield place, _shown(there[name]), _NONE
            else:
                yield from differences(there[name], here[name], place)
    elif there != here:
        yield key, _shown(there), _shown(here)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def unlike_experiment(
    experiment: Mapping[str, Any], cells: Iterable[Mapping[str, str]], results: Path
) -> Iterator[tuple[Path, str]]:
    """Files behind the cells of an experiment that were made with other options than it has, each with the difference.

    experiment: the content of experiment.json; cells: rows of provenance.csv. Files without a record are passed over.
    """
    grid, seen = experiment["grid"], set()

    def entry(axis: str, label: str) -> Any:
        return grid.get(axis, {}).get(label)

    for cell in cells:
        dataset, model, recipe, scenario, unlearner, pruner = (
            cell[k] for k in ("dataset", "model", "recipe", "scenario", "unlearner", "pruner")
        )
        state = State(pruner, cell["sparsity"])
        common = {"model": entry("models", model), "recipe": entry("recipes", recipe)}
        expected = {
            f"{FOLDERS['data'].format(**cell)}/meta.json": {"entry": entry("datasets", dataset)},
            f"{FOLDERS['splits'].format(**cell)}/forget/{scenario}.npz": {"entry": entry("scenarios", scenario)},
            f"{model_at(cell, state)}/job.json": common | ({} if state.dense else {"pruner": entry("pruners", pruner)}),
            f"{cell_at(cell)}/job.json": common
            | {
                "unprune" if unlearner in grid.get("unprune", {}) else "unlearner": _method(
                    grid, unlearner, state.dense
                )
            },
        }
        for name, options in expected.items():
            path = results / name
            if path in seen or not path.exists():
                continue
            seen.add(path)
            recorded = (record_in([path]) or {}).get("parameters", {})
            for key, wanted in options.items():
                if not isinstance(wanted, Mapping) or not isinstance(recorded.get(key), Mapping):
                    continue
                # of an oracle the grid has the method alone: its options are the recipe's
                compared = {k: recorded[key][k] for k in wanted if k in recorded[key]}
                for leaf, there, here in differences(compared, wanted, key):
                    yield path, f"{leaf} is {there}, in the experiment {here}"
                    break


def _method(grid: Mapping[str, Any], label: str, dense: bool) -> Any:
    entry = grid.get("unprune", {}).get(label) or grid.get("unlearners", {}).get(label)
    # any θ_0 fits a dense network, of which nothing is removed: see `start_of` of the rules
    at_will = dense and isinstance(entry, Mapping) and entry.get("start") == "theta0"
    return {**entry, "start": "fresh"} if at_will else entry
