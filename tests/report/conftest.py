"""A page of a small experiment, and a browser that opens it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lacuna.reporting.report.page import page
from lacuna.reporting.report.study import Study
from tests.report.browser import Tab, browsing, chromium
from tests.report.fabricated import experiment_of, fabricate


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of an experiment with something for every section."""
    folder = tmp_path_factory.mktemp("page")
    experiment = experiment_of("made", ["class", "random"], ["0.90"], ("original", "ft", "ga"), 2, unprune=True)
    tables = fabricate(folder / "results", experiment, missing=("unprune.ft.p30.r3",), roc=True)
    path = folder / "made.html"
    path.write_text(page(Study.read(tables, folder / "results")), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tab() -> Iterator[Tab]:
    """A tab of a headless Chromium. Without one the tests are skipped; where CI is set they fail."""
    program = chromium()
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have a Chromium: none is installed")
        pytest.skip("no Chromium on this machine")
    with browsing(program) as opened:
        yield opened
