"""lacuna clean on a finished run: nothing that an experiment uses goes, so nothing has to be made again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .project import NOT_PASSED_ON, Project

CELLS = "results/cells/digits/resnet8/brief/seed0/class/dense"


def clean(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in NOT_PASSED_ON}
    return subprocess.run(
        [sys.executable, "-m", "lacuna", "clean", *words],
        cwd=project.folder,
        env=environment | {"PYTHONPATH": str(project / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_after_it_nothing_has_to_be_made_again(finished: Project, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "clone")
    shutil.copy(project / "experiment.yaml", project / "config/experiments/tiny.yaml")
    before = project.times()
    done = clean(project, "--yes")
    assert (done.returncode, project.times()) == (0, before), done.stdout + done.stderr

    # what a label that is no more and an experiment of another name leave
    shutil.copytree(project / CELLS / "ga", project / CELLS / "old")
    shutil.copytree(project / "results/tables/tiny", project / "results/tables/old")
    (project / CELLS / "ga/metrics/old.json").write_text("{}")
    done = clean(project, "--yes", "--without", "old")
    assert done.returncode == 0 and "of experiments that no file names: old" in done.stdout
    assert project.times() == before
    planned = project.plan()
    assert planned.nothing_to_do, planned.output

    # without the file all goes but the data, which the default experiment uses; the plan knows it
    (project / "config/experiments/tiny.yaml").unlink()
    assert clean(project, "--yes", "--without", "tiny").returncode == 0
    assert {path.partition("/")[0] for path in project.times()} == {"data", "splits", "logs", "benchmarks"}
    planned = project.plan()
    assert planned.code == 0 and set(planned.counts) >= {
        "train",
        "prune",
        "unlearn",
        "retrain",
        "evaluate",
        "aggregate",
    }
    assert "ingest" not in planned.counts
