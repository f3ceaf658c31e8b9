"""Our table beside a published one, cell by cell: how far apart, and could noise alone explain it?

Rows meet by what they are, not by our labels: the published scenario, sparsity and method are looked up in the grid
that the tables carry (`experiment.json`). docs/compare.md has the columns of both sides and what the verdicts mean.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import DENSE
from lacuna.artifacts.files import read_json
from lacuna.errors import LacunaError
from lacuna.evaluation import METRICS
from lacuna.evaluation.population import POPULATION_METRICS
from lacuna.evaluation.statistics import MIN_SEEDS, welch_interval
from lacuna.reporting.columns import GROUP
from lacuna.reporting.tables.files import read_table
from lacuna.reporting.words import records

REQUIRED = ("scenario", "sparsity", "method", "metric", "mean", "std", "n", "unit", "source")
# what the published numbers were made with; a file or a row may leave it open
SETTING = ("dataset", "model", "recipe", "pruner")
COLUMNS = (
    *GROUP,
    *("method", "values", "metric", "unit"),
    *("ours", "ours_low", "ours_high", "ours_n", "published", "published_std", "published_n"),
    *("difference", "difference_low", "difference_high", "explained"),
    *("speedup", "published_speedup", "gap_of_means"),
    *("note", "differs", "source"),
)
# of a block of the comparison
PLACE = ["dataset", "model", "recipe", "scenario", "pruner", "sparsity", "differs"]
# only one side has the cell; it has values but no verdict
ONLY_OURS, ONLY_PUBLISHED = "not published", "not in ours"
# a published unit in terms of a metric's own
_UNITS = {("min", "s"): 60, ("h", "s"): 3600}
_OF_CELL = ("scenario", "sparsity", "method", "metric")


@dataclass(frozen=True)
class Wanted:
    """What a published row says of a grid entry: its method, or nothing, and values that it must have.

    "random fraction=0.1" is the method random with the fraction 0.1 and any other values, "epochs=182" any method.
    """

    method: str
    values: Mapping[str, str]

    @classmethod
    def parse(cls, text: str, where: str) -> Wanted:
        """Raises LacunaError naming `where` unless the text is [method] [key=value ...]."""
        first, *rest = text.split() or [""]
        method, told = ("", [first, *rest]) if "=" in first else (first, rest)
        values = dict(word.partition("=")[::2] for word in told if "=" in word)
        if len(values) < len([word for word in told if word]) or "" in values or "" in values.values():
            raise LacunaError(f"{where}: '{text}' is not allowed; allowed: method key=value ..., each key once")
        return cls(method, values)

    def unlike(self, label: str, entry: Mapping[str, Any], by_label: bool = False) -> list[str]:
        """What an entry has another way: ["fraction 0.3, not 0.1"]. by_label: the label may be the name as well."""
        said = []
        if self.method and self.method != entry["method"] and not (by_label and self.method == label):
            said.append(f"{entry['method']}, not {self.method}")
        for key, value in self.values.items():
            if not _same(entry.get(key), value):
                said.append(f"{key} {entry.get(key, 'unknown')}, not {value}")
        return said


def _same(value: Any, text: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return str(value).lower() == text.lower()


@dataclass(frozen=True)
class Published:
    """One published number. std: NaN if none is printed; n: seeds, 0 if not told; half: half its last printed digit."""

    line: int
    told: Mapping[str, str]
    wanted: Mapping[str, Wanted]
    metric: str
    unit: str
    mean: float
    std: float
    n: int
    half: float

    @property
    def place(self) -> tuple[str, str, Decimal]:
        """Where methods are measured against one retrained model."""
        return self.told["dataset"], self.told["scenario"], Decimal(self.told["sparsity"])


def read_published(path: str | Path) -> list[Published]:
    """The rows of a published table (CSV), means and deviations in the unit of the metric.

    Raises LacunaError naming file, line and column for a missing or unknown column, an unknown metric or unit, a number
    that is none, and a cell that is there twice.
    """
    try:
        # utf-8-sig: spreadsheets put a mark at the beginning
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(path, reader.fieldnames or [])
            rows = [_published(row, f"{path}, line {reader.line_num}", reader.line_num) for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise LacunaError(f"{path}: cannot be read ({reason}); allowed: a CSV file of published numbers") from None
    except csv.Error as error:
        raise LacunaError(f"{path}: not valid CSV ({error})") from None
    if not rows:
        raise LacunaError(f"{path}: holds no row; allowed: at least one published number")
    seen: dict[tuple[str, ...], int] = {}
    for row in rows:
        key = tuple(row.told[column] for column in (*SETTING, *_OF_CELL))
        if key in seen:
            raise LacunaError(f"{path}, line {row.line}: the same cell as in line {seen[key]}; allowed: each once")
        seen[key] = row.line
    return rows


def _check_columns(path: str | Path, names: Any) -> None:
    allowed = (*SETTING, *REQUIRED, "note")
    for name in names:
        if name not in allowed or list(names).count(name) > 1:
            what = "unknown column" if name not in allowed else "two columns"
            raise LacunaError(f"{path}: {what} '{name}'; allowed: {', '.join(allowed)}")
    for name in REQUIRED:
        if name not in names:
            raise LacunaError(f"{path}: no column '{name}'; it must be there")


def _published(row: Mapping[str | None, str | None], where: str, line: int) -> Published:
    if None in row or None in row.values():
        raise LacunaError(f"{where}: it has more or fewer fields than the head of the table has columns")
    told = dict.fromkeys((*SETTING, "note"), "") | {str(k): str(v).strip() for k, v in row.items()}
    metric = told["metric"].partition("/")[0]
    known = dict(METRICS.items()) | dict(POPULATION_METRICS.items())
    if metric not in known:
        raise LacunaError(f"{where}: metric '{told['metric']}' is not known; allowed: those of docs/metrics.md")
    unit = known[metric].about["unit"]
    if told["unit"] != unit and (told["unit"], unit) not in _UNITS:
        units = [unit, *(other for other, own in _UNITS if own == unit)]
        raise LacunaError(f"{where}: unit '{told['unit']}' of {metric} is not known; allowed: {', '.join(units)}")
    factor = _UNITS.get((told["unit"], unit), 1)
    mean, sparsity = (_number(told, column, where) for column in ("mean", "sparsity"))
    std, n = (_number(told, column, where) if told[column] else None for column in ("std", "n"))
    for column, value, fits, allowed in (
        ("sparsity", sparsity, 0 <= sparsity < 1, "a number ≥ 0 and < 1"),
        ("std", std, std is None or std >= 0, "a number ≥ 0, or nothing"),
        ("n", n, n is None or (n >= 1 and n == int(n)), "a whole number of seeds, or nothing"),
    ):
        if not fits:
            raise LacunaError(f"{where}: {column} {value} is not allowed; allowed: {allowed}")
    half = Decimal((0, (5,), int(mean.as_tuple().exponent) - 1))
    wanted = {column: Wanted.parse(told[column], f"{where}: {column}") for column in (*SETTING, "scenario", "method")}
    if not (wanted["scenario"].method and wanted["method"].method):
        raise LacunaError(f"{where}: scenario '{told['scenario']}' and method '{told['method']}' must name a method")
    spread = math.nan if std is None else float(std) * factor
    return Published(
        line, told, wanted, told["metric"], unit, float(mean) * factor, spread, int(n or 0), float(half) * factor
    )


def _number(told: Mapping[str, str], column: str, where: str) -> Decimal:
    try:
        value = Decimal(told[column])
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise LacunaError(f"{where}: {column} '{told[column]}' is not allowed; allowed: a number")
    return value


class Ours:
    """The summary of an experiment with the grid that it was made from, and the spread of each row over the seeds."""

    def __init__(self, tables: str | Path):
        """Raises LacunaError if the folder is no folder of tables."""
        folder = Path(tables)
        for name in ("summary.csv", "cells.csv", "experiment.json"):
            if not (folder / name).exists():
                raise LacunaError(f"{folder}: no {name} there; allowed: a folder of results/tables")
        try:
            self.grid = read_json(folder / "experiment.json")["grid"]
            summary, cells = (read_table(folder / name) for name in ("summary.csv", "cells.csv"))
            spread = cells.groupby([*GROUP, "metric"], sort=False)["value"].std(ddof=1)
            self.spread: dict[Any, float] = spread.to_dict()
            # a twin repeats its oracle, which stands for both
            self.rows = records(summary[summary["role"] != "twin"])
            for row in self.rows:
                self.values(row)
            oracles = {row["unlearner"] for row in self.rows if row["role"] == "oracle"}
            # of several of a method the one that starts as published
            order = sorted(oracles, key=lambda label: (self.entry("unlearner", label).get("start") == "theta0", label))
            self.oracles = {self.entry("unlearner", label)["method"]: label for label in order}
        except (KeyError, ValueError, TypeError) as error:
            raise LacunaError(f"{folder}: its tables and experiment.json do not fit together ({error!r})") from None
        self._by_key = {self.key(row): row for row in self.rows}

    @staticmethod
    def key(row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(row[column] for column in (*GROUP, "metric"))

    def entry(self, axis: str, label: str) -> Mapping[str, Any]:
        """The grid entry behind a label of the tables; un-pruned cells stand among the unlearners."""
        beside = self.grid.get("unprune", {}) if axis == "unlearner" else {}
        entry: Mapping[str, Any] = {**self.grid[f"{axis}s"], **beside}[label]
        return entry

    def values(self, row: Mapping[str, Any]) -> str:
        """Every hyper-parameter of a row's method."""
        entry = self.entry("unlearner", row["unlearner"])
        return " ".join(f"{key}={value}" for key, value in entry.items() if key != "method")

    def metric(self, name: str) -> str:
        """A published metric in our words: what stands behind "/" is an oracle's method there, its label here."""
        metric, _, oracle = name.partition("/")
        return f"{metric}/{self.oracles.get(oracle, oracle)}" if oracle else metric

    def beside(self, row: Mapping[str, Any], **other: str) -> Mapping[str, Any] | None:
        """The row of another metric or unlearner in the same place."""
        return self._by_key.get(self.key({**row, **other}))


