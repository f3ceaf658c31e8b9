"""Which methods of a place are the best by a metric, where the seeds can tell them apart at all."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pandas as pd

from lacuna.evaluation.statistics import LEVEL, holm, paired_p
from lacuna.reporting.columns import PLACE
from lacuna.reporting.tables.contest import Contest

# of a place, metric and oracle ("" where the metric needs none)
Where = tuple[str, ...]


def best_methods(contest: Contest, better: Mapping[str, str | float]) -> dict[Where, frozenset[str]]:
    """By place, metric and oracle: the method with the best mean score, those that no test tells from it, and those
    whose mean is as good as one of these.

    better: the direction of each metric, as for `Contest.scores`. Tested is every pair of methods that have all seeds,
    by the paired t test, adjusted by Holm over all pairs of the place, for which one is best is known only afterwards.
    Nothing where no method is told from the best one, nor below 3 seeds. The untouched model is no candidate.
    """
    scores = contest.scores(better)
    scores = scores[scores["unlearner"] != contest.original]
    found = {}
    for key, rows in scores.groupby([*PLACE, "metric", "oracle"], sort=False):
        by_seed = rows.pivot(index="seed", columns="unlearner", values="score").dropna(axis="columns")
        if best := best_of(by_seed):
            found[tuple(map(str, key))] = best
    return found


def best_of(scores: pd.DataFrame) -> frozenset[str]:
    """The best of methods, those that are not told from it, and those with a mean no worse than one of these.

    scores: seeds × methods, the smaller, the better. Nothing if that is every method.
    """
    pairs = [*itertools.combinations(scores, 2)]
    if not pairs:
        return frozenset()
    differs = holm([paired_p((scores[a] - scores[b]).to_numpy()) for a, b in pairs]) < LEVEL
    first = str(scores.mean().idxmin())
    worse = {
        str(a if b == first else b) for (a, b), told in zip(pairs, differs, strict=True) if told and first in (a, b)
    }
    means = scores.mean()
    # a method is never left out for one whose mean is worse
    limit = max(means[label] for label in means.index if str(label) not in worse)
    best = frozenset(str(label) for label in means.index if means[label] <= limit)
    return best if len(best) < len(means) else frozenset()
