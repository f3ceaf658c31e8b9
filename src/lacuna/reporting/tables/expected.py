"""What all tables of an experiment should be by its files, for `lacuna verify`; no job imports this."""

from __future__ import annotations

import graphlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from lacuna.reporting import TABLES
from lacuna.reporting.tables.making import made, parameters_of
from lacuna.reporting.tables.record import told_of

Results = Sequence[Mapping[str, Any]]


def expected_tables(
    results: Mapping[str, Results],
    tables: Mapping[str, pd.DataFrame],
    experiment: Mapping[str, Any],
    wanted: Collection[str],
    judged: bool = True,
) -> dict[str, pd.DataFrame]:
    """Tables of an experiment as its files give them: those of `wanted` that follow from what is there.

    results: by kind (metrics, population, probe), in the order of the tables; none of a kind that lacks one. tables: as
    they lie there, for those that are made from one that does not follow. experiment: the content of experiment.json.
    judged: those that are made from other tables too, which take longest.
    """
    known: dict[str, Any] = {**tables, **results, **told_of(experiment), "log": lambda line: None}
    found: dict[str, pd.DataFrame] = {}
    for name in in_order():
        files = [read for read in reads_of(name) if read not in TABLES]
        # an experiment without shadow models has no populations, but cells
        follows = bool(results.get(files[0])) if files else judged
        if name in wanted and follows and known.keys() >= parameters_of(name):
            known[name] = found[name] = made(name, known)
    return found


def in_order() -> Iterable[str]:
    """The names of all tables, each behind those that it reads."""
    reads = {name: [read for read in reads_of(name) if read in TABLES] for name in TABLES}
    return graphlib.TopologicalSorter(reads).static_order()


def reads_of(name: str) -> Sequence[str]:
    """The tables and the kinds of files that a table is made from."""
    about: dict[str, Any] = TABLES[name].about  # type: ignore[attr-defined]
    return tuple(about["reads"])