def compare(tables: str | Path, published: str | Path) -> pd.DataFrame:
    """One row for each published number and each of our cells that it speaks of; and each cell that one side alone has.

    tables: a folder results/tables/<name>; published: a CSV file, docs/compare.md. Columns: COLUMNS. `explained` is
    yes or no if the 95 % Welch interval of ours − published (widened by half the last printed digit) holds 0 or not,
    `unknown` without the numbers for it, `other setting` if dataset, model, recipe or pruner is another one, and
    `not published` or `not in ours` where there is nothing to compare. Of our cells those count whose metric the
    published table has.

    Raises LacunaError for a folder or file that cannot be used.
    """
    ours, theirs = Ours(tables), read_published(published)
    found: list[dict[str, Any]] = []
    met = set()
    for row in theirs:
        matches, why = _matches(ours, row)
        for mine, differs in matches:
            met.add(ours.key(mine))
            found.append(_pair(ours, mine, differs, row, theirs))
        if not matches:
            found.append(_told(row) | {"explained": ONLY_PUBLISHED, "note": _joined([why, row.told["note"]])})
    shared = {ours.metric(row.metric) for row in theirs}
    for mine in ours.rows:
        if mine["metric"] in shared and ours.key(mine) not in met:
            found.append(_mine(ours, mine) | {"explained": ONLY_OURS})
    return pd.DataFrame(found, columns=list(COLUMNS))


