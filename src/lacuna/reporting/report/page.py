"""The page: its sections in their order, and everything that it needs inside one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from lacuna import __version__
from lacuna.artifacts.coordinates import DENSE
from lacuna.evaluation import METRICS
from lacuna.reporting.answer import Answer, answer_of
from lacuna.reporting.report import sheets
from lacuna.reporting.report.assets import LIBRARIES, asset, script_asset
from lacuna.reporting.report.chart import Chart
from lacuna.reporting.report.charts import attacks, cost, curves, disagreement, further, gap, pareto, single, topology
from lacuna.reporting.report.drilldown import BINS, cells_of, class_names
from lacuna.reporting.report.looks import swatch
from lacuna.reporting.report.payload import escaped, packed, script_of
from lacuna.reporting.report.study import Study
from lacuna.reporting.tables.provenance import inconsistent_provenance

# nothing is loaded from anywhere: not even what a label could smuggle in
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:"


@dataclass
class Contents:
    """What the page's script reads: charts and tables by key; and why a section has nothing, for the last one."""

    charts: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """A section of the page: its anchor, its heading, its HTML."""

    key: str
    title: str
    body: str


# a section of charts: anchor, heading, its charts, what it says before them, why it is left out
_CHARTS: Sequence[tuple[str, str, Callable[[Study], list[Chart]], str]] = (
    (
        "sparse",
        "Dense against sparse",
        gap.charts_of,
        "no method has an average gap to an oracle: that takes an oracle in the grid, and UA, RA, TA and MIA",
    ),
    ("curves", "Curves against sparsity", curves.charts_of, "no metric has a value"),
    ("pareto", "Gap and cost", pareto.charts_of, "no method has both a gap to an oracle and a cost"),
    (
        "topology",
        "Topology and un-pruning",
        topology.charts_of,
        "no state is sparse, no metric of masks was measured, or all share the mask of their oracle",
    ),
    ("attacks", "Membership attacks", attacks.charts_of, "no metric of a membership attack was measured"),
    (
        "disagreement",
        "Do the metrics agree?",
        disagreement.charts_of,
        "no two metrics order three methods or more",
    ),
    ("further", "Backdoor and transfer", further.charts_of, ""),
)


def page(study: Study) -> str:
    """The HTML of an experiment's report. The same files give the same bytes."""
    answer, contents = answer_of(study.folder), Contents()
    cells = list(cells_of(study))
    sections = [
        _answer(answer),
        _main(study, answer, contents),
        *_charted(study, contents),
        _cells(study, contents),
        _cost(study, contents),
        _provenance(study, contents),
    ]
    sections.append(_missing(study, contents, cells))
    data = [
        script_of("charts", contents.charts),
        script_of("tables", contents.tables),
        script_of("single", single.templates() | {"bins": BINS, "classes": class_names(study)}),
        packed("cell-files", cells),
    ]
    return _document(study, sections, data)


