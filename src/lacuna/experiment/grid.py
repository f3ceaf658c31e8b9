"""The experiment: a checked grid, and the cells that it stands for."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lacuna.experiment.coordinates import DENSE
from lacuna.experiment.feasibility import Answer
from lacuna.experiment.shadow_plan import Shadows


@dataclass(frozen=True)
class Entry:
    """One labelled entry of the grid: its method and the value of every option, defaults filled in."""

    method: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """A checked experiment; `axes` maps an axis to its entries by label, in the order of the file.

    images: where jobs keep them: device, host, or auto, which decides by the free memory of the GPU.

    axes["unprune"] holds an entry for each combination of values in grid.unprune, which is a cell beside the unlearners
    of every sparse state; axes["targets"] the datasets of transfer.targets, which are ingested like those of the grid
    but make no cells: every cell is probed on each of them.

    oracles: the labels that every cell is compared with, one for each oracle method and options of it. twins: further
    entries of the same method and options, by label, with the oracle that they repeat on another random stream: its
    noise floor. missing: allow makes tables of the cells that are there, refuse of all cells.
    sizes: what each network costs, by dataset and model, where that is known: see `feasibility.answers`.
    shadows: the shadow models of every seed and state, if the grid asks for them. tables: the names of all that it has.
    tuning: how hyper-parameters are searched; None if the experiment does not say. warnings:
    sentences of which a plan should warn, once the data is known. left_out: figures that the choices of the grid and of
    metrics leave out, with what they lack. config: the merged files as they were read; tuning makes an overlay
    of it. part: of a batch of a large run the numbers of its first cell and of the one behind its last.
    """

    name: str
    device: str
    images: str
    seeds: tuple[int, ...]
    states: tuple[str, ...]
    axes: dict[str, dict[str, Entry]]
    oracles: tuple[str, ...]
    twins: dict[str, str]
    metrics: tuple[str, ...]
    figures: tuple[str, ...]
    figure_formats: tuple[str, ...]
    relearning: dict[str, Any]
    probe: dict[str, Any]
    missing: str
    shadows: Shadows | None = None
    tuning: dict[str, Any] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict, compare=False)
    config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    tables: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list, compare=False)
    sizes: dict[tuple[str, str], Answer] = dataclasses.field(default_factory=dict)
    part: tuple[int, int | None] | None = field(default=None, compare=False)

    def entry(self, axis: str, label: str) -> Entry:
        """The entry of a label; of a dataset also where only a probe looks at it."""
        return (self.datasets if axis == "datasets" else self.axes[axis])[label]

    @property
    def datasets(self) -> dict[str, Entry]:
        """All that are ingested: those of the grid and the targets of the probes."""
        return self.axes["datasets"] | self.axes["targets"]

    def targets(self, cell: Mapping[str, str]) -> list[str]:
        """The datasets that a cell is probed on: the targets without its own."""
        return [label for label in self.axes["targets"] if label != cell["dataset"]]

    def cells(self) -> Iterator[dict[str, str]]:
        """Every cell of the grid, or of its part, as wildcard values."""
        return itertools.islice(self._all_cells(), *(self.part or (None,)))

    def _all_cells(self) -> Iterator[dict[str, str]]:
        a = self.axes
        for dataset, model, recipe, seed, scenario, state in itertools.product(
            a["datasets"], a["models"], a["recipes"], self.seeds, a["scenarios"], self.states
        ):
            for unlearner in (*a["unlearners"], *(a["unprune"] if state != DENSE else ())):
                yield {
                    "dataset": dataset,
                    "model": model,
                    "recipe": recipe,
                    "seed": str(seed),
                    "scenario": scenario,
                    "state": state,
                    "unlearner": unlearner,
                }
