"""An experiment's question and answer in words: what no test shows is called not shown, and never an effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import DENSE, State
from lacuna.evaluation.statistics import LEVEL, MIN_SEEDS
from lacuna.reporting.columns import PLACE
from lacuna.reporting.judged import Judged, unit_of
from lacuna.reporting.tables.verdicts import NOT_SHOWN, TELLS_NOTHING, doubts_in
from lacuna.reporting.words import LISTED, between, capital, joined, number, records, signed, some

# notes of cells that, of the untouched model, are about the experiment
_OF_EXPERIMENT = ("no better than always naming one class", "D_f has ")
# how many places are listed with their doubts
_DOUBTS = 12
Row = Mapping[str, Any]


def question_of(judged: Judged) -> str:
    """What the experiment asks."""
    methods = some(judged.methods, "methods", LISTED + 2)
    labels = dict.fromkeys(judged.summary["scenario"])
    asked = some(dict.fromkeys(_forgotten(judged, label) for label in labels), "sets of samples")
    images = some(dict.fromkeys(judged.summary["dataset"]), "datasets")
    if not judged.methods:
        return f"How do models of {images} differ that never learnt {asked}?"
    if judged.sparse:
        return f"Does sparsity help {methods} to forget {asked} of {images}?"
    do = "does" if len(judged.methods) == 1 else "do"
    return f"How near {do} {methods} come to retraining without {asked} of {images}?"


def _forgotten(judged: Judged, label: str) -> str:
    """What a scenario forgets, by its entry or, where that does not tell, by its label."""
    try:
        return _samples(judged.grid["scenarios"][label])
    except KeyError:
        return f"the samples of '{label}'"


def _samples(entry: Mapping[str, Any]) -> str:
    """The forgotten samples of a scenario's entry. Raises KeyError where it has no words."""
    match entry.get("method"):
        case "class":
            classes = entry["forget_class"]
            one = not isinstance(classes, list | tuple)
            return f"class {classes}" if one else f"class{'es' if len(classes) > 1 else ''} {joined(classes)}"
        case "random":
            return f"a random {_share(entry)}"
        case "subclass":
            return f"fine class {entry['fine_class']} of class {entry['super_class']}"
        case "memorised":
            return f"the most memorised {_share(entry)}"
        case "hardest":
            return f"the {_share(entry)} of {entry['pick']} loss"
        case "backdoor":
            return "the poisoned samples"
        case method:
            raise KeyError(method)


def _share(entry: Mapping[str, Any]) -> str:
    return f"{100 * float(entry['fraction']):.4g} %"


def sentences_of(judged: Judged) -> list[str]:
    """Three to five: limits, the change with sparsity, distances from the oracles, doubts and missing cells."""
    measured = [oracle for oracle in judged.oracles if judged.measure(oracle)]
    said = [*_limits(judged, measured)]
    if measured:
        said += [*_sparsity(judged, measured), *_levels(judged, measured)]
        said += [] if len(said) > 3 else _nearest(judged, measured[0])
    text = "\n".join([*said, _doubts(judged)])
    # the first interval says which
    return re.sub(r"\[(?=[\d−])", "[95 % interval ", text, count=1).split("\n")


# ---- what cannot be told ---------------------------------------------------------------------------------------------


def _limits(judged: Judged, measured: list[str]) -> Iterator[str]:
    """Once for the whole experiment: too few seeds, no second oracle, no oracle."""
    if not measured:
        yield "No oracle stands next to a method: nothing says how near a method comes to retraining."
        yield "The table has the means alone."
        return
    alone = [oracle for oracle in measured if judged.levels(oracle)["floor"].isna().all()]
    second = joined((f"no second {oracle}" for oracle in alone), "and")
    if judged.seeds < MIN_SEEDS:
        few = "One seed" if judged.seeds == 1 else f"{judged.seeds} seeds"
        noise = f"; {second}, so how far one run is from another is not known either" if alone else ""
        yield f"{few}: no interval, no test, no verdict, so the numbers describe this run alone{noise}."
    elif alone:
        yield f"{capital(second)}: no noise floor and no verdict for distances from {some(alone, 'oracles')}."


# ---- sparsity --------------------------------------------------------------------------------------------------------


