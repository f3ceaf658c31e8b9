"""An experiment's question and answer in words: what no test shows is called not shown, and never an effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from lacuna.artifacts.coordinates import DENSE, State
from lacuna.evaluation.notes import DRAW_OF_MEMBERS
from lacuna.evaluation.statistics import LEVEL, MIN_SEEDS
from lacuna.reporting.columns import GROUP, PLACE
from lacuna.reporting.judged import MEANS, Judged, unit_of
from lacuna.reporting.tables.verdicts import NOT_SHOWN, TELLS_NOTHING, VOID
from lacuna.reporting.words import LISTED, between, capital, joined, number, records, signed, some

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
    """Once for the whole experiment: too few seeds, no second oracle, no oracle or no metric of a distance."""
    if not measured:
        beside = (judged.summary["role"] == "oracle").any() and judged.methods
        lack = (
            "No metric of the tables has a distance from an oracle" if beside else "No oracle stands next to a method"
        )
        yield f"{lack}: nothing says how near a method comes to retraining."
        yield "The table has the means alone."
        return
    alone = [oracle for oracle in measured if judged.levels(oracle)["floor"].isna().all()]
    second = joined((f"no second {oracle}" for oracle in alone), "and")
    if judged.seeds < MIN_SEEDS:
        few, this = ("One seed", "this run") if judged.seeds == 1 else (f"{judged.seeds} seeds", "these runs")
        noise = f"; {second}, so how far one run is from another is not known either" if alone else ""
        yield f"{few}: no interval, no test, no verdict, so the numbers describe {this} alone{noise}."
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
        return _untested(judged, rows, name, oracle)
    n = len(rows)
    counts = {verdict: int((rows["verdict"] == verdict).sum()) for verdict in ("closer", "farther", NOT_SHOWN)}
    told = [
        f"{'' if i else 'the sparse model is '}{verdict} in {counts[verdict]} "
        f"({_items(judged, rows[rows['verdict'] == verdict], oracle)})"
        for i, verdict in enumerate(v for v in ("closer", "farther") if counts[v])
    ] or ["none is shown"]
    untested = n - sum(counts.values())
    left = {NOT_SHOWN: counts[NOT_SHOWN] if told != ["none is shown"] else 0, "not tested": untested}
    told += [f"{count} {'is' if count == 1 else 'are'} {word}" for word, count in left.items() if count]
    part = "" if max(counts["closer"], counts["farther"]) == n else " in part"
    head = {
        (False, False): "Not shown",
        (True, False): f"Shown{part}",
        (False, True): f"The reverse is shown{part}",
        (True, True): "Mixed",
    }[bool(counts["closer"]), bool(counts["farther"])]
    within = _within_places(rows) if counts["closer"] + counts["farther"] else ""
    of = f"{_count(n, 'change')} in {name} from the dense to a sparse model{_of_doubt(judged, rows)}"
    return f"{head}: of {of}, {joined(told)}{within}"


def _within_places(rows: pd.DataFrame) -> str:
    """Over how many tests chance is kept down."""
    places = len(rows.drop_duplicates(list(PLACE)))
    return f"; tests are adjusted within each place, not over the {places} places" if places > 1 else ""


def _of_doubt(judged: Judged, rows: pd.DataFrame) -> str:
    """How many of the rows stand at places that the tables' notes doubt."""
    doubted = sum(judged.place(row) in judged.doubts for row in records(rows))
    return f" ({doubted} of them at places of doubt)" if doubted else ""


def _untested(judged: Judged, rows: pd.DataFrame, name: str, oracle: str) -> str:
    """The changes of means where no verdict is made, which show nothing."""
    n, lower, higher = len(rows), int((rows["change"] < 0).sum()), int((rows["change"] > 0).sum())
    counts = {"smaller": lower, "larger": higher, "the same": n - lower - higher}
    (first, count), *rest = [(word, count) for word, count in counts.items() if count]
    among = f"{'all ' if n > 1 else ''}{n}" if count == n else f"{count} of {n}"
    others = "".join(f", {word} in {count}" for word, count in rest)
    span = f"{_span(judged, rows['change'], oracle)} {_unit(judged, oracle)}".rstrip()
    differs = int((rows["p"] < LEVEL).sum())
    test = (
        f"; in {differs} of them the adjusted p is below {LEVEL}, which leaves the oracle's own change aside"
        if differs
        else ""
    )
    where = f"{among} comparison{'s' if n > 1 else ''} with the dense one{others}"
    changes = f"change{'s' if n > 1 else ''} of {span}"
    return f"Not tested: {name} is {first} on the sparse model in {where} ({changes}){test}"


