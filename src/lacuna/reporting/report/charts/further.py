"""What only some experiments have: backdoors before and after, transfer to other datasets."""

from __future__ import annotations

from lacuna.reporting.palette import FLOOR, Look
from lacuna.reporting.panels import panels, with_dense
from lacuna.reporting.report.chart import Chart, Key
from lacuna.reporting.report.charts.dots import Dots, legend_of, row_of
from lacuna.reporting.report.charts.gap import gap_rows
from lacuna.reporting.report.study import Study, named
from lacuna.reporting.words import records

_COLUMNS = (("m", "method"), ("s", "sparsity"), ("v", "value"), ("low", "95 % from"), ("high", "to"), ("n", "seeds"))
# columns of backdoor.csv, as `row_of` takes them; the tick of a floor stands where the untouched model was
_AFTER = ("after", ("after_low", "after_high"), "before")


def charts_of(study: Study) -> list[Chart]:
    """Those that the experiment has something for."""
    return [chart for chart in (_backdoor(study), _transfer(study)) if chart is not None]


def _backdoor(study: Study) -> Chart | None:
    table = study.table("backdoor")
    if table.empty:
        return None
    variants = []
    for metric in table["metric"].unique():
        rows = with_dense(table[(table["metric"] == metric) & (table["role"] != "twin")].dropna(subset="after"))
        if rows.empty:
            continue
        dots = Dots(study.palette.ordered(rows["unlearner"]), study.states(rows["sparsity"]), f"{metric} after (%)")
        parts = [(title, [row_of(row, *_AFTER) for row in records(part)]) for title, part in panels(rows)]
        variants.append(dots.variant(named(str(metric)), parts))
    if not variants:
        return None
    caption = (
        "ASR: attack success rate, the share of triggered test images that are classified as the target; SA: "
        "accuracy on clean test images. Points are after unlearning, with 95 % t intervals; the upright tick is "
        "before, of the untouched model. A closed backdoor has a low ASR and keeps its SA."
    )
    keys = legend_of(study.states(table["sparsity"]), Key("before unlearning", Look(FLOOR), "tick"))
    columns = (*_COLUMNS, ("f", "before"))
    return Chart("backdoor", "Backdoor before and after", caption, columns, variants, keys)


def _transfer(study: Study) -> Chart | None:
    table = study.table("transfer")
    if table.empty:
        return None
    table = table[(table["metric"] == "target_accuracy") & (table["role"] != "twin")].dropna(subset="mean")
    variants = []
    for target, of in table.groupby("target", sort=False):
        rows = with_dense(of)
        dots = Dots(
            study.palette.ordered(rows["unlearner"]), study.states(rows["sparsity"]), f"accuracy on {target} (%)"
        )
        parts = [(title, gap_rows(part, "")) for title, part in panels(rows)]
        variants.append(dots.variant(f"on {target}", parts))
    if not variants:
        return None
    caption = (
        "How well features transfer: accuracy of a linear probe on another dataset, oracles among the rows. Means over "
        "seeds with 95 % t intervals."
    )
    keys = legend_of(study.states(table["sparsity"]))
    return Chart("transfer", "Transfer of features", caption, _COLUMNS, variants, keys)
