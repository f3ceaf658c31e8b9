"""What another recipe changes: the differences between two recipes of one experiment, seed by seed, and their CPU time.

    python bench/by_recipe.py NAME RECIPE OTHER [--results results]

writes docs/results/<name>/ from the tables and benchmark files of a finished run: cells.csv; differences.csv, RECIPE −
OTHER of each accuracy, paired by seed; cpu.csv, CPU seconds of every training.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import State
from lacuna.errors import LacunaError
from lacuna.evaluation.statistics import t_interval
from lacuna.reporting.tables.files import read_table, write_table

PAGES = Path(__file__).resolve().parents[1] / "docs/results"
METRICS = ("UA", "RA", "TA", "MIA")
PLACE = ["scenario", "pruner", "sparsity", "unlearner", "metric"]


def differences(cells: pd.DataFrame, recipe: str, other: str) -> pd.DataFrame:
    """recipe − other of `METRICS`, mean over the `n` seeds of both with its 95 % t interval; `largest` |difference|.

    verdict: "not shown" where the interval holds 0, as it must in 19 of 20 rows if nothing differs; else "differs".
    """
    cells = cells[cells["metric"].isin(METRICS)]
    ours, theirs = (cells[cells["recipe"] == name].set_index([*PLACE, "seed"])["value"] for name in (recipe, other))
    rows = []
    for place, change in (ours - theirs).dropna().groupby(level=PLACE, sort=False):
        mean, low, high = (float(number) for number in t_interval(change.to_numpy()))
        known = low == low
        shown = ("differs" if low > 0 or high < 0 else "not shown") if known else None
        rows.append((*place, mean, low, high, float(change.abs().max()), len(change), shown))
    table = pd.DataFrame(rows, columns=[*PLACE, "change", "change_low", "change_high", "largest", "n", "verdict"])
    return table.round(4)


def cpu_seconds(results: Path, cells: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds of every job that trained a network of these cells: dense, pruned, or an oracle.

    A training that was interrupted is left out: its file tells of the last part alone.
    """
    found = {row for cell in cells.to_dict("records") for row in _trainings(results, cell)}
    return pd.DataFrame(sorted(found), columns=["recipe", "seed", "state", "what", "cpu_seconds"])


def _trainings(results: Path, cell: dict[str, Any]) -> Iterator[tuple[str, int, str, str, float]]:
    place = Path(cell["dataset"], cell["model"], cell["recipe"], f"seed{cell['seed']}")
    state = str(State(cell["pruner"], cell["sparsity"]))
    files = [
        ("original", f"models/{place}/{state}", f"models/{place}/{state}/job.json"),
        ("oracle", f"cells/{place}/{cell['scenario']}/{state}/{cell['unlearner']}", ""),
    ]
    for what, file, job in files:
        measured = results / f"benchmarks/{file}.tsv"
        if (what == "oracle" and cell["unlearner"] == "original") or not measured.exists():
            continue
        row = pd.read_csv(measured, sep="\t").iloc[-1]
        seconds = json.loads((results / (job or f"{file}/job.json")).read_text(encoding="utf-8"))["seconds"]
        if row["s"] >= seconds:
            yield cell["recipe"], cell["seed"], state, what, float(row["cpu_time"])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("name", "recipe", "other"):
        arguments.add_argument(name)
    arguments.add_argument("--results", type=Path, default=Path("results"))
    chosen = arguments.parse_args()
    folder = PAGES / chosen.name
    cells = read_table(chosen.results / "tables" / chosen.name / "cells.csv")
    made = {
        "cells": cells.assign(value=[float(f"{value:.6g}") for value in cells["value"]]),
        "differences": differences(cells, chosen.recipe, chosen.other),
        "cpu": cpu_seconds(chosen.results, cells),
    }
    folder.mkdir(exist_ok=True)
    for name, table in made.items():
        write_table(folder / f"{name}.csv", table)


if __name__ == "__main__":
    try:
        main()
    except LacunaError as error:
        sys.exit(f"by_recipe.py: {error}")
