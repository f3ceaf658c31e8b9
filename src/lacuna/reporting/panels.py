"""Panels of figures: which rows of a table are drawn together, and how they are labelled. Knows no drawing library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from lacuna.artifacts.coordinates import DENSE
from lacuna.evaluation.statistics import MIN_SEEDS

# Where a panel stands: everything that is neither method, sparsity nor metric.
PANEL = ("dataset", "model", "recipe", "scenario", "pruner")


def with_dense(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with the dense rows repeated under every pruner: sparsity 0 is where each curve begins.

    A pruner that has no row of a place's dataset, model, recipe and scenario gets none; a place without any keeps its
    dense rows under "dense".
    """
    sparse, dense = summary[summary["pruner"] != DENSE], summary[summary["pruner"] == DENSE]
    if sparse.empty or dense.empty:
        return summary
    place = [c for c in PANEL if c != "pruner"]

    def places(rows: pd.DataFrame) -> list[tuple[str, ...]]:
        return list(zip(*(rows[c] for c in place), strict=True))

    # merges took a quarter of a page's time
    of_pruners: dict[str, set[tuple[str, ...]]] = {}
    for pruner, where in zip(sparse["pruner"], places(sparse), strict=True):
        of_pruners.setdefault(pruner, set()).add(where)
    of_dense = places(dense)
    parts = [dense[[w in known for w in of_dense]].assign(pruner=p) for p, known in of_pruners.items()]
    pruned = set().union(*of_pruners.values())
    alone = dense[[w not in pruned for w in of_dense]]
    return pd.concat([sparse, *parts, alone], ignore_index=True)


def panels(
    summary: pd.DataFrame, forgotten: Mapping[str, Mapping[str, str]] | None = None
) -> list[tuple[str, pd.DataFrame]]:
    """One titled part of the summary per dataset, model, recipe, scenario and pruner; a title names what varies.

    forgotten: `Palette.forgotten`, which a title puts behind the scenario.
    """
    varying = [c for c in PANEL if summary[c].nunique() > 1] or ["scenario"]
    titled = []
    for key, part in summary.groupby(list(PANEL), sort=False):
        place = dict(zip(PANEL, map(str, key), strict=True))
        classes = (forgotten or {}).get(place["dataset"], {}).get(place["scenario"])
        words = place | ({"scenario": f"{place['scenario']} (forget: {classes})"} if classes else {})
        titled.append((", ".join(f"{c}: {words[c]}" for c in varying), part))
    return titled


def title_of_state(place: Mapping[str, str], varying: Sequence[str]) -> str:
    """A panel of one state: its pruner and sparsity behind the coordinates that vary.

    place: of `PANEL` and sparsity. varying: names of columns; those of a state are in the title anyway.
    """
    state = "dense" if place["pruner"] == DENSE else f"{place['pruner']}, {sparsity_label(place['sparsity'])}"
    return ", ".join([*(place[c] for c in varying if c not in ("pruner", "sparsity")), state])


def sparsity_ticks(part: pd.DataFrame) -> list[str]:
    """The sparsities of a panel, ascending."""
    return sorted(part["sparsity"].unique(), key=float)


def sparsity_label(sparsity: str) -> str:
    """How a sparsity is written on an axis."""
    return "dense" if float(sparsity) == 0 else f"{100 * float(sparsity):g} %"


def methods_of(summary: pd.DataFrame) -> list[str]:
    """The methods that are compared, in the order of the table: neither oracles nor their twins."""
    return list(summary[summary["role"] == "method"]["unlearner"].unique())


def base_name(metric: str) -> str:
    """A metric's name without the oracle that its panel names."""
    return metric.partition("/")[0]


def seeds_of(summary: pd.DataFrame) -> str:
    """How many seeds the numbers rest on."""
    low, high = int(summary["n"].min()), int(summary["n"].max())
    return f"{low} seed{'s' if high > 1 else ''}" if low == high else f"{low} to {high} seeds"


def subtitle(summary: pd.DataFrame, setting: str = "") -> str:
    """What the numbers rest on: seeds, and whether there are intervals."""
    kind = "no interval" if summary["n"].max() < MIN_SEEDS else "95 % t intervals"
    return ", ".join(filter(None, [setting, seeds_of(summary), kind]))


def setting_of(summary: pd.DataFrame) -> str:
    """Dataset, model and recipe, where the whole figure has but one."""
    return ", ".join(summary[c].iloc[0] for c in ("dataset", "model", "recipe") if summary[c].nunique() == 1)


def unchanged(rows: pd.DataFrame) -> np.ndarray:
    """Which rows are of a method that returned the model unchanged on some seed; bool [rows]."""
    if "unchanged" not in rows:
        return np.zeros(len(rows), dtype=bool)
    return (rows["unchanged"].fillna(0) > 0).to_numpy()


def few_seeds(rows: pd.DataFrame, cells: pd.DataFrame) -> list[tuple[int, np.ndarray]]:
    """The values of single seeds behind each row whose seeds are too few for an interval: its position, float [n].

    rows: of summary.csv, `with_dense` or not. cells: cells.csv. A row of one seed is its own value, and is left out.
    """
    where = [*PANEL, "sparsity", "unlearner", "metric"]
    few = (rows["n"] < MIN_SEEDS) & (rows["n"] > 1)
    if not few.any():
        return []
    keys = rows[where].assign(pruner=rows["pruner"].where(rows["sparsity"].astype(float) > 0, "dense"))
    wanted = {tuple(key): position for position, key in enumerate(keys.to_numpy()) if few.iloc[position]}
    cells = cells[cells["metric"].isin(rows["metric"].unique())]
    return [
        (wanted[tuple(map(str, key))], of["value"].to_numpy())
        for key, of in cells.groupby(where, sort=False)
        if tuple(map(str, key)) in wanted
    ]


def clustered(square: pd.DataFrame) -> list[str]:
    """The names of a square of correlations, those that agree next to each other.

    Average linkage on 1 − ρ, an unknown ρ counting as 0; leaves in the order that keeps neighbours closest.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    names = list(square.index)
    if len(names) < 3:
        return names
    distance = 1 - square.fillna(0.0).to_numpy(float)
    np.fill_diagonal(distance, 0.0)
    condensed = squareform((distance + distance.T) / 2, checks=False)
    tree = optimal_leaf_ordering(linkage(condensed, "average"), condensed)
    return [names[i] for i in leaves_list(tree)]


def distinct_by_layer(layers: pd.DataFrame, labels: Iterable[str]) -> dict[str, pd.Series]:
    """Means over seeds by layer of every label whose values are not those of one before it.

    layers: rows of layers.csv of one metric, place and sparsity; layers in their order. A label without rows has NaN.
    """
    names = list(layers["layer"].unique())
    found: dict[str, pd.Series] = {}
    for label in labels:
        means = layers[layers["unlearner"] == label].groupby("layer", sort=False)["value"].mean().reindex(names)
        if not any(means.equals(other) for other in found.values()):
            found[label] = means
    return found
