"""An experiment whose values are tuned for each place, a scenario at a sparsity, and the tables of all places together.

    python bench/by_place.py search FILE [--cores 2]            # `snakemake tune` at every place
    python bench/by_place.py run FILE --seeds 0 1 [--cores 2]   # cells and tables of these seeds at every place
    python bench/by_place.py tables FILE [--results results]    # docs/results/<name>/*.csv and the tables of its page

A grid has one set of values for all its scenarios and sparsities. Here FILE, an experiment with `tuning`, is run as one
experiment for each place, `<name>_class_0.90`, so that every place gets its own values. They share every model that is
the same. `search` leaves all values that were tried in docs/results/<name>/values.json; `run` takes the best from there
and calls the methods `ft_tuned`, as `snakemake tune` does. Where a place has no values yet `run` makes the untouched
model and the oracles alone. Each goes on after an interruption, and `run` needs no search where values.json is there.
`{"of": "memorising"}` in values.json means: those of that study. A FILE with neither is run with its own values.

A study may be made seed by seed, each where no results of the others are left: `tables` adds the cells of results/ to
those that docs/results/<name>/ has of other seeds, and computes everything else from all of them. It first compares
both experiments (docs/results/<name>/experiment.json): images, recipe, values, metrics.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lacuna.artifacts.coordinates import DENSE, State
from lacuna.artifacts.files import read_json
from lacuna.errors import LacunaError
from lacuna.evaluation.statistics import t_interval
from lacuna.experiment import catalogue
from lacuna.experiment.overlay import SUFFIX, as_yaml
from lacuna.experiment.yaml_files import read_yaml
from lacuna.reporting.columns import PLACE
from lacuna.reporting.tables.configs import with_config_of
from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.files import read_table, write_table
from lacuna.reporting.tables.record import told_of
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs/results"
# of these the values follow from the recipe, or there are none
UNTUNED = ("original", "retrain", "retrain_exact")
# what seeds are added up by; the other tables follow from the cells
JOINED = ("cells", "missing", "provenance")
# one seed of a place is of one run: its gaps are to that run's own oracles
UNIT = (*PLACE, "seed")
# what a page has of a cell, the first that there is, and what lies between the lines that it gives to these tables
SHOWN = (("SA", "ASR"), ("UA", "RA", "TA", "MIA"))
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
    grid["seeds"] = list(seeds)
    if made.pop("tuning", None) is None and not values:
        return made
    grid["unlearners"] = {label: entry for label, entry in entries.items() if not is_tuned(label, entry)}
    found = {label: study for label, study in values.get(name, {}).items() if label in entries}
    for label, study in found.items():
        entry = entries[label] or {}
        best = study["trials"][study["best"]]["values"]
        grid["unlearners"][label + SUFFIX] = {"method": label, **entry, **best}
    if "unprune" in grid:
        around = [entry for entry in grid["unprune"] if entry["unlearner"] in found]
        grid["unprune"] = [{**entry, "unlearner": entry["unlearner"] + SUFFIX} for entry in around]
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
    """What is kept of a study: every value that was tried, with its score, its accuracies (means) and its cost."""
    trials = []
    for trial in study["trials"]:
        parts = pd.DataFrame([part.get("accuracy", {}) for part in trial["parts"]])
        trials.append(
            {
                "values": trial["values"],
                "score": round(trial["score"], 3),
                "accuracy": {name: round(value, 2) for name, value in parts.mean().dropna().items()},
                "seconds": round(sum(part["seconds"] for part in trial["parts"]), 1),
            }
        )
    return {"space": study["space"], "best": study["best"], "trials": trials}


def read_values(experiment: Experiment, pages: Path = PAGES) -> dict[str, Any]:
    file = pages / experiment["name"] / "values.json"
    values = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if "of" not in values:
        return values
    theirs = read_values({"name": values["of"]}, pages)
    return {experiment["name"] + name.removeprefix(values["of"]): found for name, found in theirs.items()}


def run(experiment: Experiment, runs: Runs, seeds: Sequence[int]) -> None:
    for name in places(experiment):
        made = at_place(experiment, name, seeds, read_values(experiment))
        if not runs(made):
            # a method that diverges is a finding: tables of the others
            runs(made, "tables", "--config", "missing=allow")


# ---- seeds of several runs ------------------------------------------------------------------------------------------


def definition(experiment: Experiment, results: Path) -> dict[str, Any]:
    """What all seeds of an experiment must have in common, as the tables below `results` were made; empty without any.

    datasets: by label the checksum of its images. metrics: of each what it is, its unit, range and direction. places:
    by name the grid and who is who in it.
    """
    records = {
        name: read_json(results / "tables" / name / "experiment.json")
        for name in places(experiment)
        if (results / "tables" / name / "experiment.json").exists()
    }
    known = catalogue.describe()["metrics"]
    return {
        "datasets": {
            label: read_json(results / "data" / label / "meta.json")["sha256"]
            for label in sorted({label for record in records.values() for label in record["grid"]["datasets"]})
        },
        "metrics": {
            name: {"text": known[name]["doc"]["text"], **known[name]["doc"]["facts"]}
            for name in sorted({name for record in records.values() for name in record["metrics"]})
        },
        "places": {name: {"grid": record["grid"], "judging": record["judging"]} for name, record in records.items()},
    }


def difference(old: Any, new: Any, at: tuple[str, ...] = ()) -> tuple[str, Any, Any] | None:
    """Where two definitions differ first, and both values; None where they are of one experiment.

    A place, a method, a metric or an option that only one of them knows makes no difference: it was added later.
    """
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return None if old == new else (".".join(at), old, new)
    # places/<name>/grid/<axis>: other images, another network or recipe are another experiment
    if len(at) == 4 and at[2] == "grid" and at[3] != "unlearners" and set(old) != set(new):
        return ".".join(at), ", ".join(old), ", ".join(new)
    common = (difference(old[key], new[key], (*at, key)) for key in old if key in new)
    return next((found for found in common if found), None)


def together(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Both definitions; where both know something, as the new one has it."""
    both = {key: together(old[key], new[key]) for key in old if isinstance(new.get(key), Mapping)}
    return {**old, **new, **both}


