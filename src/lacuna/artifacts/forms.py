"""The forms of all JSON files of a results tree, and the cell that a path names.

Jobs that make models read `meta.read_meta` and `jobs.read_job` instead: a field more of a metrics file makes no model
again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

from lacuna.artifacts.files import place_of
from lacuna.artifacts.grammar import (
    Form,
    amount,
    count,
    each,
    fields,
    listed,
    mapping,
    metric,
    number,
    read_as,
    scalar,
    text,
)
from lacuna.artifacts.jobs import JOB
from lacuna.artifacts.layout import check_cell, row_at
from lacuna.artifacts.meta import META


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
# the results of one cell
_OF_CELLS = ("metrics", "population", "probe")
FORMS: dict[str, Form] = {
    "job": JOB,
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
    "meta": META,
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
        },
        {"order": each(listed(text))},
    ),
}


def read_form(path: str | Path, form: str, place: str | None = None) -> dict[str, Any]:
    """A JSON file with the fields of its form, and of the cell that its path names, which `cell` then is in full.

    place: as `files.check_place`. Raises DamagedFile for a missing, altered or foreign file, one of another
    form, and one that names another cell than its path.
    """
    named = place_of(path) if place is None else place

    def check(value: Any, where: str) -> None:
        FORMS[form](value, where)
        if form in ("job", *_OF_CELLS) and named:
            check_cell(value["cell"], named)
        if form in _OF_CELLS and named.startswith("cells/"):
            value["cell"] = row_at(named) | ({"target": PurePath(named).stem} if form == "probe" else {})

    return read_as(path, form, check, place)


def read_forms(paths: Iterable[str | Path], form: str) -> list[dict[str, Any]]:
    """Several of them, in the given order."""
    return [read_form(path, form) for path in paths]
