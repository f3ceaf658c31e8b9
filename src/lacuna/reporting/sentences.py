"""An experiment's question and answer in words: what no test shows is called not shown, and never an effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import DENSE, State
from lacuna.evaluation.statistics import LEVEL, MIN_SEEDS
from lacuna.reporting.columns import PLACE
from lacuna.reporting.judged import Judged, unit_of
from lacuna.reporting.tables.verdicts import NOT_SHOWN, TELLS_NOTHING, doubts_in

# how many methods, rows or places a sentence names one by one
_LISTED = 4
# notes of cells that, of the untouched model, are about the experiment
_OF_EXPERIMENT = ("no better than always naming one class", "D_f has ")
Row = Mapping[str, Any]


def question_of(judged: Judged) -> str:
    """What the experiment asks."""
    methods = some(judged.methods, "methods", _LISTED + 2)
    asked = joined(dict.fromkeys(_forgotten(judged, label) for label in dict.fromkeys(judged.summary["scenario"])))
    images = some(dict.fromkeys(judged.summary["dataset"]), "datasets")
    if not judged.methods:
        return f"How do models of {images} differ that never learnt {asked}?"
    if judged.sparse:
        return f"Does sparsity help {methods} to forget {asked} of {images}?"
    do = "does" if len(judged.methods) == 1 else "do"
    return f"How near {do} {methods} come to retraining without {asked} of {images}?"


def _forgotten(judged: Judged, label: str) -> str:
    """What a scenario forgets."""
    entry = judged.grid.get("scenarios", {}).get(label, {})
    share = f"{100 * float(entry['fraction']):.4g} %" if "fraction" in entry else ""
    match entry.get("method"):
        case "class":
            classes = entry["forget_class"]
            one = not isinstance(classes, list | tuple)
            return f"class {classes}" if one else f"class{'es' if len(classes) > 1 else ''} {joined(classes)}"
        case "random":
            return f"a random {share}"
        case "subclass":
            return f"fine class {entry['fine_class']} of class {entry['super_class']}"
        case "memorised":
            return f"the most memorised {share}"
        case "hardest":
            return f"the {share} of {entry['pick']} loss"
        case "backdoor":
            return "the poisoned samples"
        case _:
            return f"the samples of '{label}'"


def sentences_of(judged: Judged) -> list[str]:
    """Three to five: limits, the change with sparsity, distances from the oracles, doubts and missing cells."""
    measured = [oracle for oracle in judged.oracles if judged.measure(oracle)]
    said = [*_limits(judged, measured)]
    if measured:
        said += [*_sparsity(judged, measured), *_levels(judged, measured)]
        last = _doubts(judged)
        return [*said, *([] if len(said) > 3 else _nearest(judged, measured[0])), last]
    return [*said, _doubts(judged)]


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
    if not judged.sparse:
        return
    first, *others = [oracle for oracle in measured if len(judged.changed(oracle))] or [""]
    if not first:
        dense = (judged.summary["pruner"] == DENSE).any()
        yield f"No {'sparse' if dense else 'dense'} model to compare with: the change with sparsity is not known."
        return
    yield f"{_change(judged, first)}{_power(judged, first)}{_untouched(judged, first)}."
    if others:
        yield "; ".join(_change(judged, oracle) for oracle in others) + "."


def _change(judged: Judged, oracle: str) -> str:
    rows = _of_methods(judged, judged.changed(oracle))
    unit, n = unit_of(judged.measure(oracle) or ""), len(rows)
    tested = rows["verdict"].notna().sum()
    name = f"the {_measure(judged, oracle)}"
    if not tested:
        lower, higher = int((rows["change"] < 0).sum()), int((rows["change"] > 0).sum())
        same = f", the same in {n - lower - higher}" if n > lower + higher else ""
        span = f"changes of {signed(rows['change'].min())} to {signed(rows['change'].max())} {unit}".rstrip()
        shown = int((rows["p"] < LEVEL).sum())
        test = f"; in {shown} of them p is below {LEVEL}, which leaves the oracle's own change aside" if shown else ""
        counts_of = f"{lower} of {n} comparisons with the dense one, larger in {higher}{same}"
        return f"Not tested: {name} is smaller on the sparse model in {counts_of} ({span}){test}"
    counts = {verdict: int((rows["verdict"] == verdict).sum()) for verdict in ("closer", "farther", NOT_SHOWN)}
    told = {verdict: _items(judged, rows[rows["verdict"] == verdict], oracle) for verdict in ("closer", "farther")}
    rest = f"{counts[NOT_SHOWN]} not shown" + (f", {n - tested} not tested" if n > tested else "")
    if counts["closer"] and counts["farther"]:
        head = f"Mixed: by {name}, {counts['closer']} of {n} sparse models end closer than the dense ones"
        return f"{head} ({told['closer']}) and {counts['farther']} farther ({told['farther']}); {rest}"
    for verdict, word in (("closer", "Shown in part"), ("farther", "The reverse is shown in part")):
        if counts[verdict]:
            word = word if counts[verdict] < n else word.removesuffix(" in part")
            head = f"{word}: by {name}, {counts[verdict]} of {n} sparse models end {verdict} than the dense ones"
            return f"{head} ({told[verdict]}); {rest}"
    return f"Not shown: of {n} changes of {name} from the dense to a sparse model none passes the tests ({rest})"


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
    unit, low, high = unit_of(judged.measure(oracle) or ""), rows["change"].min(), rows["change"].max()
    span = signed(low) if signed(low) == signed(high) else f"{signed(low)} to {signed(high)}"
    return f"; {judged.original}, which forgets nothing, changes by {span} {unit}"


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
        told = []
        for verdict, n in counts.items():
            items = _gaps(judged, rows[rows["verdict"] == verdict], oracle) if n and verdict != NOT_SHOWN else ""
            told.append(f"{n} {verdict}" + (f" ({items})" if items else ""))
        results = f"{len(rows)} results" if len(rows) > 1 else "1 result"
        parts.append(f"next to a second {oracle}, of {results} of methods {joined(told)}")
    if parts:
        yield f"{capital('; '.join(parts))}."


def _gaps(judged: Judged, rows: pd.DataFrame, oracle: str) -> str:
    rows = rows.sort_values("gap", ascending=False, kind="stable")
    return _listed_rows(rows, lambda row: f"{row['unlearner']} at {judged.place(row)}: {_gap(judged, row, oracle)}")


def _gap(judged: Judged, row: Row, oracle: str) -> str:
    ends = between(row["gap"] - row["half"], row["gap"] + row["half"])
    told = " ".join(filter(None, [number(row["gap"]), unit_of(judged.measure(oracle) or ""), ends]))
    return told if pd.isna(row["floor"]) else f"{told}, floor {number(row['floor'])}"


def _nearest(judged: Judged, oracle: str) -> Iterator[str]:
    """The smallest mean distance of each setting, which is no verdict."""
    rows = _of_methods(judged, judged.levels(oracle)).dropna(subset="gap")
    if rows.empty:
        return
    best = (
        rows.sort_values("gap", kind="stable").drop_duplicates(["dataset", "model", "recipe", "scenario"]).sort_index()
    )
    told = []
    for row in records(best.head(_LISTED)):
        where = f"for {', '.join(judged.setting(row))} " if judged.setting(row) else ""
        state = State(row["pruner"], row["sparsity"])
        told.append(f"{where}that of {row['unlearner']}, {state} ({_gap(judged, row, oracle)})")
    more = f"; {len(best) - _LISTED} more settings in the table" if len(best) > _LISTED else ""
    name = f"The smallest mean {_measure(judged, oracle)} of a method is"
    yield f"{name} {'; '.join(told)}{more}; no test compares methods with one another."


# ---- doubts ---------------------------------------------------------------------------------------------------------


def _doubts(judged: Judged) -> str:
    """What stands against reading the table: void scenarios, methods that did nothing, missing cells."""
    parts = [*_void(judged), *_still(judged), *_missing(judged)]
    if not parts:
        return "No cell is missing, and no place is known to be unable to tell methods apart."
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


def _still(judged: Judged) -> Iterator[str]:
    if "unchanged" not in judged.summary:
        return
    rows = judged.summary.groupby([*PLACE, "unlearner"], sort=False)["unchanged"].max()
    counts = (rows > 0).groupby("unlearner", sort=False).agg(["sum", "size"])
    told = [f"{label} at {n} of {size} places" for label, n, size in counts[counts["sum"] > 0].itertuples(name=None)]
    if told:
        yield f"the model was returned unchanged by {some(told, 'methods')}"


def _missing(judged: Judged) -> Iterator[str]:
    cells = judged.missing
    if cells.empty:
        return
    diverged = cells[cells["reason"].astype(str).str.contains("diverged")]
    of = (
        f", {len(diverged)} of them diverged ({some(dict.fromkeys(diverged['unlearner']), 'methods')})"
        if len(diverged)
        else ""
    )
    n = f"{len(cells)} cells are" if len(cells) > 1 else "1 cell is"
    yield f"{n} missing{of}, and a method without its failed seeds looks better than it is"


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
    return notes + [f"{place}: {joined(said, '; ')}" for place, said in doubts_by_place(judged).items()]


# ---- words ----------------------------------------------------------------------------------------------------------


def _of_methods(judged: Judged, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["unlearner"].isin(judged.methods)]


def _measure(judged: Judged, oracle: str) -> str:
    name = (judged.measure(oracle) or "").partition("/")[0]
    return f"average gap to {oracle}" if name == "avg_gap" else f"distance in {name} from {oracle}"


def _listed_rows(rows: pd.DataFrame, told: Any) -> str:
    parts = [told(row) for row in records(rows.head(_LISTED))]
    return "; ".join([*parts, *([f"and {len(rows) - _LISTED} more"] if len(rows) > _LISTED else [])])


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return rows.to_dict("records")  # type: ignore[return-value]


def joined(words: Iterable[Any], last: str = "and") -> str:
    """a, b and c."""
    *most, end = [str(word) for word in words] or [""]
    return f"{', '.join(most)} {last} {end}" if most else end


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def some(words: Iterable[Any], noun: str, listed: int = _LISTED) -> str:
    """The words joined, or how many there are."""
    words = [*words]
    return joined(words) if len(words) <= listed else f"{len(words)} {noun}"


def number(value: float) -> str:
    """Two decimals below 10, else one."""
    return "unknown" if pd.isna(value) else f"{value:.{1 if abs(value) >= 10 else 2}f}".replace("-", "−")


def signed(value: float) -> str:
    text = number(value)
    return text if text.startswith("−") or text == "unknown" or not value else f"+{text}"


def between(low: float, high: float) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f"[{number(low)}, {number(high)}]"
