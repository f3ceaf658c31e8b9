"""The findings of all studies: docs/results/findings.csv, and what two pages show of it.

A row of the file asks one question. Where a study's own table is committed, `source`, `kind` and `row` say which of its
rows answers, and the numbers are read from there; `reported` are those of a page without a table.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lacuna.errors import LacunaError

Finding = dict[str, str]

COLUMNS = (
    *("study", "setting", "question", "kind", "source", "row", "seeds_needed"),
    *("seeds", "effect", "low", "high", "unit", "floor", "verdict"),
    *("cpu_hours", "gpu_hours", "version", "state", "first_page", "note", "command"),
)
STATES = ("stands", "planned", "withdrawn")
# what a test has shown, `differs` of two recipes; every other verdict claims nothing
SHOWN = ("closer", "farther", "differs")
_NUMBERS = ("seeds", "effect", "low", "high", "floor", "verdict")


def read_findings(path: Path) -> list[Finding]:
    """The rows of findings.csv, every value a text.

    Raises LacunaError for another header, an unknown state, or a claim inside its interval or floor.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise LacunaError(f"{path}: columns {', '.join(reader.fieldnames or ())}; allowed: {', '.join(COLUMNS)}")
        rows = [dict(row) for row in reader]
    for row in rows:
        _check(row, f"{path}: '{row['question']}'")
    return rows


def _check(row: Finding, where: str) -> None:
    if row["state"] not in STATES:
        raise LacunaError(f"{where}: state: {row['state']} is not allowed; allowed: {', '.join(STATES)}")
    if row["kind"] not in (*_READERS, "reported"):
        raise LacunaError(f"{where}: kind: {row['kind']} is not allowed; allowed: {', '.join(_READERS)}, reported")
    if row["first_page"] and row["state"] == "withdrawn":
        raise LacunaError(f"{where}: a withdrawn finding is not allowed on the first page")
    if row["kind"] == "reported" and row["verdict"] in SHOWN:
        low, high, floor = (float(row[key] or "nan") for key in ("low", "high", "floor"))
        # nan compares as false: without an interval and a floor nothing is shown
        if not ((low > 0 or high < 0) and abs(float(row["effect"])) > floor):
            raise LacunaError(f"{where}: verdict: {row['verdict']} inside its interval or floor is not allowed")


def filled(rows: Sequence[Finding], folder: Path) -> list[Finding]:
    """The rows with the numbers of the studies' tables below `folder`; a planned one without them stays planned.

    Raises LacunaError where a table has not exactly the rows that are asked for.
    """
    return [row if row["kind"] == "reported" else row | _numbers(row, folder / row["source"]) for row in rows]


def _numbers(row: Finding, path: Path) -> Finding:
    found: list[dict[str, str]] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            found = [each for each in csv.DictReader(file) if _fits(each, row["row"])]
    # of an unfinished study some places have no rows yet
    if not path.exists() or (not found and row["state"] == "planned"):
        return dict.fromkeys(_NUMBERS, "") | {"state": "planned", "verdict": "no verdict: not run yet"}
    if not found or (len(found) > 1 and row["kind"] != "count"):
        raise LacunaError(f"{path}: {len(found)} rows with {row['row']}; allowed: one (or a kind 'count')")
    numbers = _READERS[row["kind"]](found) | _measured_hours(path.with_name("cost.csv"))
    if int(numbers["seeds"]) < int(row["seeds_needed"] or 0):
        numbers["verdict"] = f"no verdict: {numbers['seeds']} of {row['seeds_needed']} seeds"
    return numbers | {"state": "stands" if row["state"] == "planned" else row["state"]}


