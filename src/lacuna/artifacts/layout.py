"""Where the files of a model and of a cell lie: the coordinates that a path names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from lacuna.artifacts.grammar import Form


def folders_of(place: str) -> dict[str, str]:
    """The coordinates that the folders of a place name; `state` is a pruner with its sparsity, or dense."""
    first, *names = PurePath(place).parent.parts or ("",)
    keys = {
        "models": ("dataset", "model", "recipe", "seed", "state"),
        "shadows": ("dataset", "model", "recipe", "seed", "state"),
        "cells": ("dataset", "model", "recipe", "seed", "scenario", "state", "unlearner"),
    }.get(first, ())
    found = dict(zip(keys, names, strict=False))
    if "seed" in found:
        found["seed"] = found["seed"].removeprefix("seed")
    return found


def cell_at(place: str) -> dict[str, Any]:
    """The place of a cell in the tables, from that of a file in its folder ("omp-0.90" → omp, 0.90)."""
    found: dict[str, Any] = folders_of(place)
    state = found.pop("state")
    pruner, _, sparsity = state.rpartition("-")
    return found | {
        "seed": int(found["seed"]),
        "pruner": pruner or state,
        "sparsity": sparsity if pruner else "0.00",
    }


def check_cell(cell: Mapping[str, Any], place: str) -> None:
    """Raise ValueError if a cell, in wildcards or in coordinates of the tables, is not the one of the place."""
    there = folders_of(place)
    if not {"dataset", "seed", "state"} <= there.keys():
        return
    pruner, _, sparsity = there["state"].rpartition("-")
    there |= {"pruner": pruner or there["state"], "sparsity": sparsity if pruner else "0.00"}
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
