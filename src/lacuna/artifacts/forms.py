"""The form of the JSON files of a results tree: which fields their readers rely on, and the cell that a path names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any

from lacuna.artifacts.files import place_of, read_json
from lacuna.errors import DamagedFile

# Raises ValueError with the field and what is wrong; the text is the field's name.
Form = Callable[[Any, str], None]
# a table would hand such a text to a spreadsheet as a formula
_METRIC = re.compile(r"[^\s=+\-@'\"][^\r\n\t]*")


def _of(kinds: type | tuple[type, ...], what: str) -> Form:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise ValueError(f"{where} is no {what}")

    return check


text, mapping = _of(str, "text"), _of(dict, "object")


def number(value: Any, where: str) -> None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where} is no number")


def amount(value: Any, where: str) -> None:
    """A number that is not negative."""
    number(value, where)
    if value < 0:
        raise ValueError(f"{where} is negative")


def count(value: Any, where: str) -> None:
    """A whole number that is not negative."""
    amount(value, where)
    if not isinstance(value, int):
        raise ValueError(f"{where} is no whole number")


def scalar(value: Any, where: str) -> None:
    """What fits in one field of a table."""
    if isinstance(value, dict | list):
        raise ValueError(f"{where} is no single value")


def metric(value: Any, where: str) -> None:
    """The name of a metric, as it goes into tables."""
    text(value, where)
    if not _METRIC.fullmatch(value):
        raise ValueError(f"{where} has no name of a metric: {value[:60]!r}")


def each(form: Form, name: Form = text) -> Form:
    """An object whose names and values have a form."""

    def check(value: Any, where: str) -> None:
        mapping(value, where)
        for key, item in value.items():
            name(key, where)
            form(item, f"{where}.{key}")

    return check


def listed(form: Form, length: int | None = None) -> Form:
    """A list of values with a form."""

    def check(value: Any, where: str) -> None:
        _of(list, "list")(value, where)
        if length is not None and len(value) != length:
            raise ValueError(f"{where} has {len(value)} values instead of {length}")
        for item in value:
            form(item, where)

    return check


def fields(required: Mapping[str, Form], optional: Mapping[str, Form] | None = None) -> Form:
    """An object with these fields; others may stand beside them."""

    def check(value: Any, where: str) -> None:
        mapping(value, where)
        for name in required:
            if name not in value:
                raise ValueError(f"{where + '.' if where else ''}{name} is missing")
        for name, form in {**required, **(optional or {})}.items():
            if name in value:
                form(value[name], f"{where + '.' if where else ''}{name}")

    return check


def _curve(value: Any, where: str) -> None:
    fields({"fpr": listed(number), "tpr": listed(number)})(value, where)
    if len(value["fpr"]) != len(value["tpr"]):
        raise ValueError(f"{where} has curves of two lengths")


def _study(value: Any, where: str) -> None:
    trial = fields({"values": mapping, "score": number})
    fields({"trials": listed(trial), "best": count, "parameters": mapping, "inputs": each(text)})(value, where)
    if value["best"] >= len(value["trials"]):
        raise ValueError("best is no trial")


_METRICS = each(number, metric)
_JOB = fields(
    {"cell": mapping, "seconds": amount, "inputs": each(text), "parameters": mapping, "versions": each(text)},
    {
        **dict.fromkeys(("steps", "samples", "forwards", "backwards", "threads"), count),
        **{"facts": mapping, "outputs": each(text), "commit": text, "network": mapping},
    },
)
# the results of one cell
_OF_CELLS = ("metrics", "population", "probe")
FORMS: dict[str, Form] = {
    "job": _JOB,
    "metrics": fields(
        {
            "cell": mapping,
            "metrics": _METRICS,
            "layers": each(each(number), metric),
            "origin": each(scalar),
            "evaluated_at_commit": text,
            "job": text,
            "inputs": each(text),
        },
        {"absent": each(text), "notes": each(text), "parameters": mapping},
    ),
    "population": fields({"cell": mapping, "metrics": _METRICS, "attacks": each(_curve, metric), "inputs": each(text)}),
    "probe": fields({"cell": mapping, "metrics": _METRICS, "inputs": each(text)}),
    "relearn": fields({"accuracy": listed(number), "target": number, "epochs": scalar, "inputs": each(text)}),
    "curvature": fields({"distance": amount, "inputs": each(text)}),
    "meta": fields(
        {
            **dict.fromkeys(("classes", "train", "test"), count),
            **{"shape": listed(count, 3), "mean": listed(number), "std": listed(number), "sha256": text},
        }
    ),
    "study": _study,
    "inputs": each(text),
    "experiment": fields(
        {
            "name": text,
            "grid": each(each(mapping)),
            "judging": fields(
                {"oracles": listed(text), "twins": each(text), "better": each(scalar), "costs": listed(text)}
            ),
            "tables": each(text),
        }
    ),
}


def read_form(path: str | Path, form: str, place: str | None = None) -> dict[str, Any]:
    """A JSON file with the fields of its form, and of the cell that its path names.

    place: as `files.check_place`. Raises DamagedFile for a missing, altered or foreign file, one of another
    form, and one that names another cell than its path.
    """
    value = read_json(path, place)
    try:
        FORMS[form](value, "")
        named = place_of(path) if place is None else place
        if form in ("job", *_OF_CELLS) and named:
            _check_cell(value["cell"], named)
        if form in _OF_CELLS and named.startswith("cells/"):
            value["cell"] = cell_at(named) | ({"target": PurePath(named).stem} if form == "probe" else {})
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"{path}: not a usable {form} file ({error})") from None
    return value


def read_forms(paths: Iterable[str | Path], form: str) -> list[dict[str, Any]]:
    """Several of them, in the given order."""
    return [read_form(path, form) for path in paths]


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


def _check_cell(cell: Mapping[str, Any], place: str) -> None:
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