def _sparsity(judged: Judged, measured: list[str]) -> Iterator[str]:
    """What sparsity changes, for the first oracle at length."""
    if not judged.sparse or not judged.methods:
        return
    first, *others = [o for o in measured if len(_of_methods(judged, judged.changed(o)))] or [""]
    if not first:
        dense = (judged.summary["pruner"] == DENSE).any()
        lack = "the table of sparsity has no row of a method" if dense else "no dense model"
        yield f"{capital(lack)}: the change with sparsity is not known."
        return
    yield f"{_change(judged, first)}{_power(judged, first)}{_untouched(judged, first)}."
    if others:
        yield "; ".join(_change(judged, oracle) for oracle in others) + "."


def _change(judged: Judged, oracle: str) -> str:
    rows, name = _of_methods(judged, judged.changed(oracle)), f"the {_measure(judged, oracle)}"
    if rows["verdict"].isna().all():
        return _untested(judged, rows, name, unit_of(judged.measure(oracle) or ""))
    n = len(rows)
    counts = {verdict: int((rows["verdict"] == verdict).sum()) for verdict in ("closer", "farther", NOT_SHOWN)}
    told: list[str] = []
    for verdict, count in counts.items():
        items = _items(judged, rows[rows["verdict"] == verdict], oracle) if verdict != NOT_SHOWN else ""
        told.append(_counted(count, verdict, items, first=not told))
    if untested := n - sum(counts.values()):
        told.append(f"{untested} not tested")
    part = "" if max(counts["closer"], counts["farther"]) == n else " in part"
    head = {
        (False, False): "Not shown",
        (True, False): f"Shown{part}",
        (False, True): f"The reverse is shown{part}",
        (True, True): "Mixed",
    }[bool(counts["closer"]), bool(counts["farther"])]
    return f"{head}: of {_count(n, 'change')} in {name} from the dense to a sparse model, {joined(told)}"


def _untested(judged: Judged, rows: pd.DataFrame, name: str, unit: str) -> str:
    """The changes of means where no verdict is made, which show nothing."""
    n, lower, higher = len(rows), int((rows["change"] < 0).sum()), int((rows["change"] > 0).sum())
    same = f", the same in {n - lower - higher}" if n > lower + higher else ""
    span = f"{_span(rows['change'])} {unit}".rstrip()
    differs = int((rows["p"] < LEVEL).sum())
    test = (
        f"; in {differs} of them the adjusted p is below {LEVEL}, which leaves the oracle's own change aside"
        if differs
        else ""
    )
    where = f"{lower} of {_count(n, 'comparison')} with the dense one, larger in {higher}{same}"
    return f"Not tested: {name} is smaller on the sparse model in {where} (by {span}){test}"


def _span(values: pd.Series[float]) -> str:
    """From the smallest to the largest."""
    low, high = signed(values.min()), signed(values.max())
    return low if low == high else f"{low} to {high}"


def _items(judged: Judged, rows: pd.DataFrame, oracle: str) -> str:
    """The rows with the largest changes, each with its interval and what chance alone makes."""
    unit = unit_of(judged.measure(oracle) or "")
    rows = rows.sort_values("change", key=abs, ascending=False, kind="stable")
    return _listed_rows(
        rows,
        lambda row: (
            f"{row['unlearner']} at {judged.place(row)}: {signed(row['change'])} {unit} "
            f"{between(row['change_low'], row['change_high'])}, chance alone {number(row['floor_of_mean'])}"
        ),
    )


def _power(judged: Judged, oracle: str) -> str:
    """How large a change had to be."""
    rows = _of_methods(judged, judged.changed(oracle))
    least = rows[rows["verdict"] == NOT_SHOWN]["least"].dropna()
    if least.empty:
        return ""
    unit = unit_of(judged.measure(oracle) or "")
    if len(least) == 1:
        return f"; a change had to be {number(least.iloc[0])} {unit} to be shown (80 % power)"
    return (
        f"; to be shown, a change had to be {number(least.min())} to {number(least.max())} {unit}, "
        f"in the median {number(least.median())} (80 % power)"
    )


def _untouched(judged: Judged, oracle: str) -> str:
    """The same change of the model that forgets nothing: sparsity moves it too."""
    rows = judged.changed(oracle)
    rows = rows[rows["unlearner"] == judged.original]
    if rows.empty:
        return ""
    close = [judged.place(row) for row in records(rows[rows["verdict"] == "closer"])]
    if close:
        return f"; {judged.original}, which forgets nothing, ends closer too at {some(close, 'places')}"
    unit = unit_of(judged.measure(oracle) or "")
    return f"; {judged.original}, which forgets nothing, changes by {_span(rows['change'])} {unit}".rstrip()


