"""Metrics of many models at once: what an attacker learns who can train shadow models of his own.

A single unlearned model cannot say how it would have answered without a sample. A pool of shadow models can: each was
trained on its own half of the data and unlearned what it knew of D_f (`procedures.shadows`). Pure NumPy, no torch.

`evaluate_population(pool, oracles)` works on anybody's pool: `Pool(models, phi, correct, member, index)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lacuna.evaluation import Values
from lacuna.evaluation.population.pool import Pool as Pool
from lacuna.predictions import margin as margin
from lacuna.registry import Registry

if TYPE_CHECKING:
    from lacuna.evaluation.metric import Metric

POPULATION_METRICS: Registry[Metric[Pool]] = Registry("lacuna.evaluation.population", "population metric", __path__[0])


def evaluate_population(
    pool: Pool, oracles: Mapping[str, Pool] | None = None, metrics: Iterable[str] | None = None
) -> Values:
    """Every metric of a pool, by name; one that compares with an oracle as `<metric>/<oracle label>`.

    oracles: the pools of reference methods by label, on the same halves. metrics: names in POPULATION_METRICS, all of
    them by default. `.notes` of the result has what must be known of a value.

    Raises LacunaError for an unknown metric, an oracle of another pool, or a value that is not finite.
    """
    for label, oracle in (oracles or {}).items():
        pool.check_comparable(oracle, label)
    values = Values()
    for name in POPULATION_METRICS if metrics is None else metrics:
        metric = POPULATION_METRICS[name]
        if not metric.about["oracle"]:
            values.enter(name, metric, pool)
            continue
        for label, oracle in (oracles or {}).items():
            values.enter(f"{name}/{label}", metric, pool, oracle)
    return values
