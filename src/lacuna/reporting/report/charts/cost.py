"""What the methods cost."""

from __future__ import annotations

from lacuna.reporting.panels import panels, with_dense
from lacuna.reporting.report.chart import Chart, Variant
from lacuna.reporting.report.charts.dots import Dots, legend_of
from lacuna.reporting.report.charts.gap import gap_rows
from lacuna.reporting.report.study import Study, named

_COLUMNS = (("m", "method"), ("s", "sparsity"), ("v", "cost"), ("low", "95 % from"), ("high", "to"), ("n", "seeds"))


def charts_of(study: Study) -> list[Chart]:
    """One chart with a view per metric of cost; an empty list where none was measured."""
    variants = []
    for metric in study.costs:
        rows = with_dense(study.summary[study.summary["metric"] == metric])
        # on a logarithmic axis nothing has no place: it is in the table of summary.csv
        rows = rows[rows["mean"] > 0].assign(ci_low=rows["ci_low"].clip(lower=0))
        if rows.empty:
            continue
        labels = study.palette.ordered(rows["unlearner"])
        log = bool(rows["mean"].max() > 20 * rows["mean"].min())
        dots = Dots(labels, study.states(study.sparsities), named(metric), log=log)
        parts = [(title, gap_rows(part, "")) for title, part in panels(rows)]
        variants.append(dots.variant(named(metric), parts))
    for oracle in study.oracles:
        speed = f"speedup/{oracle}"
        if speed in set(study.summary["metric"]):
            variants.append(_speedup(study, speed))
    if not variants:
        return []
    caption = (
        "Cost of each method alone, oracles among them: no import, no file, no validation pass. Means over seeds with "
        "95 % t intervals. Logarithmic where the largest is more than twenty times the smallest; methods that cost "
        "nothing are left out. Seconds depend on the machine and its load, counts do not."
    )
    sparsities = study.states(study.sparsities)
    return [Chart("cost", "Cost of the methods", caption, _COLUMNS, variants, legend_of(sparsities))]


def _speedup(study: Study, metric: str) -> Variant:
    rows = with_dense(study.summary[(study.summary["metric"] == metric) & (study.summary["mean"] > 0)])
    labels = study.palette.ordered(rows["unlearner"])
    dots = Dots(labels, study.states(study.sparsities), named(metric), log=True)
    return dots.variant(named(metric), [(t, gap_rows(part, "")) for t, part in panels(rows)])
