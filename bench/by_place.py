"""An experiment whose values are tuned for each place, a scenario at a sparsity, and the tables of all places together.

    python bench/by_place.py search FILE [--cores 2]            # `snakemake tune` at every place
    python bench/by_place.py run FILE --seeds 0 1 [--cores 2]   # cells and tables of these seeds at every place
    python bench/by_place.py tables FILE                        # docs/results/<name>/*.csv and the tables of its page

A grid has one set of values for all its scenarios and sparsities. Here FILE, an experiment with `tuning`, is run as one
experiment for each place, `<name>_class_0.90`, so that every place gets its own values. They share every model that is
the same. `search` leaves all values that were tried in docs/results/<name>/values.json; `run` takes the best from there
and calls the methods `ft_tuned`, as `snakemake tune` does. Where a place has no values yet `run` makes the untouched
model and the oracles alone. Each goes on after an interruption, and `run` needs no search where values.json is there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lacuna.experiment.overlay import SUFFIX, as_yaml
from lacuna.experiment.yaml_files import read_yaml
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.files import read_table, write_table
from lacuna.reporting.tables.record import told_of
from lacuna.reporting.tables.sparsity import sparsity_table

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs/results"
# of these the values follow from the recipe, or there are none
UNTUNED = ("original", "retrain", "retrain_exact")
JOINED = ("cells", "summary", "missing", "provenance")
# what a page has of a cell, and what lies between the lines that it gives to these tables
ACCURACIES = ("UA", "RA", "TA", "MIA")
MARKS = ("<!-- tables: by_place.py -->", "<!-- end of tables -->")

Experiment = Mapping[str, Any]
Values = Mapping[str, Mapping[str, Mapping[str, Any]]]


# ---- one experiment for each place ----------------------------------------------------------------------------------


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
    del made["tuning"]
    grid["seeds"] = list(seeds)
    grid["unlearners"] = {label: entry for label, entry in entries.items() if not is_tuned(label, entry)}
    for label, study in values.get(name, {}).items():
        entry = entries[label] or {}
        best = study["trials"][study["best"]]["values"]
        grid["unlearners"][label + SUFFIX] = {"method": label, **entry, **best}
    return made


# ---- runs -----------------------------------------------------------------------------------------------------------


class Runs:
    """Runs of Snakemake, one after the other; a signal that ends this process ends the present one first, and its jobs.

    Of a signal to itself alone Snakemake says that it ends with its jobs; they are told too, and keep where they are.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self.child: subprocess.Popen[bytes] | None = None
        self.told = 0
        for kind in (signal.SIGTERM, signal.SIGINT):
            signal.signal(kind, self._end)

    def _end(self, kind: int, frame: object) -> None:
        self.told = kind
        # the call that waits for it cannot be waited for here
        if self.child is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)
        else:
            sys.exit(128 + kind)

    def __call__(self, made: Experiment, *arguments: str) -> bool:
        """One run; whether all of it was made."""
        folder = ROOT / "build" / "by_place"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{made['name']}.yaml"
        file.write_text(as_yaml(made, "made by bench/by_place.py"), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", str(self.cores)]
        self.child = subprocess.Popen([*command, *arguments, "--configfile", str(file)], cwd=ROOT, process_group=0)
        status = self.child.wait()
        if self.told:
            sys.exit(128 + self.told)
        return status == 0


def search(experiment: Experiment, runs: Runs) -> None:
    grid = experiment["grid"]
    where = "/".join(next(iter(grid[axis])) for axis in ("datasets", "models", "recipes"))
    file = PAGES / experiment["name"] / "values.json"
    for name in places(experiment):
        found = read_values(experiment)
        if name in found or not runs(at_place(experiment, name, None, {}), "tune"):
            continue
        found[name] = {
            label: searched(json.loads((ROOT / f"results/tuning/{name}/{where}/{label}.json").read_text()))
            for label, entry in grid["unlearners"].items()
            if is_tuned(label, entry)
        }
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def searched(study: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a study: every value that was tried, with its score and its cost."""
    trials = [
        {
            "values": trial["values"],
            "score": round(trial["score"], 3),
            "seconds": round(sum(part["seconds"] for part in trial["parts"]), 1),
        }
        for trial in study["trials"]
    ]
    return {"space": study["space"], "best": study["best"], "trials": trials}


def read_values(experiment: Experiment) -> dict[str, Any]:
    file = PAGES / experiment["name"] / "values.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def run(experiment: Experiment, runs: Runs, seeds: Sequence[int]) -> None:
    for name in places(experiment):
        made = at_place(experiment, name, seeds, read_values(experiment))
        if not runs(made):
            # a method that diverges is a finding: tables of the others
            runs(made, "tables", "--config", "missing=allow")


# ---- tables ---------------------------------------------------------------------------------------------------------


def joined(experiment: Experiment, results: Path) -> dict[str, pd.DataFrame]:
    """The tables of all places that there are, one below the other, and what sparsity changes, over them."""
    folders = [results / name for name in places(experiment) if (results / name / "experiment.json").exists()]
    if not folders:
        sys.exit(f"by_place.py: {results}: no table of {experiment['name']} is there; allowed: after a run")
    made = {table: pd.concat([read_table(f / f"{table}.csv") for f in folders]) for table in JOINED}
    told = told_of(json.loads((folders[0] / "experiment.json").read_text()))
    contest = Contest(made["cells"], told["oracles"], told["twins"], told["original"])
    made["sparsity"] = sparsity_table(contest, told["judged"])
    return {table: shorter(rows.reset_index(drop=True)) for table, rows in made.items()}


def shorter(table: pd.DataFrame) -> pd.DataFrame:
    """The table with six digits of every number."""
    numbers = [column for column in table if table[column].dtype.kind == "f"]
    return table.assign(**{c: table[c].map(lambda value: float(f"{value:.6g}")) for c in numbers})


def tables(experiment: Experiment) -> None:
    folder = PAGES / experiment["name"]
    folder.mkdir(exist_ok=True)
    for table, rows in joined(experiment, ROOT / "results/tables").items():
        write_table(folder / f"{table}.csv", rows)
    page = folder.with_suffix(".md")
    if page.exists():
        page.write_text(with_tables(page.read_text(encoding="utf-8"), folder), encoding="utf-8")


def with_tables(page: str, folder: Path) -> str:
    """The page with its tables as the CSV files in `folder` have them."""
    begin, end = MARKS
    if page.count(begin) != 1 or page.count(end) != 1:
        sys.exit(f"by_place.py: {folder}.md: no place for tables; allowed: one between {begin} and {end}")
    tables = page_tables(read_table(folder / "summary.csv"), read_table(folder / "sparsity.csv"))
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{tables}\n{end}", page, flags=re.DOTALL)


def page_tables(summary: pd.DataFrame, sparsity: pd.DataFrame) -> str:
    """Markdown: of each scenario the accuracies, the average gap to each oracle, and what sparsity changes of it."""
    oracles = [column.removesuffix("_floor").removeprefix("gap_") for column in summary if column.endswith("_floor")]
    texts = []
    for scenario, rows in summary.groupby("scenario", sort=False):
        states = list(dict.fromkeys(rows["sparsity"]))
        values = rows.set_index(["unlearner", "sparsity", "metric"])
        heads = ["dense" if state == "0.00" else state for state in states]
        labels = list(dict.fromkeys(rows["unlearner"]))
        texts += [f"### {scenario}: {' / '.join(ACCURACIES)}", ""]
        texts += _markdown(
            ["", *heads],
            [
                [f"`{label.removesuffix(SUFFIX)}`", *(_accuracies(values, label, state) for state in states)]
                for label in labels
            ],
        )
        for oracle in oracles:
            metric = f"avg_gap/{oracle}"
            changes = sparsity[(sparsity["scenario"] == scenario) & (sparsity["metric"] == metric)]
            changes = changes.set_index(["unlearner", "sparsity"])
            there = [label for label in labels if label != oracle and (label, states[0], metric) in values.index]
            texts += [f"### {scenario}: average gap to `{oracle}`", ""]
            texts += _markdown(
                ["", *heads, *(f"{head} − dense" for head in heads[1:])],
                [
                    [
                        f"`{label.removesuffix(SUFFIX)}`",
                        *(mean_of(values, (label, state, metric)) for state in states),
                        *(_change(changes, (label, state)) for state in states[1:]),
                    ]
                    for label in there
                ],
            )
    return "\n".join(texts)


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _accuracies(values: pd.DataFrame, label: str, state: str) -> str:
    keys = [(label, state, metric) for metric in ACCURACIES]
    return " / ".join(f"{values.loc[key, 'mean']:.1f}" if key in values.index else "" for key in keys).strip(" /")


def mean_of(values: pd.DataFrame, key: tuple[str, str, str]) -> str:
    """Mean ± half of the interval, if the seeds give one."""
    if key not in values.index:
        return ""
    row = values.loc[key]
    half = "" if pd.isna(row["ci_high"]) else f" ± {row['ci_high'] - row['mean']:.1f}"
    return f"{row['mean']:.1f}{half}"


def _change(changes: pd.DataFrame, key: tuple[str, str]) -> str:
    if key not in changes.index:
        return ""
    row = changes.loc[key]
    interval = "" if pd.isna(row["change_low"]) else f" [{row['change_low']:+.1f}, {row['change_high']:+.1f}]"
    verdict = row["verdict"] if row["verdict"] in ("closer", "farther") else ""
    return f"{row['change']:+.1f}{interval} {verdict}".rstrip()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["search", "run", "tables"])
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--seeds", type=int, nargs="+", help="default: those of FILE")
    arguments.add_argument("--cores", type=int, default=1)
    chosen = arguments.parse_args()
    experiment = read_yaml(chosen.file)
    if chosen.what == "tables":
        tables(experiment)
    elif chosen.what == "search":
        search(experiment, Runs(chosen.cores))
    else:
        run(experiment, Runs(chosen.cores), chosen.seeds or experiment["grid"]["seeds"])


if __name__ == "__main__":
    main()
