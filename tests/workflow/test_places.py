"""Where the pipeline stands: started from another folder it finds its own files; a name that cannot work is refused."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .project import Project


def test_from_another_folder_and_as_a_module(fresh: Project, workers: ThreadPoolExecutor, tmp_path: Path) -> None:
    """The default experiment lies beside the Snakefile, and so do scripts and schema, whoever imports it."""
    empty, module = tmp_path / "empty", tmp_path / "module"
    for folder in (empty, module):
        folder.mkdir()
    source = f'module lacuna:\n    snakefile: "{fresh / "Snakefile"}"\n\nuse rule * from lacuna as lac_*\n'
    (module / "Snakefile").write_text(source)
    experiment = str(fresh / "config/experiments/three_seeds.yaml")

    def plan(folder: Path, *arguments: str) -> str:
        project = dataclasses.replace(fresh, folder=folder, how=("--cores", "1"))
        done = project.plan(*arguments, "--configfile", experiment)
        assert done.code == 0, done.output
        return done.output

    plans = [
        workers.submit(plan, empty, "--snakefile", str(fresh / "Snakefile")),
        workers.submit(plan, module, "lac_all"),
    ]
    assert all("tables of three_seeds" in done.result() for done in plans)


def test_folder_with_braces_is_refused_in_a_sentence(fresh: Project, tmp_path: Path) -> None:
    done = fresh.view(tmp_path / "a{b}c").plan()
    assert done.code != 0
    said = f"lacuna: {tmp_path}/a{{b}}c: Snakemake takes braces for wildcards; allowed: a path without {{ and }}"
    assert done.output.splitlines()[-1] == said