def added(
    old: Mapping[str, pd.DataFrame], new: Mapping[str, pd.DataFrame], order: Sequence[tuple[str, str]]
) -> dict[str, pd.DataFrame]:
    """The `JOINED` tables of both. Of a seed at a place that both have, those with more cells; of equals the new ones.

    order: scenario and sparsity of each place. Of seeds without any cell nothing is missing.
    """
    counts = [_units(tables["cells"]).value_counts() for tables in (old, new)]
    begun = [set().union(*(_units(tables[table]) for table in JOINED)) for tables in (old, new)]
    newer = {unit for unit in begun[1] if counts[1].get(unit, 0) >= counts[0].get(unit, 0)}
    rank = {place: number for number, place in enumerate(order)}
    both = {}
    for table in JOINED:
        parts = [old[table][~_units(old[table]).isin(newer)], new[table][_units(new[table]).isin(newer)]]
        parts = [part for part in parts if len(part)] or [new[table][:0]]
        rows = pd.concat(parts, ignore_index=True)
        units = _units(rows)
        keys = [(rank[unit[PLACE.index("scenario")], unit[PLACE.index("sparsity")]], unit[-1]) for unit in units]
        both[table] = rows.iloc[sorted(range(len(rows)), key=keys.__getitem__)].reset_index(drop=True)
    missing = both["missing"]
    return both | {"missing": missing[missing["seed"].isin(both["cells"]["seed"])].reset_index(drop=True)}


def _units(rows: pd.DataFrame) -> pd.Series:
    """The place and seed of each row, in the order of `UNIT`."""
    if "state" in rows:
        states = [State.parse(state) for state in rows["state"]]
        rows = rows.assign(pruner=[s.pruner for s in states], sparsity=[s.sparsity for s in states])
    return pd.Series(list(rows[list(UNIT)].itertuples(index=False, name=None)), rows.index, dtype=object)


def seeds_told(cells: pd.DataFrame, missing: pd.DataFrame, expected: Mapping[tuple[str, str], int]) -> str:
    """Which seeds are finished, in one paragraph. expected: the cells of a seed at each scenario and sparsity.

    A method that diverged is a finding: its cell counts as made.
    """
    failed = missing[missing["reason"].str.contains(": diverged ", regex=False)]
    there = cells.drop_duplicates([*UNIT, "unlearner"]).groupby("seed").size()
    diverged = failed.groupby("seed").size().reindex(there.index, fill_value=0)
    whole = sum(expected.values())
    finished = [str(seed) for seed in there.index if there[seed] + diverged[seed] >= whole]
    told = [f"Finished seeds: {', '.join(finished) or 'none'} ({whole} cells each)."]
    told += [
        f"Seed {seed} is **unfinished**: {there[seed]} of {whole} cells, which count in the means that they belong to."
        for seed in there.index
        if str(seed) not in finished
    ]
    told += [f"{len(failed)} cells have no value because the method diverged (missing.csv)."] if len(failed) else []
    return " ".join(told)


def expected_cells(experiment: Experiment, values: Values) -> dict[tuple[str, str], int]:
    """By scenario and sparsity, as tables name it, the cells of one seed."""
    grids = {place: at_place(experiment, name, [0], values)["grid"] for name, place in places(experiment).items()}
    trained = math.prod(len(experiment["grid"][axis]) for axis in ("datasets", "models", "recipes"))
    return {
        _place(place): trained * (len(grid["unlearners"]) + sum(map(_sweep, grid.get("unprune", []))))
        for place, grid in grids.items()
    }


