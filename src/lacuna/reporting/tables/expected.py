"""What all tables of an experiment should be by its files, for `lacuna verify`; no job imports this."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd

from lacuna.reporting.tables.aggregation import Results, contest_of, from_files, over_seeds
from lacuna.reporting.tables.backdoor import backdoor_table
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.contest import Contest, original_of
from lacuna.reporting.tables.probes import probes_table
from lacuna.reporting.tables.recipes import recipes_table
from lacuna.reporting.tables.roc import roc_table
from lacuna.reporting.tables.transfer import transfer_table


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
        found |= from_files(contest.cells, metrics, experiment)
        if judged:
            found |= over_seeds(contest, experiment)

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