def _matches(ours: Ours, row: Published) -> tuple[list[tuple[Mapping[str, Any], list[str]]], str]:
    """Our rows that a published one speaks of, nearest setting only, with what differs in it; or why there is none."""
    left = [mine for mine in ours.rows if mine["metric"] == ours.metric(row.metric)]
    if not left:
        return [], f"no metric {row.metric}"
    steps: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        f"scenario {row.told['scenario']}": lambda r: not _unlike(ours, r, row, "scenario", "scenario"),
        f"sparsity {row.told['sparsity']}": lambda r: Decimal(r["sparsity"]) == Decimal(row.told["sparsity"]),
        f"method {row.told['method']}": lambda r: not _unlike(ours, r, row, "unlearner", "method"),
    }
    for what, suits in steps.items():
        left = [mine for mine in left if suits(mine)]
        if not left:
            return [], f"no {what}"
    differing = [(mine, list(_differs(ours, mine, row))) for mine in left]
    fewest = min(len(differs) for _, differs in differing)
    return [(mine, differs) for mine, differs in differing if len(differs) == fewest], ""


def _unlike(ours: Ours, mine: Mapping[str, Any], row: Published, axis: str, column: str) -> list[str]:
    return row.wanted[column].unlike(mine[axis], ours.entry(axis, mine[axis]))