def _span(judged: Judged, values: pd.Series[float], oracle: str) -> str:
    """From the smallest to the largest."""
    decimals = judged.decimals(oracle)
    low, high = signed(values.min(), decimals), signed(values.max(), decimals)
    return low if low == high else f"{low} to {high}"


def _items(judged: Judged, rows: pd.DataFrame, oracle: str) -> str:
    """The rows with the largest changes, each with its interval and what chance alone makes."""
    decimals = judged.decimals(oracle)

    def told(row: Row) -> str:
        ends = between(row["change_low"], row["change_high"], decimals)
        change = " ".join(filter(None, [signed(row["change"], decimals), _unit(judged, oracle), ends]))
        chance = number(row["floor_of_mean"], decimals)
        return f"{row['unlearner']} at {judged.place(row)}: {change}, chance alone {chance}"

    return _listed_rows(rows.sort_values("change", key=abs, ascending=False, kind="stable"), told)


def _power(judged: Judged, oracle: str) -> str:
    """How large a change had to be for the first of the two tests, which alone is not enough."""
    rows = _of_methods(judged, judged.changed(oracle))
    least = rows[rows["verdict"] == NOT_SHOWN]["least"].dropna()
    if least.empty:
        return ""
    low, middle, high = (number(value, judged.decimals(oracle)) for value in least.quantile([0, 0.5, 1]))
    size = low if len(least) == 1 else f"{low} to {high}"
    median = "" if len(least) == 1 else f", in the median {middle}"
    had = " ".join(filter(None, [f"a change had to be at least {size}", _unit(judged, oracle)]))
    return f"; for the first of its two tests (80 % power) {had}{median}"


def _untouched(judged: Judged, oracle: str) -> str:
    """The same change of the model that forgets nothing: sparsity moves it too."""
    rows = judged.changed(oracle)
    rows = rows[rows["unlearner"] == judged.original]
    if rows.empty:
        return ""
    close = [judged.place(row) for row in records(rows[rows["verdict"] == "closer"])]
    if close:
        return f"; {judged.original}, which forgets nothing, ends closer too at {some(close, 'places')}"
    span = _span(judged, rows["change"], oracle)
    return f"; {judged.original}, which forgets nothing, changes by {span} {_unit(judged, oracle)}".rstrip()


# ---- distance from the oracles ---------------------------------------------------------------------------------------


def _levels(judged: Judged, measured: list[str]) -> Iterator[str]:
    """Which methods are told apart from one more run of their oracle."""
    parts = []
    for oracle in measured:
        rows = _of_methods(judged, judged.levels(oracle))
        rows = rows[rows["verdict"].notna()]
        if rows.empty:
            continue
        told: list[str] = []
        for verdict, to in (("farther", "from"), ("closer", "to")):
            shown = rows[rows["verdict"] == verdict]
            if len(shown):
                what = verdict if told else f"{verdict} {to} {oracle} than its second run"
                told.append(_counted(len(shown), what, _gaps(judged, shown, oracle), first=not told))
        left = int((rows["verdict"] == NOT_SHOWN).sum())
        if told and left:
            told.append(f"{left} {'is' if left == 1 else 'are'} {NOT_SHOWN}")
        none = f"none is shown to be farther from {oracle}, or closer to it, than its second run"
        parts.append(f"of {_count(len(rows), 'result')}, {joined(told) if told else none}")
    if parts:
        yield f"{capital('; '.join(parts))}."


def _gaps(judged: Judged, rows: pd.DataFrame, oracle: str) -> str:
    rows = rows.sort_values("gap", ascending=False, kind="stable")
    return _listed_rows(rows, lambda row: f"{row['unlearner']} at {judged.place(row)}: {_gap(judged, row, oracle)}")


