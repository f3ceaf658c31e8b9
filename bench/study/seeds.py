"""Seeds of several runs of one study: what they must have in common, and the tables of all of them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.study.places import Experiment, as_in_tables, places
from bench.study.tables import shorter
from lacuna.artifacts.coordinates import State
from lacuna.artifacts.files import read_json
from lacuna.experiment import catalogue
from lacuna.reporting.columns import PLACE
from lacuna.reporting.tables.files import read_table

# what seeds are added up by; the other tables follow from the cells
JOINED = ("cells", "missing", "provenance")
# one seed of a place is of one run: its gaps are to that run's own oracles
UNIT = (*PLACE, "seed")


def joined(experiment: Experiment, results: Path, committed: Path) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """The definition and the `JOINED` tables of all places and seeds, of `results` and of `committed`.

    Ends the process with one sentence where there is nothing, or where the two are of different experiments.
    """
    new = definition(experiment, results)
    file = committed / "experiment.json"
    old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if not new["places"] and not old:
        sys.exit(f"by_place.py: {results}/tables: no table of {experiment['name']} exists; allowed: after a run")
    if found := difference(old, new):
        where, *both = found
        sys.exit(
            f"by_place.py: {results}: {where} is {both[1]!r}, but {both[0]!r} in {file}, so their seeds do not add up; "
            "allowed: the same experiment (where only words of a metric have changed, change them in that file; to "
            f"begin anew, delete it with {', '.join(f'{table}.csv' for table in JOINED)} next to it)"
        )
    folders = [results / "tables" / name for name in new["places"]]
    fresh = {
        table: pd.concat([shorter(read_table(folder / f"{table}.csv")) for folder in folders], ignore_index=True)
        for table in (JOINED if folders else ())
    }
    if fresh:
        fresh["provenance"] = shorter(with_cpu_seconds(fresh["provenance"], results))
    kept = {table: read_table(committed / f"{table}.csv") for table in (JOINED if old else ())}
    kept = kept or {table: rows[:0] for table, rows in fresh.items()}
    fresh = fresh or {table: rows[:0] for table, rows in kept.items()}
    order = [as_in_tables(place) for place in places(experiment).values()]
    return together(old, new), added(kept, fresh, order)


def with_cpu_seconds(provenance: pd.DataFrame, results: Path) -> pd.DataFrame:
    """The table with the CPU seconds of the job of each cell, and of the one that trained the network it begins from.

    The second column is that of the untouched model's rows alone, which scenarios share. Wall-clock seconds would count
    the neighbours of a job too. Nothing where no benchmark file is left.
    """
    jobs = [Path(job).parent.relative_to("results") for job in provenance["job"]]
    own = [_cpu_seconds(results, job) for job in jobs]
    # cells/<dataset>/<model>/<recipe>/<seed>/<scenario>/<state>/<label>
    networks = [
        Path("models", *job.parts[1:5], job.parts[6]) if job.name == "original" and job.parts[0] == "cells" else None
        for job in jobs
    ]
    of_network = [math.nan if network is None else _cpu_seconds(results, network) for network in networks]
    return provenance.assign(cpu_seconds=own, network_cpu_seconds=of_network)


def _cpu_seconds(results: Path, job: Path) -> float:
    """CPU seconds of a job; of one that was interrupted those of its last part, by the share of the seconds it took."""
    measured = results / "benchmarks" / f"{job}.tsv"
    if not measured.exists():
        return math.nan
    last = pd.read_csv(measured, sep="\t", na_values="-").iloc[-1]
    facts = read_json(results / job / "job.json") if (results / job / "job.json").exists() else {}
    return float(last["cpu_time"]) * max(1.0, facts.get("seconds", 0.0) / max(float(last["s"]), 0.01))


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
    counts = [units_of(tables["cells"]).value_counts() for tables in (old, new)]
    begun = [set().union(*(units_of(tables[table]) for table in JOINED)) for tables in (old, new)]
    newer = {unit for unit in begun[1] if counts[1].get(unit, 0) >= counts[0].get(unit, 0)}
    rank = {place: number for number, place in enumerate(order)}
    both = {}
    for table in JOINED:
        parts = [old[table][~units_of(old[table]).isin(newer)], new[table][units_of(new[table]).isin(newer)]]
        parts = [part for part in parts if len(part)] or [new[table][:0]]
        rows = pd.concat(parts, ignore_index=True)
        units = units_of(rows)
        keys = [(rank[unit[PLACE.index("scenario")], unit[PLACE.index("sparsity")]], unit[-1]) for unit in units]
        both[table] = rows.iloc[sorted(range(len(rows)), key=keys.__getitem__)].reset_index(drop=True)
    missing = both["missing"]
    return both | {"missing": missing[missing["seed"].isin(both["cells"]["seed"])].reset_index(drop=True)}


def units_of(rows: pd.DataFrame) -> pd.Series:
    """The place and seed of each row, in the order of `UNIT`."""
    if "state" in rows:
        states = [State.parse(state) for state in rows["state"]]
        rows = rows.assign(pruner=[s.pruner for s in states], sparsity=[s.sparsity for s in states])
    return pd.Series(list(rows[list(UNIT)].itertuples(index=False, name=None)), rows.index, dtype=object)
