"""recipes.csv: how far two recipes agree on the order of the methods."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from lacuna.evaluation.statistics import kendall_tau, ranks
from lacuna.registry import register
from lacuna.reporting.columns import PLACE
from lacuna.reporting.tables.contest import Contest, mean_of

# what recipes are compared by
_RANKED_BY = "avg_gap"


@register("recipes", reads=("cells",), needs=("recipes",), metrics=(_RANKED_BY,))
def table(cells: pd.DataFrame, oracles: Sequence[str], twins: Mapping[str, str]) -> pd.DataFrame:
    """Rank of each method by its average gap under each two recipes, 1 the best, and Kendall's tau between the two
    orders: 1 for the same, -1 for the reverse. ``tau_across`` is that of single seeds of either recipe, ``tau_within``
    of two seeds of one recipe: where the first is not smaller, the recipe matters no more than the seed.
    """
    return recipes_table(Contest(cells, oracles, twins))


def recipes_table(contest: Contest) -> pd.DataFrame:
    """The methods' ranks by average gap under each two recipes, 1 the best, and Kendall's τ between the two orders.

    Ranked are the mean gaps over the seeds, for each place but the recipe and each oracle; a method without a gap under
    both recipes is left out. tau_across and tau_within: the mean τ of two single seeds, one of either recipe or two of
    one: if they are alike, the recipes differ no more than seeds do.
    """
    place = [c for c in PLACE if c != "recipe"]
    columns = [*place, "oracle", "recipe_a", "recipe_b", "unlearner", "rank_a", "rank_b"]
    columns += ["tau", "tau_across", "tau_within", "methods", "seeds", "note"]
    scores = contest.scores({_RANKED_BY: "lower"})
    table = []
    for (*key, oracle), rows in scores.groupby([*place, "oracle"], sort=False):
        by_recipe = {
            recipe: own.pivot(index="seed", columns="unlearner", values="score")
            for recipe, own in rows.groupby("recipe", sort=False)
        }
        for (a, of_a), (b, of_b) in itertools.combinations(by_recipe.items(), 2):
            both = [unlearner for unlearner in rows["unlearner"].unique() if unlearner in of_a and unlearner in of_b]
            means = [of[both].mean().to_numpy() for of in (of_a, of_b)]
            single = [[(seed, own.to_numpy()) for seed, own in of[both].dropna().iterrows()] for of in (of_a, of_b)]
            within = [kendall_tau(x, y) for of in single for (_, x), (_, y) in itertools.combinations(of, 2)]
            across = [kendall_tau(x, y) for (i, x), (j, y) in itertools.product(*single) if i != j]
            tau = kendall_tau(*means)
            found = dict(zip(place, key, strict=True)) | {"oracle": oracle, "recipe_a": a, "recipe_b": b}
            found |= {"tau": tau, "tau_across": mean_of(across), "tau_within": mean_of(within), "methods": len(both)}
            found["seeds"] = min(map(len, single))
            found["note"] = f"{len(both)} methods: no order to compare" if math.isnan(tau) else None
            for unlearner, *ranked in zip(both, *map(ranks, means), strict=True):
                table.append(found | {"unlearner": unlearner, "rank_a": ranked[0], "rank_b": ranked[1]})
    return pd.DataFrame(table, columns=columns)
