"""Tables of the page: rows that readers sort and filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import DENSE
from lacuna.reporting.columns import COORDINATES, PLACE
from lacuna.reporting.palette import Palette
from lacuna.reporting.report.charts.dots import MARKS, number
from lacuna.reporting.report.study import Study, named
from lacuna.reporting.words import records

# metrics of single cells in the list of cells; all others are in the cell itself
CELL_METRICS = ("UA", "RA", "TA", "MIA")
# what tells of the machine behind a number
MACHINE = ("commit", "device", "arithmetic", "execution", "threads", "lacuna", "python", "torch", "numpy")


def sheet(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[Any]], page: int = 50) -> dict[str, Any]:
    """A table for the page's script: columns as (kind, heading), rows in their order, so many at a time.

    kind: text; number; interval, of a value with half its interval; filter, a text that a list of its values filters.
    """
    return {"columns": [list(column) for column in columns], "rows": [list(row) for row in rows], "page": page}


def main_sheet(rows: pd.DataFrame, oracles: Sequence[str], palette: Palette) -> tuple[dict[str, Any], str]:
    """The main table of the answer, and in words the coordinates that all its rows share."""
    ranks = {label: i for i, label in enumerate(palette.ordered(rows["unlearner"]))}
    nth = rows.groupby(list(PLACE), sort=False).ngroup()
    rows = rows.assign(nth=nth, rank=rows["unlearner"].map(ranks)).sort_values(["nth", "rank"], kind="stable")
    places = ("dataset", "model", "recipe", "scenario", "pruner")
    varying = [c for c in places if rows.loc[rows[c] != DENSE, c].nunique() > 1]
    shared = [f"{c} {of.iloc[0]}" for c in places if c not in varying and len(of := rows.loc[rows[c] != DENSE, c])]
    means = [c for c in CELL_METRICS if c in rows]
    # a narrow screen shows the gap next to its method
    columns = [("filter", "method"), *(("interval", f"gap to {oracle}") for oracle in oracles), ("filter", "sparsity")]
    columns += [("filter", c) for c in varying]
    floors = {oracle: rows[f"gap_{oracle}_floor"].notna().any() for oracle in oracles}
    for oracle in oracles:
        columns += [("number", f"floor, {oracle}")] if floors[oracle] else []
        columns += [("filter", f"verdict, {oracle}")]
    columns += [*(("number", f"{m} (%)") for m in means), ("number", "seeds"), ("filter", "role")]
    table = []
    for row in records(rows):
        fields: list[Any] = [row["unlearner"]]
        for oracle in oracles:
            gap = f"gap_{oracle}"
            fields.append(None if row["unlearner"] == oracle else [row[gap], row[f"{gap}_half"]])
        fields += [DENSE if row["pruner"] == DENSE else row["sparsity"], *(row[c] for c in varying)]
        for oracle in oracles:
            fields += [row[f"gap_{oracle}_floor"]] if floors[oracle] else []
            fields.append(verdict(row, f"gap_{oracle}"))
        table.append([*fields, *(row[m] for m in means), row["seeds"], row["role"]])
    return sheet(columns, table), ", ".join(shared)


def verdict(row: Mapping[str, Any], of: str) -> str:
    """The verdict of a gap as the table has it: symbol and word."""
    if row["role"] != "method":
        return ""
    word = row.get(f"{of}_verdict")
    still = row.get("unchanged")
    kept = ", unchanged" if number(still) and still > 0 else ""  # type: ignore[operator]
    if not isinstance(word, str):
        return f"no test{kept}"
    return f"{MARKS.get(word, '')} {word}{kept}".strip()


def cells_sheet(study: Study) -> dict[str, Any]:
    """One row per cell, in the order of provenance.csv; `names`: the columns that say which cell it is."""
    provenance, cells = study.tables["provenance"], study.tables["cells"]
    keys = list(COORDINATES)
    there = set(cells["metric"])
    shown = [m for m in (*CELL_METRICS, *(f"avg_gap/{o}" for o in study.oracles)) if m in there]
    values = {m: cells[cells["metric"] == m].set_index(keys)["value"].to_dict() for m in shown}
    # the method first, then what differs
    places = ["unlearner", *(c for c in keys if c != "unlearner" and (c == "seed" or provenance[c].nunique() > 1))]
    columns = [("number" if c == "seed" else "filter", "method" if c == "unlearner" else c) for c in places]
    columns += [*(("number", named(m)) for m in shown), ("number", "seconds")]
    rows = []
    for row in records(provenance):
        key = tuple(row[c] for c in keys)
        rows.append([*(row[c] for c in places), *(values[m].get(key) for m in shown), row["seconds"]])
    return sheet(columns, rows, 25) | {"names": len(places)}


def missing_sheet(study: Study) -> dict[str, Any] | None:
    """The cells that the tables leave out; None if there are none."""
    table = study.table("missing")
    if table.empty:
        return None
    kinds = [("text" if c == "reason" else "filter", str(c)) for c in table]
    return sheet(kinds, table.astype(object).where(table.notna(), None).to_numpy().tolist())


def machines_sheet(study: Study) -> dict[str, Any]:
    """How many cells each combination of commit, device and versions made, and in how many seconds."""
    provenance = study.tables["provenance"]
    known = [c for c in MACHINE if c in provenance]
    table = provenance.assign(**{c: provenance[c].astype(object).where(provenance[c].notna(), "") for c in known})
    groups = table.groupby(known, sort=False).agg(cells=("seconds", "size"), seconds=("seconds", "sum")).reset_index()
    columns = [*(("text", c) for c in known), ("number", "cells"), ("number", "seconds of methods")]
    return sheet(columns, groups.to_numpy().tolist())


def frame_sheet(table: pd.DataFrame) -> dict[str, Any]:
    """Any table of the experiment."""
    kinds = [("number" if column.dtype.kind in "iuf" else "filter", str(name)) for name, column in table.items()]
    return sheet(kinds, table.astype(object).where(table.notna(), None).to_numpy().tolist())
