"""Which tables an experiment has: those of every one, and those that exist where it has what they tell of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lacuna.experiment.grid import Experiment

# the tables that every experiment has
TABLES = ("cells", "layers", "summary", "ranks", "disagreement", "sparsity", "missing", "provenance")
# metrics of what became of a backdoor
OF_BACKDOORS = {"SA", "ASR"}


class SomeTables(NamedTuple):
    """The tables of a rule that only some experiments have: their names, what they need in words, and as a test."""

    names: tuple[str, ...]
    needs: str
    exists: Callable[[Experiment], bool]


def _poisoned(experiment: Experiment) -> bool:
    return any(dataset.values["backdoor"] for dataset in experiment.axes["datasets"].values())


# by the rule that makes them
OPTIONAL = {
    "roc": SomeTables(("roc",), "grid.shadows", lambda e: e.shadows is not None),
    "backdoor": SomeTables(
        ("backdoor",),
        "a backdoor in an entry of grid.datasets",
        lambda e: _poisoned(e) and bool(OF_BACKDOORS & set(e.metrics)),
    ),
    "recipes": SomeTables(
        ("recipes",),
        "two recipes and the metric avg_gap",
        lambda e: len(e.axes["recipes"]) > 1 and "avg_gap" in e.metrics,
    ),
    "transfer": SomeTables(("probes", "transfer"), "transfer.targets", lambda e: bool(e.axes["targets"])),
}


def optional_tables(experiment: Experiment) -> tuple[str, ...]:
    """The rules of those that the experiment has."""
    return tuple(rule for rule, tables in OPTIONAL.items() if tables.exists(experiment))


def tables_of(experiment: Experiment) -> tuple[str, ...]:
    """The names of all tables of the experiment."""
    return (*TABLES, *(name for rule in experiment.tables for name in OPTIONAL[rule].names))
