"""What a metric is, for type checkers alone."""

from typing import Protocol, Required, TypedDict, TypeVar

from lacuna.evaluation.cell import Absent

Of_contra = TypeVar("Of_contra", contravariant=True)


class MetricFacts(TypedDict, total=False):
    """What `register` is told of a metric; docs/extending.md says what each fact does."""

    unit: Required[str]
    low: Required[float | None]
    high: Required[float | None]
    better: Required[str]
    oracle: Required[bool]
    source: Required[str]
    default: bool
    needs: tuple[str, ...]
    by_layer: bool


class Metric(Protocol[Of_contra]):
    """A function of a cell (or a pool), and of an oracle's where `about` says so; `Absent`: it has no value."""

    name: str
    about: MetricFacts

    def __call__(self, of: Of_contra, /, *oracle: Of_contra) -> float | Absent: ...
