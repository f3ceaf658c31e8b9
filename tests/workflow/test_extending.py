"""docs/extending.md, done: its files are written, its Python and its commands are run, and nothing else is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from lacuna.reporting.tables.files import read_table

from .project import NOT_PASSED_ON, PATIENCE, ROOT, Project, copy_tree

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A code block of the page; file: its name in the first line, if it has one."""

    kind: str
    text: str
    file: str | None


def blocks() -> Iterator[Block]:
    for kind, text in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        named = re.match(r"# (\S+/\S+)\n", text)
        yield Block(kind, text, named[1] if named else None)


FILES = {block.file: block.text for block in blocks() if block.file is not None}
SCRIPTS = [block.text for block in blocks() if block.kind == "python" and block.file is None]
(COMMANDS,) = (block.text.splitlines() for block in blocks() if block.kind == "sh")


@pytest.fixture(scope="module")
def done(
    fresh: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> Future[tuple[Project, list[subprocess.CompletedProcess[str]]]]:
    """A clone in which a reader did what the page says, and how each step ended."""

    def work() -> tuple[Project, list[subprocess.CompletedProcess[str]]]:
        project = fresh.copy(tmp_path_factory.mktemp("extending") / "clone")
        # the pages, parts of which are generated
        for name in ("docs", "README.md"):
            copy_tree(ROOT / name, project / name)
        for name, text in FILES.items():
            assert not (project / name).exists(), f"{name} is there already"
            (project / name).write_text(text, encoding="utf-8")
        # as after `source .venv/bin/activate`, in a clone whose own sources are installed
        environment = {k: v for k, v in os.environ.items() if k not in NOT_PASSED_ON} | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(project / "src"),
        }
        steps = [[sys.executable, "-c", text] for text in SCRIPTS] + [shlex.split(line) for line in COMMANDS]
        return project, [
            subprocess.run(
                step, cwd=project.folder, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
            )
            for step in steps
        ]

    return workers.submit(work)


@pytest.mark.parametrize("file", FILES)
def test_each_is_one_short_file(file: str) -> None:
    assert len(FILES[file].splitlines()) < 40


def test_the_page_shows_one_of_each_kind() -> None:
    folders = {str(Path(file).parent) for file in FILES}
    inside = (
        "data/datasets",
        "data/scenarios",
        "models/architectures",
        "pruning",
        "unlearning/methods",
        "evaluation/metrics",
        "reporting/figures",
        "reporting/tables",
    )
    assert folders == {f"src/lacuna/{folder}" for folder in inside} | {"config/experiments"}


def test_what_the_page_says_works(done: Future) -> None:
    """Every script and command ends well; the tables and the figure hold what was added, the pages explain it."""
    project, steps = done.result()
    for step in steps:
        assert step.returncode == 0, f"{step.args}\n{step.stdout}\n{step.stderr}"
    cells = read_table(project / "results/tables/mine/cells.csv")
    assert {(column, value) for column in cells for value in cells[column].astype(str)} >= {
        ("dataset", "bars"),
        ("model", "plain"),
        ("scenario", "few"),
        ("pruner", "smallest"),
        ("unlearner", "neggrad"),
        ("metric", "margin"),
    }
    assert read_table(project / "results/tables/mine/best.csv")["unlearner"].tolist() == ["neggrad"]
    assert "</svg>" in (project / "results/figures/mine/margins.svg").read_text()
    for page, name in (("methods", "neggrad"), ("pruners", "smallest"), ("metrics", "margin")):
        assert f"`{name}`" in (project / f"docs/{page}.md").read_text(encoding="utf-8")


def test_options_of_what_was_added_are_checked_like_all_others(done: Future) -> None:
    project, _ = done.result()
    wrong = FILES["config/experiments/mine.yaml"].replace("beta: 0.2", "beta: -1")
    (project / "wrong.yaml").write_text(wrong, encoding="utf-8")
    refused = project.plan("--configfile", "wrong.yaml")
    assert refused.code != 0 and "grid.unlearners.neggrad.beta: -1 is not allowed" in refused.output, refused.output