def _gap(judged: Judged, row: Row, oracle: str) -> str:
    decimals = judged.decimals(oracle)
    # a distance is never below 0, whatever the interval of its mean says
    low = row["gap"] - row["half"]
    ends = between(low if pd.isna(low) else max(0.0, low), row["gap"] + row["half"], decimals)
    told = " ".join(filter(None, [number(row["gap"], decimals), _unit(judged, oracle), ends]))
    return told if pd.isna(row["floor"]) else f"{told}, floor {number(row['floor'], decimals)}"


def _nearest(judged: Judged, oracle: str) -> Iterator[str]:
    """The smallest mean distance of each setting, which is no verdict; a place of doubt has no say in it."""
    rows = _of_methods(judged, judged.levels(oracle)).dropna(subset="gap")
    doubted = [judged.place(row) in judged.doubts for row in records(rows)]
    rows = rows[[not doubt for doubt in doubted]]
    if rows.empty:
        return
    setting = ["dataset", "model", "recipe", "scenario"]
    best = rows.sort_values("gap", kind="stable").drop_duplicates(setting).sort_index()
    told: list[str] = []
    for row in records(best.head(LISTED)):
        comma = "" if pd.isna(row["floor"]) else ","
        where = f"{comma} for {'/'.join(judged.setting(row))}" if judged.setting(row) else ""
        told.append(f"{_gap(judged, row, oracle)}{where} ({row['unlearner']}, {State(row['pruner'], row['sparsity'])})")
    more = f" (of {len(best)} settings these are the first)" if len(best) > LISTED else ""
    aside = " without the places of doubt" if any(doubted) else ""
    name = f"The smallest mean {_measure(judged, oracle)}{aside} is"
    yield f"{name} {joined(told)}{more}; that is a mean, not the result of a test."


# ---- doubts ---------------------------------------------------------------------------------------------------------


def _doubts(judged: Judged) -> str:
    """What stands against reading the table: void scenarios, gaps of chance, idle methods, missing cells."""
    drawn = draw_of_members(judged.summary)
    parts = [*_void(judged), *_like_an_oracle(judged), *drawn, *_still(judged), *_missing(judged)]
    if not parts:
        return "No cell is missing, and the tables name no place that cannot tell methods apart."
    return f"{capital('; '.join(parts))}."


def _void(judged: Judged) -> Iterator[str]:
    places = len(judged.summary.drop_duplicates(list(PLACE)))
    void: dict[str, str] = {}
    other: dict[str, str] = {}
    flat: dict[str, str] = {}
    for place, said in judged.doubts.items():
        for doubt in said:
            kind = void if doubt.endswith(VOID) else flat if doubt.endswith(TELLS_NOTHING) else other
            kind.setdefault(place, doubt.removesuffix(f": {VOID}"))
    if void:
        at = f"at {len(void)} of {_count(places, 'place')} {judged.original} has about the UA of an oracle or more"
        yield f"{at}, so UA shows no forgetting there: {_cited(void)}"
    if other:
        yield f"{len(other)} of {_count(places, 'place')} can hardly tell methods apart: {_cited(other)}"
    if flat:
        values = joined(dict.fromkeys(doubt.split()[2] for doubt in flat.values()), "or")
        yield f"MIA is {values} for every model at {some([*flat], 'places', 2)}, where it tells no method from another"


def _cited(doubts: Mapping[str, str]) -> str:
    """The first two places with their doubt."""
    told = [f"{place} ({doubt})" for place, doubt in doubts.items()]
    return "; ".join(told[:2]) + (f" and {len(told) - 2} more" if len(told) > 2 else "")


