"""Which tables an experiment has: each says itself what it reads and what it needs (`lacuna.reporting.tables`)."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lacuna.errors import LacunaError, unknown
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.grid import Experiment

# the files of cells that a table may be made from, by the name of their form
CELL_FILES = ("metrics", "population", "probe")


def _poisoned(experiment: Experiment) -> bool:
    return any(dataset.values["backdoor"] for dataset in experiment.axes["datasets"].values())


# the parts of an experiment that a table may need: in words, and as a test
PARTS: dict[str, tuple[str, Callable[[Experiment], bool]]] = {
    "shadows": ("grid.shadows", lambda e: e.shadows is not None),
    "backdoor": ("a backdoor in an entry of grid.datasets", _poisoned),
    "recipes": ("two recipes", lambda e: len(e.axes["recipes"]) > 1),
    "targets": ("transfer.targets", lambda e: bool(e.axes["targets"])),
}


def tables_of(experiment: Experiment, catalogue: Catalogue) -> tuple[str, ...]:
    """The names of all tables of the experiment.

    Raises LacunaError for a table that reads or needs what does not exist.
    """
    _check(catalogue)
    return tuple(name for name in catalogue["tables"] if not lacking(name, experiment, catalogue))


def lacking(table: str, experiment: Experiment, catalogue: Catalogue) -> list[str]:
    """What a table needs and the experiment has not, in words."""
    metrics = experiment.metrics
    lacks = [PARTS[need][0] for need in _needed(table, catalogue, "needs") if not PARTS[need][1](experiment)]
    lacks += [f"the metric {name}" for name in _needed(table, catalogue, "metrics") if name not in metrics]
    one_of = [*_needed(table, catalogue, "one_of")]
    return lacks + ([f"a metric of {', '.join(one_of)}"] if one_of and not {*one_of} & {*metrics} else [])


def is_conditional(table: str, catalogue: Catalogue) -> bool:
    """Whether only some experiments have the table."""
    return any(any(_needed(table, catalogue, kind)) for kind in ("needs", "metrics", "one_of"))


def _needed(table: str, catalogue: Catalogue, kind: str) -> Iterator[str]:
    """What a table declares of that kind, and the tables that it reads."""
    tables = catalogue["tables"]
    facts: Mapping[str, Any] = tables[table]
    yield from facts[kind]
    for read in (*facts["reads"], *facts["after"]):
        if read in tables:
            yield from _needed(read, catalogue, kind)


def _check(catalogue: Catalogue) -> None:
    """Raises LacunaError for a table that reads or needs what does not exist, and for those that read one another."""
    tables = catalogue["tables"]
    for name, facts in tables.items():
        for key, exist in (("reads", [*tables, *CELL_FILES]), ("after", [*tables]), ("needs", [*PARTS])):
            for value in facts[key]:
                if value not in exist:
                    raise LacunaError(f"table '{name}': {key} '{value}'{unknown(value, exist)}")
    reads = {name: [read for read in (*of["reads"], *of["after"]) if read in tables] for name, of in tables.items()}
    try:
        graphlib.TopologicalSorter(reads).prepare()
    except graphlib.CycleError as error:
        raise LacunaError(f"tables that read one another: {', '.join(error.args[1])}; allowed: none") from None
