"""Where files lie below the folder of results, which files a model and a cell have, and what stopped jobs leave."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from lacuna.artifacts.coordinates import State, row_of
from lacuna.artifacts.grammar import Form

# `models` holds originals, trained on all data, by sparse state; `cells` their unlearned versions, by
# scenario and unlearner; `shadows` the originals of the shadow models
FOLDERS = {
    "data": "data/{dataset}",
    "splits": "splits/{dataset}/seed{seed}",
    "models": "models/{dataset}/{model}/{recipe}/seed{seed}",
    "shadows": "shadows/{dataset}/{model}/{recipe}/seed{seed}",
    "cells": "cells/{dataset}/{model}/{recipe}/seed{seed}/{scenario}",
    "tuning": "tuning/{experiment}/{dataset}/{model}/{recipe}",
    "tables": "tables/{experiment}",
    "figures": "figures/{experiment}",
    "report": "report",
}
# what stands below a folder, as wildcards of its files' folders
_BELOW = {"models": ("{state}",), "shadows": ("{state}",), "cells": ("{state}", "{unlearner}")}
# what a job leaves beside its model, and beside that of a cell
MODEL_FILES = ("model.safetensors", "mask.npz", "history.csv", "job.json")
CELL_FILES = ("model.safetensors", "mask.npz", "predictions.npz", "history.csv", "job.json")


def model_at(row: Mapping[str, Any], state: State) -> str:
    """The place of the folder of a model that saw everything, for the coordinates of a table's row."""
    return f"{FOLDERS['models'].format(**row)}/{state}"


def cell_at(row: Mapping[Any, Any]) -> str:
    """The place of a cell's folder, for its coordinates in a table's row."""
    return f"{FOLDERS['cells'].format(**row)}/{State(row['pruner'], row['sparsity'])}/{row['unlearner']}"


def coordinates_at(place: str) -> dict[str, str]:
    """The coordinates that the folders of a place name; `state` is a pruner with its sparsity, or dense."""
    first, *names = PurePath(place).parent.parts or ("",)
    keys = [*PurePath(FOLDERS[first]).parts[1:], *_BELOW[first]] if first in _BELOW else []
    coordinates = {key[key.index("{") + 1 : -1]: name for key, name in zip(keys, names, strict=False)}
    if "seed" in coordinates:
        coordinates["seed"] = coordinates["seed"].removeprefix("seed")
    return coordinates


def row_at(place: str) -> dict[str, Any]:
    """The coordinates of a cell in the tables, from the place of a file in its folder ("omp-0.90" → omp, 0.90)."""
    return row_of(coordinates_at(place))


def check_cell(cell: Mapping[str, Any], place: str) -> None:
    """Raise ValueError if a cell, in wildcards or in coordinates of the tables, is not the one of the place."""
    there = coordinates_at(place)
    if not {"dataset", "seed", "state"} <= there.keys():
        return
    there |= State.parse(there["state"])._asdict()
    if "/probe/" in place:
        there["target"] = PurePath(place).stem
    for name, value in there.items():
        if name in cell and str(cell[name]) != value:
            raise ValueError(f"it is of another cell: {name} {str(cell[name])[:60]!r} instead of {value!r}")


def of_cell(form: Form, place: str) -> Form:
    """A form whose `cell` is the one that a place names, if it names one."""

    def check(value: Any, where: str) -> None:
        form(value, where)
        if place:
            check_cell(value["cell"], place)

    return check


# ---- what a stopped job goes on from: beside its output, but no output, so that Snakemake leaves it alone ------------


def checkpoint_beside(output: str | Path, number: int | str = "") -> Path:
    """The checkpoint of a training, and of which one where a job has several."""
    return Path(output).parent / f".checkpoint{number}.safetensors"


def shadow_beside(output: str | Path, model: int) -> Path:
    """A shadow model that is finished in a job that is not."""
    return Path(output).parent / f".shadow{model}.safetensors"


def trials_beside(study: str | Path) -> Path:
    """The trials of a search; a finished one keeps them, for a search with more of them."""
    return Path(study).with_name(f".trials.{Path(study).name}")


def is_trials(path: Path) -> bool:
    """Whether it is such a file."""
    return path.name.startswith(".trials.")


def is_unfinished(path: Path) -> bool:
    """Whether it is what a stopped job goes on from."""
    if is_trials(path):
        return not path.with_name(path.name.removeprefix(".trials.")).exists()
    return path.name.startswith((".checkpoint", ".shadow"))