def _measured_hours(path: Path) -> Finding:
    """The CPU hours of a study that has them by seed, as at least so many where some jobs were not measured."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        seeds = list(csv.DictReader(file))
    jobs, measured = (sum(int(seed[key]) for seed in seeds) for key in ("jobs", "measured"))
    hours = sum(float(seed["cpu_hours"]) for seed in seeds)
    return {"cpu_hours": f"{'≥ ' if measured < jobs else ''}{hours:.1f}"} if measured else {}


def _fits(each: dict[str, str], wanted: str) -> bool:
    """Whether a table's row has the values that `wanted` lists: "scenario=class metric=UA|RA". A tuned entry is known
    by the label that it was searched under."""
    for part in wanted.split():
        key, _, values = part.partition("=")
        if each[key].removesuffix("_tuned" if key == "unlearner" else "") not in values.split("|"):
            return False
    return True


def _change(found: list[dict[str, str]]) -> Finding:
    """A row of sparsity.csv: sparse − dense."""
    (row,) = found
    floor = row.get("floor_of_mean", "")
    return _rounded(row["n"], row["change"], row["change_low"], row["change_high"], floor, row["verdict"])


def _gap(found: list[dict[str, str]]) -> Finding:
    """A row of summary.csv that compares with an oracle: its mean is the distance."""
    (row,) = found
    oracle = row["metric"].partition("/")[2]
    floor, verdict = row[f"gap_{oracle}_floor"], row.get(f"gap_{oracle}_verdict", "")
    return _rounded(row["n"], row["mean"], row["ci_low"], row["ci_high"], floor, verdict)


def _value(found: list[dict[str, str]]) -> Finding:
    """A row of summary.csv as it is, or of a table of measurements: a number without a test."""
    (row,) = found
    if "mean" in row:
        return _rounded(row["n"], row["mean"], row["ci_low"], row["ci_high"], "", "measured")
    return _rounded("1", row["value"], row.get("low", ""), row.get("high", ""), "", "measured")


def _count(found: list[dict[str, str]]) -> Finding:
    """How many of the rows have a verdict that shows something, and how many of these which."""
    words = Counter(row["verdict"] for row in found if row["verdict"] in SHOWN)
    seeds = min(int(row["n"]) for row in found)
    each = ", ".join(f"{number} {word}" for word, number in sorted(words.items()))
    verdict = f"{words.total()} of {len(found)} shown" + (f": {each}" if each else "")
    return _rounded(str(seeds), str(words.total()), "", "", "", verdict)


_READERS: dict[str, Callable[[list[dict[str, str]]], Finding]] = {
    "change": _change,
    "gap": _gap,
    "value": _value,
    "count": _count,
}


def _rounded(seeds: str, effect: str, low: str, high: str, floor: str, verdict: str) -> Finding:
    numbers = (seeds, *(f"{float(n):.4g}" if n else "" for n in (effect, low, high, floor)))
    return dict(zip(_NUMBERS, (*numbers, verdict or "no verdict"), strict=True))


def as_csv(rows: Sequence[Finding]) -> str:
    """The file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_table(rows: Sequence[Finding]) -> list[str]:
    """The Markdown table of docs/results/README.md: first the findings that stand, then planned and withdrawn ones."""
    head = ["study and setting", "question", "seeds", "effect", "95 % interval", "floor", "verdict"]
    head += ["hours: CPU, GPU", "command"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for row in sorted(rows, key=lambda row: STATES.index(row["state"])):
        verdict = {"withdrawn": "**withdrawn**", "planned": "planned"}.get(row["state"], row["verdict"])
        verdict += f" ({row['note']})" if row["note"] else ""
        version = "" if row["version"] == "0.2" else f" (version {row['version']})"
        cells = [f"[{row['study']}]({row['study']}.md): {row['setting']}{version}", row["question"], row["seeds"]]
        cells += [_effect(row), _interval(row), _shown(row["floor"]), verdict, _hours(row), _command(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def as_answers(rows: Sequence[Finding]) -> list[str]:
    """The list of the first page: the question, the verdict, and the numbers that it rests on."""
    lines = []
    for row in (row for row in rows if row["first_page"]):
        link = f"[{row['study']}](docs/results/{row['study']}.md)"
        if row["state"] == "planned":
            lines.append(f"* {row['question']} **Planned** ({row['setting']}; {link}).")
            continue
        numbers = [f"{_effect(row)} {_interval(row)}".rstrip()] if row["kind"] in ("change", "gap", "reported") else []
        numbers += [f"floor {_shown(row['floor'])}"] if row["floor"] else []
        seeds = f"{row['seeds']} seed{'' if row['seeds'] == '1' else 's'}"
        lines.append(
            f"* {row['question']} **{_answer(row)}** ({'; '.join([*numbers, seeds, row['setting']])}; {link})."
        )
    return lines


def _answer(row: Finding) -> str:
    verdict = row["verdict"]
    if row["kind"] == "value":
        return f"{_effect(row)} {_interval(row)}"
    if row["kind"] == "gap" and verdict in SHOWN:
        return f"Yes: {verdict}"
    return verdict[:1].upper() + verdict[1:]


def _effect(row: Finding) -> str:
    if row["kind"] == "count" or not row["effect"]:
        return ""
    unit = row["unit"]
    unit = unit if unit in ("", "×") else f" {unit}"
    return f"{_shown(row['effect'], signed=row['kind'] == 'change')}{unit}"


def _interval(row: Finding) -> str:
    if not row["low"]:
        return ""
    signed = row["kind"] == "change"
    return f"[{_shown(row['low'], signed)}, {_shown(row['high'], signed)}]"


def _shown(number: str, signed: bool = False) -> str:
    if not number:
        return ""
    value = float(number)
    # two digits where the number is small, so that no floor reads 0
    digits = 1 if abs(value) >= 1 or value == 0 else 1 - math.floor(math.log10(abs(value)))
    digits = 0 if abs(value) >= 100 else digits
    return (f"{value:+,.{digits}f}" if signed else f"{value:,.{digits}f}").replace("-", "−")


def _hours(row: Finding) -> str:
    return ", ".join(filter(None, (row["cpu_hours"], row["gpu_hours"] and f"{row['gpu_hours']} GPU"))) or "not recorded"


def _command(row: Finding) -> str:
    return f"`{row['command']}`" if row["command"] else ""


def splice(text: str, name: str, lines: Sequence[Any]) -> str:
    """The text with `lines` between the comments `<!-- name -->` and `<!-- end of name -->`.

    Raises LacunaError where it has not exactly these two, in this order.
    """
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if text.count(first) != 1 or text.count(last) != 1 or text.index(first) > text.index(last):
        raise LacunaError(f"the comments {first} and {last} are not there once each, in this order")
    before, _, rest = text.partition(first)
    return "\n".join([before + first, *lines, last]) + rest.partition(last)[2]