def _sweep(entry: Mapping[str, Any]) -> int:
    """How many cells an entry of `unprune` is: one of each combination of its lists."""
    return math.prod(len(value) for value in entry.values() if isinstance(value, list))


def _place(place: tuple[str, str]) -> tuple[str, str]:
    return place[0], "0.00" if place[1] == "dense" else place[1]


# ---- tables ---------------------------------------------------------------------------------------------------------


def joined(experiment: Experiment, results: Path, committed: Path) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """The definition and the tables of all places and seeds, of `results` and of `committed`."""
    new = definition(experiment, results)
    file = committed / "experiment.json"
    old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if not new["places"] and not old:
        sys.exit(f"by_place.py: {results}/tables: no table of {experiment['name']} exists; allowed: after a run")
    if found := difference(old, new):
        where, *both = found
        sys.exit(
            f"by_place.py: {results}: {where} is {both[1]!r}, but {both[0]!r} in {file}, so their seeds do not add up; "
            "allowed: the same experiment (where only words of a metric have changed, change them in that file)"
        )
    folders = [results / "tables" / name for name in new["places"]]
    fresh = {
        table: pd.concat([shorter(read_table(folder / f"{table}.csv")) for folder in folders], ignore_index=True)
        for table in (JOINED if folders else ())
    }
    kept = {table: read_table(committed / f"{table}.csv") for table in (JOINED if old else ())}
    kept = kept or {table: rows[:0] for table, rows in fresh.items()}
    fresh = fresh or {table: rows[:0] for table, rows in kept.items()}
    all_of = added(kept, fresh, [_place(place) for place in places(experiment).values()])
    whole = together(old, new)
    return whole, all_of | followed(all_of["cells"], whole)


def followed(cells: pd.DataFrame, whole: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The tables over seeds, of all cells together. whole: their definition."""
    told = told_of(next(iter(whole["places"].values())))
    contest = Contest(cells, told["oracles"], told["twins"], told["original"])
    tables = {
        "summary": with_config_of(summary_table(contest), cells),
        "sparsity": sparsity_table(contest, told["judged"]),
        "moves": moves_table(cells, told["oracles"]),
    }
    return {table: shorter(rows.reset_index(drop=True)) for table, rows in tables.items()}


def moves_table(cells: pd.DataFrame, oracles: Sequence[str]) -> pd.DataFrame:
    """What moves from dense to sparse, the method or its oracle: of each accuracy both changes, paired by seed.

    method, of_oracle: mean of sparse − dense over the `n` seeds that have all four, each with its 95 % t interval.
    """
    names = ["dataset", "model", "recipe", "scenario", "pruner", "sparsity", "unlearner", "metric"]
    accuracies = cells[cells["metric"].isin(shown_of(cells))]
    by_seed = accuracies.pivot(index="seed", columns=names, values="value")
    none = pd.Series(np.nan, by_seed.index)
    rows = []
    for *where, pruner, sparsity, label, metric in by_seed:
        for oracle in oracles if pruner != DENSE and label not in oracles else ():
            change = {
                who: by_seed[(*where, pruner, sparsity, who, metric)]
                - by_seed.get((*where, *State(), who, metric), none)
                for who in (label, oracle)
                if (*where, pruner, sparsity, who, metric) in by_seed
            }
            paired = pd.DataFrame(change).dropna()
            if len(change) == 2 and len(paired):
                spans = [number for who in (label, oracle) for number in t_interval(paired[who].to_numpy())]
                rows.append((*where, pruner, sparsity, label, metric, oracle, *spans, len(paired)))
    told = [f"{who}{end}" for who in ("method", "of_oracle") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*names, "oracle", *told, "n"])


def shorter(table: pd.DataFrame) -> pd.DataFrame:
    """The table with six digits of every number."""
    numbers = [column for column in table if table[column].dtype.kind == "f"]
    return table.assign(**{c: table[c].map(lambda value: float(f"{value:.6g}")) for c in numbers})


def tables(experiment: Experiment, results: Path, pages: Path = PAGES) -> None:
    """Write the tables of all seeds, and the page's; nothing where they do not add up."""
    folder = pages / experiment["name"]
    whole, made = joined(experiment, results, folder)
    expected = expected_cells(experiment, read_values(experiment, pages))
    state = seeds_told(made["cells"], made["missing"], expected)
    page = folder.with_suffix(".md")
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    needed = len(experiment["grid"]["seeds"])
    text = text and with_tables(text, page, state, page_tables(made["summary"], made["sparsity"], needed))
    folder.mkdir(exist_ok=True)
    for table, rows in made.items():
        write_table(folder / f"{table}.csv", rows)
    (folder / "experiment.json").write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if text:
        page.write_text(text, encoding="utf-8")
    print(state)


def with_tables(text: str, page: Path, state: str, tables: str) -> str:
    """The text of a page with these tables, and above them which seeds they are of."""
    begin, end = MARKS
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"by_place.py: {page}: no place for tables; allowed: one between {begin} and {end}")
    return re.sub(f"{begin}.*{end}", lambda _: f"{begin}\n\n{state}\n\n{tables}\n{end}", text, flags=re.DOTALL)