def _document(study: Study, sections: Sequence[Section], data: Sequence[str]) -> str:
    title = f"{study.name} · lacuna report"
    links = "".join(f'<li><a href="#{s.key}">{escaped(s.title)}</a></li>' for s in sections)
    body = "".join(
        f'<section id="{s.key}" aria-labelledby="{s.key}-h">'
        f'<h2 id="{s.key}-h">{escaped(s.title)}</h2>{s.body}</section>'
        for s in sections
    )
    licences = "".join(
        f"<details><summary>Licence of {escaped(lib.name)} {lib.version}</summary>"
        f"<pre>{escaped(asset(lib.licence))}</pre></details>"
        for lib in LIBRARIES
    )
    scripts = "".join(f"<script>{script_asset(lib.file)}</script>" for lib in LIBRARIES)
    setting = study.setting()
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="lacuna {__version__}">
<link rel="icon" href="data:,">
<title>{escaped(title)}</title>
<style>{asset("page.css")}</style>
</head>
<body>
<a class="skip" href="#answer">Skip to the answer</a>
<header>
<p class="kind">lacuna report</p>
<h1>{escaped(study.name)}</h1>
<p class="setting">{escaped(setting)}</p>
</header>
<div class="columns">
<nav aria-label="Contents"><details id="toc" open><summary>Contents</summary><ol>{links}</ol></details></nav>
<main>
<noscript><p class="warning">Tables and charts of this page are drawn by its script, which this browser does not
run. The same numbers are in <code>results/tables/{escaped(study.name)}/</code>.</p></noscript>
{body}
</main>
</div>
<footer><p>Made by lacuna {__version__}. One file, nothing is loaded from the network. Charts by vega and
vega-lite.</p>{licences}</footer>
<div id="tip" role="tooltip" hidden></div>
{"".join(data)}
{scripts}
<script>{script_asset("page.js")}</script>
</body>
</html>
"""


# ---- parts ----------------------------------------------------------------------------------------------------------


def _table(contents: Contents, key: str, caption: str, table: Mapping[str, Any]) -> str:
    contents.tables[key] = dict(table)
    return f'<div class="table" data-table="{escaped(key)}" data-caption="{escaped(caption)}"></div>'


def figure(chart: Chart) -> str:
    """The frame of a chart; the page's script draws its panels when a reader comes near."""
    key = escaped(chart.key)
    entries = []
    for entry in chart.legend:
        inside = f"{swatch(entry.look, entry.kind)}<span>{escaped(entry.label)}</span>"
        if entry.pick:
            inside = f'<button type="button" aria-pressed="false" data-pick="{escaped(entry.label)}">{inside}</button>'
        entries.append(f"<li>{inside}</li>")
    hint = '<p class="hint">Press a method to single it out.</p>' if any(e.pick for e in chart.legend) else ""
    legend = f'<ul class="legend" aria-label="Legend">{"".join(entries)}</ul>{hint}' if entries else ""
    options = "".join(f'<option value="{i}">{escaped(v.label)}</option>' for i, v in enumerate(chart.variants))
    chooser = f'<label class="view">View <select>{options}</select></label>' if len(chart.variants) > 1 else ""
    return (
        f'<figure class="chart{" wide" if chart.wide else ""}" id="figure-{key}" data-chart="{key}">'
        f"<h3>{escaped(chart.title)}</h3>{chooser}{legend}"
        f'<div class="panels"></div><figcaption>{escaped(chart.caption)}</figcaption>'
        '<details class="values"><summary>Values as a table</summary><div class="table"></div></details></figure>'
    )


def _answer(answer: Answer) -> Section:
    sentences = "".join(f"<p>{escaped(sentence)}</p>" for sentence in answer.sentences)
    return Section(
        "answer",
        "Question and answer",
        f'<p class="question">{escaped(answer.question)}</p><div class="answer">{sentences}</div>',
    )


def _main(study: Study, answer: Answer, contents: Contents) -> Section:
    table, shared = sheets.main_sheet(answer.rows, answer.oracles, study.palette)
    notes = "".join(f"<li>{escaped(note)}</li>" for note in answer.notes)
    floors = ", noise floor" if any(title.startswith("floor, ") for _, title in table["columns"]) else ""
    caption = f"Methods by sparsity: gap to each oracle ± half the 95 % interval{floors}, verdict"
    body = f'<p class="note">All rows: {escaped(shared)}.</p>' if shared else ""
    body += _table(contents, "main", caption, table)
    return Section("table", "Main table", f'{body}<ul class="notes">{notes}</ul>' if notes else body)


def _charted(study: Study, contents: Contents) -> Iterator[Section]:
    for key, title, charts_of, why in _CHARTS:
        charts = charts_of(study)
        contents.charts |= {chart.key: chart.data() for chart in charts}
        body = "".join(map(figure, charts))
        if key == "topology" and not study.grid.get("unprune"):
            contents.left_out.append("Un-pruning: no method is wrapped in it (unprune in the grid).")
        if key == "attacks" and not any(chart.key == "roc" for chart in charts):
            contents.left_out.append("ROC curves: the experiment has no shadow models (shadows in the grid).")
        if key == "further":
            body += _tables_alone(study, contents)
        if body:
            yield Section(key, title, body)
        elif why:
            contents.left_out.append(f"{title.rstrip('?')}: {why}.")


