"""The texts that paths, tables and messages must spell alike: the coordinates of a cell, and the name of a state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# where a cell stands in tables, in the order of their columns
COORDINATES = ("dataset", "model", "recipe", "seed", "scenario", "pruner", "sparsity", "unlearner")
# the same as wildcards of a path, in the order of its folders: pruner and sparsity are one state
WILDCARDS = ("dataset", "model", "recipe", "seed", "scenario", "state", "unlearner")
# what a model is trained by, before anything is forgotten
TRAINING = ("dataset", "model", "recipe", "seed")

DENSE = "dense"


class State(NamedTuple):
    """A state of a network: the pruner and its sparsity, or an earlier round of it; without a pruner the dense one.

    >>> State.parse("omp-0.90")
    State(pruner='omp', sparsity='0.90')
    >>> str(State("omp", "0.90")), str(State())
    ('omp-0.90', 'dense')
    """

    pruner: str = DENSE
    sparsity: str = "0.00"

    @classmethod
    def parse(cls, name: str) -> State:
        """The state of that name; a pruner's label may hold a "-" itself."""
        pruner, _, sparsity = name.rpartition("-")
        return cls(pruner, sparsity) if pruner else cls(name)

    @property
    def dense(self) -> bool:
        return self.pruner == DENSE

    def __str__(self) -> str:
        return DENSE if self.dense else f"{self.pruner}-{self.sparsity}"


def row_of(wildcards: Mapping[str, str]) -> dict[str, Any]:
    """The coordinates of a cell in the tables, from its wildcards: the state taken apart, the seed a number."""
    row: dict[str, Any] = {name: value for name, value in wildcards.items() if name != "state"}
    return row | {"seed": int(wildcards["seed"])} | State.parse(wildcards["state"])._asdict()