def shown_of(summary: pd.DataFrame) -> tuple[str, ...]:
    """The metrics that a page has of a cell."""
    return next(metrics for metrics in SHOWN if set(metrics) <= set(summary["metric"]))


def page_tables(summary: pd.DataFrame, sparsity: pd.DataFrame, needed: int) -> str:
    """Markdown: of each scenario the accuracies, the average gap to each oracle, and what sparsity changes of it.

    Of several recipes one after the other. needed: seeds from which on a change has its verdict.
    """
    oracles = [column.removesuffix("_floor").removeprefix("gap_") for column in summary if column.endswith("_floor")]
    metrics, texts = shown_of(summary), []
    for (scenario, recipe), rows in summary.groupby(["scenario", "recipe"], sort=False):
        states = list(dict.fromkeys(rows["sparsity"]))
        values = rows.set_index(["unlearner", "sparsity", "metric"])
        heads = ["dense" if state == "0.00" else state for state in states]
        labels = list(dict.fromkeys(rows["unlearner"]))
        where = scenario if summary["recipe"].nunique() == 1 else f"{scenario}, {recipe}"
        texts += [f"### {where}: {' / '.join(metrics)}", ""]
        texts += _markdown(
            ["", *heads],
            [[f"`{_name(label)}`", *(_means(values, label, state, metrics) for state in states)] for label in labels],
        )
        for oracle in oracles:
            metric = f"avg_gap/{oracle}"
            of = (sparsity["scenario"] == scenario) & (sparsity["recipe"] == recipe) & (sparsity["metric"] == metric)
            changes = sparsity[of].set_index(["unlearner", "sparsity"])
            there = [label for label in labels if label != oracle and (label, states[0], metric) in values.index]
            if not there:
                continue
            texts += [f"### {where}: average gap to `{oracle}`", ""]
            texts += _markdown(
                ["", *heads, *(f"{head} − dense" for head in heads[1:])],
                [
                    [
                        f"`{_name(label)}`",
                        *(mean_of(values, (label, state, metric)) for state in states),
                        *(_change(changes, (label, state), needed) for state in states[1:]),
                    ]
                    for label in there
                ],
            )
    return "\n".join(texts)


def _name(label: str) -> str:
    """The label that the method was searched under, also in the name of an un-pruning."""
    return ".".join(part.removesuffix(SUFFIX) for part in label.split("."))


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _means(values: pd.DataFrame, label: str, state: str, metrics: Sequence[str]) -> str:
    keys = [(label, state, metric) for metric in metrics]
    return " / ".join(f"{values.loc[key, 'mean']:.1f}" if key in values.index else "" for key in keys).strip(" /")


def mean_of(values: pd.DataFrame, key: tuple[str, str, str]) -> str:
    """Mean ± half of the interval, if the seeds give one."""
    if key not in values.index:
        return ""
    row = values.loc[key]
    half = "" if pd.isna(row["ci_high"]) else f" ± {row['ci_high'] - row['mean']:.1f}"
    return f"{row['mean']:.1f}{half}"


def _change(changes: pd.DataFrame, key: tuple[str, str], needed: int) -> str:
    if key not in changes.index:
        return ""
    row = changes.loc[key]
    interval = "" if pd.isna(row["change_low"]) else f" [{row['change_low']:+.1f}, {row['change_high']:+.1f}]"
    verdict = row["verdict"] if row["verdict"] in ("closer", "farther") and row["n"] >= needed else ""
    return f"{row['change']:+.1f}{interval} {verdict}".rstrip()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["search", "run", "tables"])
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--seeds", type=int, nargs="+", help="default: those of FILE")
    arguments.add_argument("--cores", type=int, default=1)
    arguments.add_argument("--results", type=Path, default=ROOT / "results", help="of `tables`: where a run left them")
    chosen = arguments.parse_args()
    experiment = read_yaml(chosen.file)
    if chosen.what == "tables":
        try:
            tables(experiment, chosen.results)
        except (LacunaError, json.JSONDecodeError) as error:
            sys.exit(f"by_place.py: {error}")
    elif chosen.what == "search":
        search(experiment, Runs(chosen.cores))
    else:
        run(experiment, Runs(chosen.cores), chosen.seeds or experiment["grid"]["seeds"])


if __name__ == "__main__":
    main()
