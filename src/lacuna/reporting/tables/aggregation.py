"""Which tables an experiment has, and from which files each follows: for the jobs that make them and for `verify`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from lacuna.reporting.tables.backdoor import backdoor_table
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.contest import Contest, original_of
from lacuna.reporting.tables.disagreement import disagreement_table
from lacuna.reporting.tables.layers import layers_table
from lacuna.reporting.tables.probes import probes_table
from lacuna.reporting.tables.provenance import provenance_table, with_config
from lacuna.reporting.tables.ranks import ranks_table
from lacuna.reporting.tables.recipes import recipes_table
from lacuna.reporting.tables.roc import roc_table
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table
from lacuna.reporting.tables.transfer import transfer_table

Results = Sequence[Mapping[str, Any]]


def contest_of(cells: pd.DataFrame, experiment: Mapping[str, Any]) -> Contest:
    """Who is who among the cells of an experiment: what experiment.json holds, of which `grid` and `judging` count."""
    judging = experiment["judging"]
    return Contest(cells, judging["oracles"], judging["twins"], original_of(experiment["grid"]))


def tables_of(contest: Contest, metrics: Results, experiment: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The tables that every experiment has. metrics: the results of `evaluate` behind the contest."""
    return _from_files(contest.cells, metrics, experiment) | _over_seeds(contest, experiment)


def _from_files(cells: pd.DataFrame, metrics: Results, experiment: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    grid = experiment["grid"]
    return {
        "cells": with_config(cells, grid),
        "layers": layers_table(metrics),
        "provenance": provenance_table(metrics, grid),
    }


def _over_seeds(contest: Contest, experiment: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    better, costs = experiment["judging"]["better"], experiment["judging"]["costs"]
    judged = {name: direction for name, direction in better.items() if name not in costs}
    return {
        "summary": with_config(summary_table(contest), experiment["grid"]),
        "ranks": ranks_table(contest, better),
        "disagreement": disagreement_table(contest, judged),
        "sparsity": sparsity_table(contest, judged),
    }


def expected_tables(
    results: Mapping[str, Results],
    cells: pd.DataFrame,
    experiment: Mapping[str, Any],
    wanted: Collection[str],
    judged: bool = True,
) -> dict[str, pd.DataFrame]:
    """Tables of an experiment as its files give them: those of `wanted` that follow from what is there.

    results: by kind (metrics, population, probe), in the order of the tables. cells: cells.csv, for the tables that
    are made from it. judged: those over the seeds too, which take longest.
    """
    oracles, twins = experiment["judging"]["oracles"], experiment["judging"]["twins"]
    metrics, populations, probes = (results.get(kind, ()) for kind in ("metrics", "population", "probe"))
    found: dict[str, pd.DataFrame] = {}
    if metrics:
        contest = contest_of(cells_table([*metrics, *populations]), experiment)
        found |= _from_files(contest.cells, metrics, experiment)
        if judged:
            found |= _over_seeds(contest, experiment)

    def transferred() -> pd.DataFrame:
        return transfer_table(probes_table(probes), oracles, twins)

    others: dict[str, Callable[[], pd.DataFrame]] = {
        "recipes": lambda: recipes_table(Contest(cells, oracles, twins)),
        "backdoor": lambda: backdoor_table(Contest(cells, oracles, twins), original_of(experiment["grid"])),
        "probes": lambda: probes_table(probes),
        "transfer": transferred,
        "roc": lambda: roc_table(populations, oracles, twins),
    }
    needs = {"probes": probes, "transfer": probes, "roc": populations}
    found |= {name: make() for name, make in others.items() if name in wanted and needs.get(name, True)}
    return {name: table for name, table in found.items() if name in wanted}
