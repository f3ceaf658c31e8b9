"""The tables that every experiment has, which one job makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lacuna.reporting.tables.contest import Contest, original_of
from lacuna.reporting.tables.disagreement import disagreement_table
from lacuna.reporting.tables.layers import layers_table
from lacuna.reporting.tables.provenance import provenance_table, with_config
from lacuna.reporting.tables.ranks import ranks_table
from lacuna.reporting.tables.sparsity import sparsity_table
from lacuna.reporting.tables.summary import summary_table

Results = Sequence[Mapping[str, Any]]


def contest_of(cells: pd.DataFrame, experiment: Mapping[str, Any]) -> Contest:
    """Who is who among the cells of an experiment: what experiment.json holds, of which `grid` and `judging` count."""
    judging = experiment["judging"]
    return Contest(cells, judging["oracles"], judging["twins"], original_of(experiment["grid"]))


def tables_of(contest: Contest, metrics: Results, experiment: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The tables that every experiment has. metrics: the results of `evaluate` behind the contest."""
    return from_files(contest.cells, metrics, experiment) | over_seeds(contest, experiment)


def from_files(cells: pd.DataFrame, metrics: Results, experiment: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Those that list what the cells' files hold."""
    grid = experiment["grid"]
    return {
        "cells": with_config(cells, grid),
        "layers": layers_table(metrics),
        "provenance": provenance_table(metrics, grid),
    }


def over_seeds(contest: Contest, experiment: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Those that judge over the seeds."""
    better, costs = experiment["judging"]["better"], experiment["judging"]["costs"]
    judged = {name: direction for name, direction in better.items() if name not in costs}
    return {
        "summary": with_config(summary_table(contest), experiment["grid"]),
        "ranks": ranks_table(contest, better),
        "disagreement": disagreement_table(contest, judged),
        "sparsity": sparsity_table(contest, judged),
    }