def _differs(ours: Ours, mine: Mapping[str, Any], row: Published) -> Iterator[str]:
    """What of the setting is another one; images, networks and recipes of the user's own are known by their label."""
    for axis in SETTING:
        if axis == "pruner" and mine["pruner"] == DENSE:
            continue
        for said in row.wanted[axis].unlike(mine[axis], ours.entry(axis, mine[axis]), by_label=axis != "pruner"):
            yield f"{axis}: {said}"


def _told(row: Published) -> dict[str, Any]:
    """The columns that a published row alone fills."""
    names = {column: row.told[column] for column in (*SETTING, *_OF_CELL, "source", "note")}
    return names | {"unit": row.unit, "published": row.mean, "published_std": row.std, "published_n": row.n or math.nan}


def _mine(ours: Ours, mine: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a row of ours alone fills."""
    numbers = {"ours": mine["mean"], "ours_low": mine["ci_low"], "ours_high": mine["ci_high"], "ours_n": mine["n"]}
    metric = mine["metric"].partition("/")[0]
    known = METRICS if metric in METRICS else POPULATION_METRICS
    method = ours.entry("unlearner", mine["unlearner"])["method"]
    about = {"method": method, "values": ours.values(mine), "unit": known[metric].about["unit"]}
    return {column: mine[column] for column in (*GROUP, "metric")} | about | numbers


def _pair(
    ours: Ours, mine: Mapping[str, Any], differs: list[str], row: Published, theirs: list[Published]
) -> dict[str, Any]:
    """The columns of a published number and of ours beside it."""
    pair = _told(row) | _mine(ours, mine) | {"differs": _joined(differs)}
    notes = [row.told["note"]]
    spread = ours.spread[ours.key(mine)]
    difference, low, high = welch_interval((mine["mean"], spread, mine["n"]), (row.mean, row.std, row.n))
    explained = "unknown"
    if row.metric == "time_s":
        # other hardware: only how many times faster than retraining says anything
        low = high = math.nan
        retrained = ours.beside(mine, unlearner=ours.oracles.get("retrain", ""))
        oracle = next((r for r in theirs if (r.place, r.metric) == (row.place, "time_s") and _retrain(r)), None)
        pair["speedup"] = retrained["mean"] / mine["mean"] if retrained and mine["mean"] > 1e-3 else math.nan
        pair["published_speedup"] = oracle.mean / row.mean if oracle and row.mean > 0 else math.nan
        notes.append("times of other hardware: compare the speed-ups")
    else:
        # a printed mean stands for all that are rounded to it
        low, high = low - row.half, high + row.half
        notes += list(_lacking(mine, row))
        if not math.isnan(low):
            explained = "yes" if low <= 0 <= high else "no"
    if differs:
        explained = "other setting"
    if row.metric.startswith("avg_gap/"):
        pair["gap_of_means"] = _gap_of_means(ours, mine)
        notes.append("the published gap is one of means, ours a mean of gaps" if mine["n"] > 1 else "")
    interval = {"difference": difference, "difference_low": low, "difference_high": high}
    return pair | interval | {"explained": explained, "note": _joined(notes)}


def _retrain(row: Published) -> bool:
    return row.wanted["method"].method == "retrain"


def _lacking(mine: Mapping[str, Any], row: Published) -> Iterator[str]:
    """Why there is no interval."""
    if mine["n"] < MIN_SEEDS:
        yield f"ours has {mine['n']} seed{'s' if mine['n'] > 1 else ''}, an interval takes {MIN_SEEDS}"
    if math.isnan(row.std):
        yield "no published deviation"
    elif row.n < MIN_SEEDS:
        told = f"{row.n} published seed{'s' if row.n > 1 else ''}" if row.n else "published seeds are not told"
        yield f"{told}, an interval takes {MIN_SEEDS}"


def _gap_of_means(ours: Ours, mine: Mapping[str, Any]) -> float:
    oracle = mine["metric"].partition("/")[2]
    gaps = []
    for metric in ("UA", "RA", "TA", "MIA"):
        own, of_oracle = ours.beside(mine, metric=metric), ours.beside(mine, metric=metric, unlearner=oracle)
        if own is None or of_oracle is None:
            return math.nan
        gaps.append(abs(own["mean"] - of_oracle["mean"]))
    return float(sum(gaps) / len(gaps))


def _joined(parts: list[str]) -> str | None:
    return "; ".join(part for part in parts if part) or None


# ---- for people -----------------------------------------------------------------------------------------------------


def as_text(table: pd.DataFrame) -> str:
    """The comparison as text: a block for each place, then what one side alone has, then how to read it."""
    alone = table["explained"].isin([ONLY_OURS, ONLY_PUBLISHED])
    if alone.all():
        return f"{_nothing_meets(table)}\n"
    lines = []
    both = table[~alone].assign(differs=table["differs"].astype(object).fillna(""))
    for key, rows in both.groupby(PLACE, sort=False):
        *where, differs = map(str, key)
        lines += [" / ".join(where), *([f"  ANOTHER SETTING than the published one: {differs}"] if differs else [])]
        lines += _aligned(
            [("method", "metric", "ours", "published", "difference", "noise?"), *map(_line, records(rows))]
        )
        lines += [*_notes(records(rows)), ""]
    for side, columns in (
        (ONLY_PUBLISHED, ("scenario", "sparsity", "method")),
        (ONLY_OURS, (*PLACE[:-1], "unlearner")),
    ):
        rows = table[table["explained"] == side]
        for key, cells in rows.groupby(list(columns), sort=False, dropna=False):
            why = "; ".join(dict.fromkeys(str(n) for n in cells["note"].dropna()))
            lines.append(
                f"{side}: {' / '.join(map(str, key))}: {', '.join(cells['metric'])}{f' ({why})' if why else ''}"
            )
    return "\n".join([*lines, *_reading(table)]) + "\n"


def _nothing_meets(table: pd.DataFrame) -> str:
    """One line for tables that have no cell in common: what ours lacks of the published one."""
    theirs = table[table["explained"] == ONLY_PUBLISHED]
    # the reason stands before what the source says of the number
    lacks = theirs["note"].str.partition("; ")[0].value_counts()
    told = ", ".join(f"{why} ({n} of them)" for why, n in lacks.items())
    return f"nothing to compare: none of {len(theirs)} published numbers has a cell of ours; ours has {told}"


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    ours = f"{row['ours']:.2f} {_between(row['ours_low'], row['ours_high'])}".rstrip() + f" ({row['ours_n']:.0f})"
    if row["gap_of_means"] >= 0 and row["ours_n"] > 1:
        ours += f", of means {row['gap_of_means']:.2f}"
    published = f"{row['published']:.2f}" + (f" ± {row['published_std']:.2f}" if row["published_std"] >= 0 else "")
    published += f" ({row['published_n']:.0f})" if row["published_n"] > 0 else ""
    difference = f"{row['difference']:+.2f} {_between(row['difference_low'], row['difference_high'])}".rstrip()
    if row["metric"] == "time_s":
        difference = f"{row['speedup']:.1f}× / {row['published_speedup']:.1f}×"
    metric = row["metric"] if row["unit"] in ("%", "points") else f"{row['metric']} [{row['unit']}]"
    return row["unlearner"], metric, ours, published, difference, row["explained"]


def _notes(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Each note once, with the cells that it is about."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for note in row["note"].split("; ") if isinstance(row["note"], str) else ():
            about.setdefault(note, []).append(f"{row['unlearner']} {row['metric']}")
    for note, cells in about.items():
        yield f"  {note}: {', '.join(cells) if len(cells) < 4 else f'{len(cells)} of the {len(rows)} cells above'}"


def _between(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"[{low:.2f}, {high:.2f}]"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  " + "  ".join(field.ljust(w) for field, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _reading(table: pd.DataFrame) -> list[str]:
    counts = table["explained"].value_counts()
    judged = int(counts.get("yes", 0) + counts.get("no", 0))
    lines = [", ".join(f"{n} {verdict}" for verdict, n in counts.items())]
    if judged:
        lines.append(
            f"{counts.get('no', 0)} of {judged} judged differences are not explained by noise; by chance alone 1 in 20"
        )
    return [
        *lines,
        "ours: mean [95 % interval] (seeds); published: mean ± deviation (seeds); speed-up over retrain for times",
    ]