def _tables_alone(study: Study, contents: Contents) -> str:
    """Tables that have no chart here."""
    table = study.table("recipes")
    if table.empty:
        return ""
    heading = "<h3>Do two recipes rank the methods alike?</h3>"
    return heading + _table(contents, "recipes", "Ranks of the methods under two recipes", sheets.frame_sheet(table))


def _cells(study: Study, contents: Contents) -> Section:
    intro = (
        '<p class="note">One row per cell: a method, on one state of the network, for one seed. Open one for its '
        "training curve, confusion matrix, confidence histograms, hyper-parameters, the end of its log and the facts "
        "of its job.</p>"
    )
    table = _table(contents, "cells-list", "Cells", sheets.cells_sheet(study))
    detail = '<article id="cell" tabindex="-1" aria-label="One cell" hidden></article>'
    return Section("cells", "Cells one by one", intro + table + detail)


def _cost(study: Study, contents: Contents) -> Section:
    charts = cost.charts_of(study)
    contents.charts |= {chart.key: chart.data() for chart in charts}
    provenance = study.tables["provenance"]
    total = float(provenance["seconds"].sum())
    devices = ", ".join(map(str, provenance["device"].dropna().unique()))
    words = (
        f"{len(provenance):,} cells, {duration(total)} of methods alone, on {devices or 'devices that are not known'}."
    )
    if not charts:
        contents.left_out.append("Cost of the methods: no metric of cost was measured.")
    return Section("cost", "Cost", f'<p class="note">{escaped(words)}</p>' + "".join(map(figure, charts)))


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3.5 min, 12 h."""
    for size, unit in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _provenance(study: Study, contents: Contents) -> Section:
    said = inconsistent_provenance(study.tables["provenance"])
    doubts = "".join(f'<p class="warning">{escaped(sentence)}.</p>' for sentence in said)
    intro = (
        '<p class="note">Commits, devices and versions behind the cells. Each cell with its random stream and '
        f"checksums is a row of <code>results/tables/{escaped(study.name)}/provenance.csv</code>.</p>"
    )
    table = _table(contents, "machines", "Commits, devices and versions", sheets.machines_sheet(study))
    shown = {k: study.experiment[k] for k in ("name", "seeds", "states", "metrics", "grid") if k in study.experiment}
    text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100)
    config = f"<details><summary>Configuration, with all defaults</summary><pre>{escaped(text)}</pre></details>"
    contents_of = study.experiment.get("tables", {})
    listed = "".join(
        f"<tr><th scope=row>{escaped(k)}.csv</th><td>{escaped(v)}</td></tr>" for k, v in contents_of.items()
    )
    digests = (
        "<details><summary>Checksums of the tables</summary><div class=scroll tabindex=0 role=region "
        f'aria-label="Checksums of the tables"><table class="plain"><tbody>{listed}</tbody></table></div></details>'
    )
    return Section("provenance", "Provenance", doubts + intro + table + config + (digests if listed else ""))


def _missing(study: Study, contents: Contents, cells: Sequence[Mapping[str, Any]]) -> Section:
    table = sheets.missing_sheet(study)
    count = len(cells)
    if table is None:
        body = f'<p class="note">All {count:,} cells of the grid are in the tables.</p>'
    else:
        some = len(table["rows"])
        body = f'<p class="note">{count:,} cells are in the tables, {some:,} are not; each with its reason:</p>'
        body += _table(contents, "missing", "Cells that are not in the tables", table)
    left = list(contents.left_out)
    unread = [cell for cell in cells if cell["gaps"]]
    if unread:
        left.append(f"Files of {len(unread):,} cells could not be read; each cell says which.")
    if study.tables["summary"]["pruner"].eq(DENSE).all():
        left.append("No state is sparse: nothing compares dense with sparse.")
    listed = "".join(f"<li>{escaped(sentence)}</li>" for sentence in left)
    body += f'<h3>Left out of this page</h3><ul class="notes">{listed}</ul>' if listed else ""
    asked = set(study.experiment["metrics"]) if "metrics" in study.experiment else set()
    others = [name for name in METRICS if name not in asked] if asked else []
    if others:
        names = ", ".join(f"<code>{escaped(name)}</code>" for name in others)
        body += f"<h3>Metrics that the experiment did not ask for</h3><p>{names}</p>"
    return Section("missing", "Not run, and why", body)