# ---- distance from the oracles ---------------------------------------------------------------------------------------


def _levels(judged: Judged, measured: list[str]) -> Iterator[str]:
    """Which methods are told apart from one more run of their oracle."""
    parts = []
    for oracle in measured:
        rows = _of_methods(judged, judged.levels(oracle))
        rows = rows[rows["verdict"].notna()]
        if rows.empty:
            continue
        counts = {verdict: int((rows["verdict"] == verdict).sum()) for verdict in ("farther", "closer", NOT_SHOWN)}
        told: list[str] = []
        for verdict, n in counts.items():
            items = _gaps(judged, rows[rows["verdict"] == verdict], oracle) if n and verdict != NOT_SHOWN else ""
            what = verdict if told else f"{verdict} from {oracle} than its second run"
            told.append(_counted(n, what, items, first=not told))
        parts.append(f"of {_count(len(rows), 'result')}, {joined(told)}")
    if parts:
        yield f"{capital('; '.join(parts))}."


def _gaps(judged: Judged, rows: pd.DataFrame, oracle: str) -> str:
    rows = rows.sort_values("gap", ascending=False, kind="stable")
    return _listed_rows(
        rows, lambda row: f"{row['unlearner']} at {judged.place(row)}: {_gap(judged, row, oracle).rstrip(',')}"
    )


def _gap(judged: Judged, row: Row, oracle: str) -> str:
    ends = between(row["gap"] - row["half"], row["gap"] + row["half"])
    told = " ".join(filter(None, [number(row["gap"]), unit_of(judged.measure(oracle) or ""), ends]))
    return told if pd.isna(row["floor"]) else f"{told}, floor {number(row['floor'])},"


def _nearest(judged: Judged, oracle: str) -> Iterator[str]:
    """The smallest mean distance of each setting, which is no verdict."""
    rows = _of_methods(judged, judged.levels(oracle)).dropna(subset="gap")
    if rows.empty:
        return
    setting = ["dataset", "model", "recipe", "scenario"]
    best = rows.sort_values("gap", kind="stable").drop_duplicates(setting).sort_index()
    told: list[str] = []
    for row in records(best.head(LISTED)):
        where = f" for {'/'.join(judged.setting(row))}" if judged.setting(row) else ""
        told.append(f"{_gap(judged, row, oracle)}{where} ({row['unlearner']}, {State(row['pruner'], row['sparsity'])})")
    more = f" (of {len(best)} settings these are the first)" if len(best) > LISTED else ""
    name = f"The smallest mean {_measure(judged, oracle)} is"
    yield f"{name} {joined(told)}{more}; no test compares methods with one another."


# ---- doubts ---------------------------------------------------------------------------------------------------------


def _doubts(judged: Judged) -> str:
    """What stands against reading the table: void scenarios, methods that did nothing, missing cells."""
    parts = [*_void(judged), *_like_an_oracle(judged), *_still(judged), *_missing(judged)]
    if not parts:
        return "No cell is missing, and the tables name no place that cannot tell methods apart."
    return f"{capital('; '.join(parts))}."


def doubts_by_place(judged: Judged) -> dict[str, list[str]]:
    """What the tables' notes hold against each place, by its name."""
    found: dict[str, list[str]] = {}
    for _, rows in judged.summary.groupby(list(PLACE), sort=False):
        place = judged.place(records(rows.head(1))[0])
        noted = rows[rows["note"].notna()]
        said = [doubt for note in noted["note"] for doubt in doubts_in(note)]
        untouched = noted[noted["unlearner"] == judged.original]
        for note in untouched["note"]:
            parts = (part.partition(": ")[2] for part in note.split("; ") if part.startswith("seed "))
            said += [f"{judged.original}: {part}" for part in parts if part.startswith(_OF_EXPERIMENT)]
        if said:
            found[place] = [*dict.fromkeys(said)]
    return found