def _like_an_oracle(judged: Judged) -> Iterator[str]:
    """Where the untouched model does as well as an oracle, as far as the seeds show: forgetting is not seen there."""
    for oracle in judged.oracles[:1]:
        untouched = judged.summary[judged.summary["unlearner"] == judged.original]
        none = pd.Series(index=untouched.index, dtype=object)
        verdicts, p = (untouched.get(f"gap_{oracle}_{end}", none) for end in ("verdict", "p"))
        # what compares with the oracle itself differs from 0 by chance alone: its verdict says more
        values = ~untouched["metric"].str.endswith(f"/{oracle}")
        differs = untouched[verdicts.isin(["farther", "closer"]) | ((p.astype(float) < LEVEL) & values)]
        apart: dict[str, list[str]] = {}
        for row in records(differs[differs["metric"].map(judged.judges).astype(bool)]):
            apart.setdefault(judged.place(row), []).append(row["metric"])
        rows = judged.levels(oracle)
        rows = rows[(rows["unlearner"] == judged.original) & (rows["verdict"] == NOT_SHOWN)]
        places = [judged.place(row) for row in records(rows)]
        what = f"{judged.original}, which forgets nothing, is not shown to"
        if same := [place for place in places if place not in apart]:
            yield f"at {some(same, 'places')} {what} differ from {oracle} in any metric either"
        if part := [place for place in places if place in apart]:
            than = f"be farther from {oracle} than its second run in the {_measure(judged, oracle)}"
            by = some(dict.fromkeys(metric for place in part for metric in apart[place]), "metrics")
            yield f"at {some(part, 'places')} {what} {than}, though it differs in {by}"


def draw_of_members(summary: pd.DataFrame) -> Iterator[str]:
    """In how many rows of methods the average gap is, by its note, no measure: once per state and method."""
    rows = summary[(summary["metric"].str.partition("/")[0] == "avg_gap") & (summary["role"] == "method")]
    hangs = rows[rows["note"].astype(str).str.contains(DRAW_OF_MEMBERS, regex=False)]
    drawn, every = (len(of.drop_duplicates(list(GROUP))) for of in (hangs, rows))
    if drawn:
        where = f"in {drawn} of {_count(every, 'row')} the average gap hangs on which members the attack drew"
        yield f"{where}: read UA, RA and TA on their own"


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
            unit = f", in {_unit(judged, oracle)}" if _unit(judged, oracle) else ""
            notes.append(f"gap to {oracle}: {_measure(judged, oracle)}, mean over seeds{unit}")
    if any((judged.measure(oracle) or "").startswith("avg_gap/") for oracle in judged.oracles):
        notes.append(f"average gap: the mean of the distances in {joined(MEANS)}")
    if judged.seeds >= MIN_SEEDS:
        notes.append(
            "±: half the 95 % t interval over seeds; verdicts are adjusted by Holm over the methods of a place"
        )
        notes.append("not shown is no evidence of equality")
    if any(judged.measure(o) and judged.levels(o)["floor"].notna().any() for o in judged.oracles):
        notes.append("floor: the same distance of the oracle's second run")
    doubts = [f"{place}: {'; '.join(said)}" for place, said in judged.doubts.items()]
    more = [f"{len(doubts) - _DOUBTS} more places have such a note in summary.csv"] if len(doubts) > _DOUBTS else []
    return [*notes, *doubts[:_DOUBTS], *more]


# ---- words ----------------------------------------------------------------------------------------------------------


def _of_methods(judged: Judged, rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["unlearner"].isin(judged.methods)]


def _measure(judged: Judged, oracle: str) -> str:
    name = (judged.measure(oracle) or "").partition("/")[0]
    return f"average gap to {oracle}" if name == "avg_gap" else f"distance in {name} from {oracle}"


def _unit(judged: Judged, oracle: str) -> str:
    """That of a distance: of percentages, points."""
    unit = unit_of(judged.measure(oracle) or "")
    return "points" if unit == "%" else unit


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _counted(count: int, verdict: str, items: str, first: bool) -> str:
    """2 are closer (…); the verb stands in the first of several."""
    verb = ("is " if count == 1 else "are ") if first else ""
    return f"{count} {verb}{verdict}" + (f" ({items})" if items else "")


def _listed_rows(rows: pd.DataFrame, told: Any) -> str:
    parts = [told(row) for row in records(rows.head(LISTED))]
    return "; ".join([*parts, *([f"and {len(rows) - LISTED} more"] if len(rows) > LISTED else [])])
