"""What shadow models tell of a finished experiment, with intervals over the pairs of models.

    python bench/population.py FILE [--results results] [--pages docs/results]

FILE has `shadows`, one dataset, model, recipe, seed and scenario. Writes docs/results/<name>/cells.csv and
population.csv, one row for each cell and metric: the AUC of U-LiRA and RMIA, mean over the pairs of complementary
models with its 95 % t interval; KLOM to each oracle, with the interval of a jackknife over the pairs.
more: the difference from the oracle's twin on the same pairs, which is what a perfect unlearner would get. The page
docs/results/<name>.md gets both as tables.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from lacuna.artifacts.coordinates import State
from lacuna.artifacts.files import read_json, read_npz
from lacuna.commands.findings import splice
from lacuna.errors import LacunaError
from lacuna.evaluation.population import Pool
from lacuna.evaluation.population.attacks import attack_scores, auc, roc
from lacuna.evaluation.population.distance import klom
from lacuna.evaluation.statistics import t_interval
from lacuna.experiment.yaml_files import read_yaml
from lacuna.reporting.tables.files import read_table, write_table

PAGES = Path(__file__).resolve().parents[1] / "docs/results"
MARK = "tables: population.py"
ATTACKS = ("u_lira", "rmia")
COLUMNS = ["sparsity", "unlearner", "metric", "value", "low", "high", "more", "more_low", "more_high", "pairs"]


def auc_per_pair(pool: Pool, attack: str) -> np.ndarray:
    """AUC of an attack on D_f within each pair of held-out models, [pairs]."""
    scores, positive = attack_scores(pool, attack), pool.member["forget"]
    pairs = [pool.pairs == pair for pair in np.unique(pool.pairs)]
    return np.array([auc(*roc(scores[rows], positive[rows])) for rows in pairs])


def without(pool: Pool, pair: int) -> Pool:
    """The pool of all other pairs."""
    kept = pool.pairs != pair
    parts = ({part: values[kept] for part, values in of.items()} for of in (pool.phi, pool.correct, pool.member))
    return Pool(pool.models[kept], *parts, pool.index)


def jackknife(pairs: np.ndarray, value: Callable[[int | None], float]) -> tuple[float, float, float]:
    """A statistic of all pairs and the ends of its 95 % interval. value: without that pair; None: of all.

    Efron's delete-one standard error √((n − 1)/n · Σ (θ₍ᵢ₎ − θ₍·₎)²) times t of n − 1 degrees of freedom.
    """
    n, whole = len(pairs), value(None)
    left = np.array([value(int(pair)) for pair in pairs])
    half = float(stdtrit(n - 1, 0.975)) * math.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    return whole, whole - half, whole + half


def klom_of(pool: Pool, oracle: Pool) -> float:
    return float(klom(*(p.of_members(p.phi["forget"]) for p in (pool, oracle))).mean())


def rows_of(pools: dict[str, Pool], sparsity: str, oracles: dict[str, list[str]]) -> list[tuple[object, ...]]:
    """Rows of one sparsity. oracles: by label its twins; the first is the floor."""
    pairs = np.unique(next(iter(pools.values())).pairs)
    rows: list[tuple[object, ...]] = []
    reference = next((twins[0] for twins in oracles.values() if twins), None)
    for attack in ATTACKS:
        per_pair = {label: auc_per_pair(pool, attack) for label, pool in pools.items()}
        for label, values in per_pair.items():
            more = values - per_pair[reference] if reference and label != reference else np.full(2, np.nan)
            rows.append((sparsity, label, f"{attack}_auc", *t_interval(values), *t_interval(more), len(pairs)))
    smaller = {None: pools} | {p: {label: without(pool, p) for label, pool in pools.items()} for p in pairs.tolist()}
    for oracle, twins in oracles.items():
        others = [label for label in pools if label != oracle]
        found = {p: {label: klom_of(of[label], of[oracle]) for label in others} for p, of in smaller.items()}
        for label in others:
            own = jackknife(pairs, lambda p, label=label, found=found: found[p][label])
            more = (math.nan,) * 3
            if twins and label != twins[0]:
                twin = twins[0]
                more = jackknife(pairs, lambda p, a=label, b=twin, found=found: found[p][a] - found[p][b])
            rows.append((sparsity, label, f"klom/{oracle}", *own, *more, len(pairs)))
    return rows


def page_tables(table: pd.DataFrame) -> list[str]:
    """Markdown: the values with their intervals, and how much more they are than the twin's."""
    states = [(state, "dense" if state == "0.00" else state) for state in table["sparsity"].unique()]
    heads = [(state, metric, f"{metric}, {name}") for state, name in states for metric in table["metric"].unique()]
    values = table.set_index(["unlearner", "sparsity", "metric"])
    lines = []
    for what, names in (("value", ("value", "low", "high")), ("more than the twin", ("more", "more_low", "more_high"))):
        lines += ["", f"| {what} | " + " | ".join(head for *_, head in heads) + " |", "|---" * (len(heads) + 1) + "|"]
        for label in table["unlearner"].unique():
            cells = [_cell(values, (label, state, metric), names) for state, metric, _ in heads]
            lines += [f"| `{label}` | " + " | ".join(cells) + " |"] if any(cells) else []
    return [*lines[1:]]


def _cell(values: pd.DataFrame, key: tuple[str, str, str], names: tuple[str, ...]) -> str:
    if key not in values.index or pd.isna(values.loc[key, names[0]]):
        return ""
    digits, sign = 2 if key[-1].startswith("klom") else 3, "+" if names[0] == "more" else ""
    value, low, high = (f"{values.loc[key, name]:{sign}.{digits}f}".replace("-", "−") for name in names)
    return f"{value} [{low}, {high}]"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--results", type=Path, default=Path("results"))
    arguments.add_argument("--pages", type=Path, default=PAGES)
    chosen = arguments.parse_args()
    name = read_yaml(chosen.file)["name"]
    tables = chosen.results / "tables" / name
    judging, cells = read_json(tables / "experiment.json")["judging"], read_table(tables / "cells.csv")
    oracles = {label: [t for t, of in judging["twins"].items() if of == label] for label in judging["oracles"]}
    rows = []
    for (pruner, sparsity), of in cells.groupby(["pruner", "sparsity"], sort=False):
        pools = {}
        for cell in of.drop_duplicates("unlearner").to_dict("records"):
            place = (cell["dataset"], cell["model"], cell["recipe"], f"seed{cell['seed']}", cell["scenario"])
            folder = chosen.results.joinpath(
                "cells", *place, str(State(pruner, sparsity)), cell["unlearner"], "shadows"
            )
            pools[cell["unlearner"]] = Pool.from_jobs(
                {str(f): read_npz(f, "shadows") for f in sorted(folder.glob("*.npz"))}
            )
        rows += rows_of(pools, sparsity, oracles)
    table = pd.DataFrame(rows, columns=COLUMNS).round(4)
    page = chosen.pages / f"{name}.md"
    text = splice(page.read_text(encoding="utf-8"), MARK, page_tables(table)) if page.exists() else ""
    (chosen.pages / name).mkdir(parents=True, exist_ok=True)
    write_table(chosen.pages / name / "population.csv", table)
    short = cells.assign(value=[float(f"{value:.6g}") for value in cells["value"]])
    write_table(chosen.pages / name / "cells.csv", short)
    if text:
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except LacunaError as error:
        sys.exit(f"population.py: {error}")
