"""Dense against sparse: how far each method ends from its oracle, and what sparsity changes of it."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from lacuna.artifacts.coordinates import DENSE
from lacuna.reporting.palette import FLOOR, FLOOR_BAND, Look
from lacuna.reporting.panels import panels, unchanged, with_dense
from lacuna.reporting.report.chart import Chart, Key, Row, Variant
from lacuna.reporting.report.charts.dots import Dots, legend_of, number, row_of
from lacuna.reporting.report.study import Study, named
from lacuna.reporting.words import records

_COLUMNS = (
    ("m", "method"),
    ("s", "sparsity"),
    ("v", "value"),
    ("low", "95 % from"),
    ("high", "to"),
    ("f", "noise floor"),
    ("mark", "verdict"),
    ("n", "seeds"),
    ("note", "note"),
)


def charts_of(study: Study) -> list[Chart]:
    """Gaps and changes; an empty list where no method has a gap to an oracle."""
    return [chart for chart in (_gaps(study), _changes(study)) if chart is not None]


def _gaps(study: Study) -> Chart | None:
    variants = []
    sparsities = study.states(study.sparsities)
    for oracle in study.oracles:
        rows = study.summary[study.summary["metric"] == f"avg_gap/{oracle}"]
        rows = with_dense(rows[rows["role"] == "method"])
        if rows.empty:
            continue
        dots = Dots(_ordered(study, rows), sparsities, f"average gap to {oracle} (points)", bars=True)
        parts = [(title, gap_rows(part, oracle)) for title, part in panels(rows)]
        variants.append(dots.variant(f"to {oracle}", parts))
    if not variants:
        return None
    caption = (
        "Average gap: the mean of |ΔUA|, |ΔRA|, |ΔTA| and |ΔMIA| to the oracle of the same seed and sparsity; lower is "
        "closer. Bars are means over seeds with 95 % t intervals (none below three seeds). "
    )
    keys = legend_of(sparsities, kind="bar")
    if draws_floors(variants):
        caption += (
            "The upright tick across a bar is the noise floor: how far a second run of the oracle is from the first. "
            "▲ marks a method that is farther from the oracle than that second run, ▼ one that is closer; one without "
            "a mark is not shown to be either. "
        )
        keys.append(Key("noise floor", Look(FLOOR), "tick"))
    caption += "Pale bars: the method returned the model unchanged on some seed."
    return Chart("gap", "Average gap, dense and sparse", caption, _COLUMNS, variants, keys)


def draws_floors(variants: Iterable[Variant]) -> bool:
    """Whether any row of a chart has a floor: without a second run of the oracle none has."""
    return any(number(row.get("f")) for variant in variants for panel in variant.panels for row in panel.rows)


def gap_rows(part: pd.DataFrame, oracle: str) -> list[Row]:
    """Rows of dots from rows of summary.csv (or transfer.csv) of one metric: the mean, and the floor of an oracle."""
    floor, verdict = f"gap_{oracle}_floor", f"gap_{oracle}_verdict"
    return [
        {**row_of(row, floor=floor, verdict=verdict), "still": bool(still)}
        for row, still in zip(records(part), unchanged(part), strict=True)
    ]


def _changes(study: Study) -> Chart | None:
    table = study.table("sparsity")
    variants = []
    of_change = ("change", ("change_low", "change_high"), "floor_of_mean", "verdict")
    for oracle in study.oracles if len(table) else []:
        rows = table[(table["metric"] == f"avg_gap/{oracle}") & (table["oracle"] == oracle)].dropna(subset="change")
        rows = rows[rows["pruner"] != DENSE]
        if rows.empty:
            continue
        sparsities = study.states(rows["sparsity"])
        axis = f"change of the gap to {oracle}, sparse − dense (points)"
        dots = Dots(_ordered(study, rows), sparsities, axis, centred=True)
        parts = [(title, [row_of(row, *of_change) for row in records(part)]) for title, part in panels(rows)]
        variants.append((sparsities, dots.variant(f"to {oracle}", parts)))
    if not variants:
        return None
    caption = (
        "By how much the gap is larger on the sparse model than on the dense one, paired by seed: left of the dashed "
        "line the sparse model ends closer to its oracle on average. "
    )
    keys, drawn = legend_of(variants[0][0]), [variant for _, variant in variants]
    if draws_floors(drawn):
        caption += (
            "Only ▼ (closer) and ▲ (farther) are shown by the tests. The band is the floor, the change that a second "
            "run of the oracle makes by chance alone. "
        )
        keys.append(Key("noise floor of the change", Look(FLOOR_BAND), "band"))
    else:
        caption += "Without a second run of the oracle no change is tested. "
    caption += (
        "Read the row of the untouched model first: where it changes by as much, the sparse model had less to forget, "
        "and the method did no better."
    )
    return Chart("change", "What sparsity changes", caption, _COLUMNS, drawn, keys)


def _ordered(study: Study, rows: pd.DataFrame) -> list[str]:
    there = set(rows["unlearner"])
    return [method for method in study.methods if method in there]


def of_metric(study: Study, metric: str, caption_axis: str = "") -> tuple[Dots, Variant]:
    """Dots of any metric of the summary, oracles as lines: the same in all panels."""
    rows = with_dense(study.summary[study.summary["metric"] == metric])
    sparsities = study.states(study.sparsities)
    there = set(rows["unlearner"])
    labels = [label for label in (*study.methods, *study.oracles) if label in there]
    oracle = metric.partition("/")[2] or next(iter(study.oracles), "")
    dots = Dots(labels, sparsities, caption_axis or named(metric))
    parts = [(title, gap_rows(part, oracle if "/" in metric else "")) for title, part in panels(rows)]
    return dots, dots.variant(named(metric), parts)
