"""The page in a browser: it loads nothing, draws everything, and is used by mouse and by keyboard alike."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.report.browser import Tab

WIDTHS = (400, 1280)
# sections of the page in the order that the project promises
SECTIONS = (
    *("answer", "table", "sparse", "curves", "pareto", "topology", "attacks", "disagreement"),
    *("cells", "cost", "provenance", "missing"),
)
CHARTS = {
    *("gap", "change", "curves", "pareto", "overlap", "by_layer", "unpruning", "attacks", "roc", "disagreement"),
    "cost",
}
# the table of a section's first host, its rows as texts
ROWS = "[...document.querySelectorAll('#{} .rows tbody tr')].map(r => [...r.cells].map(c => c.innerText.trim()))"
# elements that are seen and hold text of their own, charts apart
TEXTS = (
    "[...document.querySelectorAll('body *')].filter(e => !e.closest('svg') && e.offsetParent"
    " && [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()))"
)
HEADING = "[...document.querySelectorAll('#{} .rows th button')].findIndex(b => b.innerText.trim() == {})"


def rows_of(tab: Tab, section: str) -> list[list[str]]:
    return list(tab.run(ROWS.format(section)))


def heading(tab: Tab, section: str, title: str) -> str:
    """The selector of the button that sorts by a column."""
    place = tab.run(HEADING.format(section, json.dumps(title))) + 1
    assert place > 0, f"no column {title}"
    offset = tab.run(f"document.querySelectorAll('#{section} .rows thead th').length")
    cells = tab.run(f"document.querySelector('#{section} .rows thead tr').cells.length")
    return f"#{section} .rows thead tr > :nth-child({place + cells - offset}) button"


def focus(tab: Tab, selector: str) -> None:
    """Come to an element by the Tab key alone, from the one before it in the order of the page."""
    tab.run(
        "(() => { const all = [...document.querySelectorAll('a[href], button, select, input, summary,"
        ' [tabindex="0"]\')].filter(e => e.offsetParent !== null && !e.disabled);'
        f" all[all.indexOf(document.querySelector({json.dumps(selector)})) - 1].focus(); }})()"
    )
    tab.press("Tab")
    assert tab.run(f"document.activeElement === document.querySelector({json.dumps(selector)})"), selector


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_asks_for_nothing_and_complains_of_nothing(tab: Tab, made: Path, width: int) -> None:
    tab.open(made, width)
    tab.run("lacuna.drawAll()")
    assert tab.requests == [made.as_uri()]
    assert tab.errors == []


@pytest.mark.parametrize("width", WIDTHS)
def test_every_section_figure_and_table_is_there(tab: Tab, made: Path, width: int) -> None:
    tab.open(made, width)
    tab.run("lacuna.drawAll()")
    sections = tab.run("[...document.querySelectorAll('main > section')].map(s => s.id)")
    assert sections == list(SECTIONS)
    charts = tab.run("[...document.querySelectorAll('figure[data-chart]')].map(f => f.dataset.chart)")
    assert set(charts) == CHARTS and len(charts) == len(CHARTS)
    # marks of data in every panel: paths beside those of axes, and no panel that could not be drawn
    panels = tab.run(
        "[...document.querySelectorAll('.plot')].map(p => [p.closest('figure').dataset.chart,"
        " p.querySelectorAll('.mark-symbol path, .mark-rect path, .mark-line path, .mark-rule line').length,"
        " p.getAttribute('aria-label').length])"
    )
    assert len(panels) >= len(CHARTS)
    assert all(marks > 0 and alt > 20 for _, marks, alt in panels), panels
    for table in ("table", "cells", "provenance", "missing"):
        assert rows_of(tab, table), table


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(tab: Tab, made: Path, width: int) -> None:
    tab.open(made, width)
    tab.run("lacuna.drawAll()")
    tab.click("#cells .rows tbody tr button")
    tab.wait("document.querySelector('#cell h3') !== null")
    assert tab.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    # letters of the page itself, charts apart, are no smaller than 12 pixels
    small = tab.run(
        f"{TEXTS}.filter(e => parseFloat(getComputedStyle(e).fontSize) < 12)"
        ".map(e => e.tagName + ' ' + e.innerText.slice(0, 30))"
    )
    assert small == []


def test_sorting_by_mouse(tab: Tab, made: Path) -> None:
    tab.open(made)
    button = heading(tab, "table", "UA (%)")
    column = tab.run(f"document.querySelector({json.dumps(button)}).closest('th').cellIndex")
    before = rows_of(tab, "table")
    for state in ("ascending", "descending"):
        tab.click(button)
        assert tab.run(f"document.querySelector({json.dumps(button)}).closest('th').ariaSort") == state
        values = [float(row[column]) for row in rows_of(tab, "table")]
        assert values == sorted(values, reverse=state == "descending") and len(set(values)) > 3
    tab.click(button)
    assert rows_of(tab, "table") == before


def test_sorting_and_filtering_by_keyboard(tab: Tab, made: Path) -> None:
    tab.open(made)
    every = rows_of(tab, "table")
    button = heading(tab, "table", "gap to retrain")
    focus(tab, button)
    tab.press("Enter")
    assert tab.run(f"document.querySelector({json.dumps(button)}).closest('th').ariaSort") == "ascending"
    focus(tab, "#table .bar select")
    tab.press("ArrowDown")
    tab.wait(f"{ROWS.format('table')}.length < {len(every)}")
    method = tab.run("document.querySelector('#table .bar select').value")
    assert {row[0] for row in rows_of(tab, "table")} == {method}
    focus(tab, "#table .bar input")
    tab.write("no such method")
    assert rows_of(tab, "table") == []
    assert tab.run("document.querySelector('#table output').textContent") == f"0 of {len(every)} rows"


def test_the_focus_is_seen(tab: Tab, made: Path) -> None:
    tab.open(made)
    for selector in ("nav a", "#table .bar select", "#table .rows th button", "#figure-curves .legend button"):
        focus(tab, selector)
        assert tab.run("getComputedStyle(document.activeElement).outlineStyle") != "none", selector


def test_a_cell_opens_by_mouse_and_by_keyboard(tab: Tab, made: Path) -> None:
    tab.open(made)
    tab.click("#cells .rows tbody tr:nth-child(2) button")
    tab.wait("document.querySelector('#cell h3') !== null")
    first = tab.run("document.querySelector('#cell h3').innerText")
    headings = tab.run("[...document.querySelectorAll('#cell > h4, #cell > .pair h4')].map(h => h.innerText)")
    assert headings[0] == "Training curve" and {"Hyper-parameters", "Facts of the job", "End of the log"} <= set(
        headings
    )
    assert any("Confidence" in h for h in headings) and any("Confusion" in h for h in headings)
    assert tab.run("document.querySelectorAll('#cell .plot svg').length") == 3 + 3 + 1
    assert "190 steps" in tab.run("document.querySelector('#cell pre').innerText")
    assert tab.run("document.activeElement.id") == "cell"
    focus(tab, "#cell .steps button:nth-child(2)")
    tab.press("Enter")
    tab.wait(f"document.querySelector('#cell h3').innerText != {json.dumps(first)}")
    # the third row of the list is open now
    shown = tab.run("document.querySelector('#cell h3').innerText")
    assert shown.startswith(rows_of(tab, "cells")[2][1] + " ·")
    assert tab.errors == [] and tab.requests == [made.as_uri()]


def test_the_numbers_of_a_cell_are_those_of_its_table(tab: Tab, made: Path) -> None:
    tab.open(made)
    tab.click("#cells .rows tbody tr button")
    tab.wait("document.querySelector('#cell h3') !== null")
    titles = tab.run("[...document.querySelectorAll('#cells > .table .rows th')].map(h => h.innerText.trim())")
    place = titles.index("UA (%)") + 1
    metrics = dict(
        tab.run(
            "[...document.querySelectorAll('#cell > .table tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
        )
    )
    assert metrics["UA"] == rows_of(tab, "cells")[0][place]


def test_a_method_is_singled_out_in_every_panel(tab: Tab, made: Path) -> None:
    tab.open(made)
    tab.run("lacuna.drawAll()")
    faint = (
        "[...document.querySelectorAll('#figure-curves .plot')].map(p => [...p.querySelectorAll('.mark-symbol path')]"
        ".filter(s => parseFloat(s.getAttribute('opacity') ?? 1) < 0.2).length)"
    )
    assert set(tab.run(faint)) == {0}
    focus(tab, "#figure-curves .legend button")
    tab.press("Enter")
    tab.wait(f"{faint}.every(n => n > 0)")
    assert tab.run("document.activeElement.getAttribute('aria-pressed')") == "true"
    tab.press("Enter")
    tab.wait(f"{faint}.every(n => n == 0)")


def test_another_view_and_its_values(tab: Tab, made: Path) -> None:
    tab.open(made)
    figure = "#figure-gap"
    # a chart that is drawn while the mouse is on its way moves what it aims at
    tab.run("lacuna.drawAll()")
    tab.click(f"{figure} .values summary")
    table = f"[...document.querySelectorAll('{figure} tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    tab.wait(f"{table}.length > 0")
    first = tab.run(table)
    focus(tab, f"{figure} .view select")
    tab.press("ArrowDown")
    tab.wait(f"JSON.stringify({table}) != {json.dumps(json.dumps(first, separators=(',', ':'), ensure_ascii=False))}")
    assert len(tab.run(table)) == len(first)


def test_letters_have_contrast(tab: Tab, made: Path) -> None:
    """4.5 to 1 between every text and its background (WCAG 2.2, 1.4.3)."""
    tab.open(made)
    tab.run("lacuna.drawAll()")
    pairs: list[list[Any]] = tab.run(
        "(() => { const back = (e) => { for (; e; e = e.parentElement) {"
        " const colour = getComputedStyle(e).backgroundColor; if (colour != 'rgba(0, 0, 0, 0)') return colour; }"
        " return 'rgb(255, 255, 255)'; };"
        f" const found = {TEXTS}.map(e => [getComputedStyle(e).color, back(e), e.tagName + ' ' + e.className]);"
        " for (const t of document.querySelectorAll('.plot svg :is(.role-axis-label, .role-axis-title) text'))"
        " found.push([t.getAttribute('fill'), 'rgb(255, 255, 255)', 'axis']);"
        " return [...new Map(found.map(f => [f.slice(0, 2).join(), f])).values()]; })()"
    )
    assert len(pairs) > 4
    assert [pair for pair in pairs if contrast(pair[0], pair[1]) < 4.5] == []


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    if colour.startswith("#"):
        parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    else:
        parts = [int(float(part)) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (part / 255 for part in parts)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_axes_write_their_numbers_out(tab: Tab, made: Path) -> None:
    """100, not 1e+2."""
    tab.open(made)
    tab.run("lacuna.drawAll()")
    labels = tab.run("[...document.querySelectorAll('.plot svg .role-axis-label text')].map(t => t.textContent)")
    assert {"100", "80"} <= set(labels)
    assert not [label for label in labels if re.fullmatch(r"[−-]?[\d.]+e[+−-]?\d+", label)]


def test_it_prints_every_chart(tab: Tab, made: Path) -> None:
    tab.open(made)
    tab.send("Page.printToPDF")
    assert tab.run("lacuna.waiting()") == 0