def _void(judged: Judged) -> Iterator[str]:
    doubts, places = doubts_by_place(judged), judged.summary.drop_duplicates(list(PLACE))
    void = {place: [d for d in said if not d.endswith(TELLS_NOTHING)] for place, said in doubts.items()}
    void = {place: said for place, said in void.items() if said}
    if void:
        told = [f"{place} ({said[0]})" for place, said in void.items()]
        more = f" and {len(void) - 2} more" if len(void) > 2 else ""
        yield f"{len(void)} of {len(places)} places can hardly tell methods apart: {'; '.join(told[:2])}{more}"
    flat = {place: doubt for place, said in doubts.items() for doubt in said if doubt.endswith(TELLS_NOTHING)}
    if flat:
        values = joined(dict.fromkeys(doubt.split()[2] for doubt in flat.values()), "or")
        yield f"MIA is {values} for every model at {some([*flat], 'places', 2)}, where it tells no method from another"


def _like_an_oracle(judged: Judged) -> Iterator[str]:
    """Where the untouched model does as well as an oracle, as far as the seeds show: forgetting is not seen there."""
    for oracle in judged.oracles[:1]:
        rows = judged.levels(oracle)
        rows = rows[(rows["unlearner"] == judged.original) & (rows["verdict"] == NOT_SHOWN)]
        if len(rows):
            at = some(map(judged.place, records(rows)), "places")
            yield f"at {at} {judged.original}, which forgets nothing, is not shown to differ from {oracle} either"


def _still(judged: Judged) -> Iterator[str]:
    if "unchanged" not in judged.summary:
        return
    rows = _of_methods(judged, judged.summary).groupby([*PLACE, "unlearner"], sort=False)["unchanged"].max()
    counts = (rows > 0).groupby("unlearner", sort=False).agg(["sum", "size"])
    told = [f"{label} at {n} of {size} places" for label, n, size in counts[counts["sum"] > 0].itertuples(name=None)]
    if told:
        yield f"the model was returned unchanged by {some(told, 'methods')}"


def _missing(judged: Judged) -> Iterator[str]:
    cells = judged.missing
    if cells.empty:
        return
    diverged = cells[cells["reason"].astype(str).str.contains("diverged")]
    by = f"because {some(dict.fromkeys(diverged['unlearner']), 'methods')} diverged"
    of = f" {by}" if len(diverged) == len(cells) else f", {len(diverged)} of them {by}" if len(diverged) else ""
    n = f"{_count(len(cells), 'cell')} {'are' if len(cells) > 1 else 'is'}"
    yield f"{n} missing{of}; a method without its failed seeds looks better than it is"


def notes_of(judged: Judged) -> list[str]:
    """How to read the main table, then every doubt about a place."""
    notes = []
    for oracle in judged.oracles:
        measure = judged.measure(oracle)
        if measure:
            notes.append(f"gap to {oracle}: {_measure(judged, oracle)}, mean over seeds, in {unit_of(measure)}")
    if judged.seeds >= MIN_SEEDS:
        notes.append(
            "±: half the 95 % t interval over seeds; verdicts are adjusted by Holm over the methods of a place"
        )
        notes.append("not shown is no evidence of equality")
    if any(judged.measure(o) and judged.levels(o)["floor"].notna().any() for o in judged.oracles):
        notes.append("floor: the same distance of the oracle's second run")
    doubts = [f"{place}: {'; '.join(said)}" for place, said in doubts_by_place(judged).items()]
    more = [f"{len(doubts) - _DOUBTS} more places have such a note in summary.csv"] if len(doubts) > _DOUBTS else []
    return [*notes, *doubts[:_DOUBTS], *more]


# ---- words ----------------------------------------------------------------------------------------------------------


def _of_methods(judged: Judged, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["unlearner"].isin(judged.methods)]


def _measure(judged: Judged, oracle: str) -> str:
    name = (judged.measure(oracle) or "").partition("/")[0]
    return f"average gap to {oracle}" if name == "avg_gap" else f"distance in {name} from {oracle}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _counted(count: int, verdict: str, items: str, first: bool) -> str:
    """2 are closer (…); the verb stands in the first of several."""
    verb = ("is " if count == 1 else "are ") if first else ""
    return f"{count} {verb}{verdict}" + (f" ({items})" if items else "")


def _listed_rows(rows: pd.DataFrame, told: Any) -> str:
    parts = [told(row) for row in records(rows.head(LISTED))]
    return "; ".join([*parts, *([f"and {len(rows) - LISTED} more"] if len(rows) > LISTED else [])])
