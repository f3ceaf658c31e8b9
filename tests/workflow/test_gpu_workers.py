"""Jobs that follow one another in GPU workers, rehearsed on the CPU, make what jobs in processes of their own make."""

from __future__ import annotations

import re

from lacuna_workflow.warm_patch import REHEARSAL

import pandas as pd
import pytest

from .project import Project
from .test_results import TIMES

SCRIPTS = ("train", "prune", "unlearn", "evaluate")
NOTE = "\nimport os\nwith open('processes', 'a') as file:\n    file.write(f'{os.getpid()}\\n')\n"


@pytest.fixture(scope="module")
def in_workers(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in which every job of the experiment ran as if it held a GPU; its scripts say in which process."""
    project = fresh.copy(tmp_path_factory.mktemp("workers") / "clone")
    for name in SCRIPTS:
        project.edit(f"workflow/scripts/{name}.py", lambda text: text + NOTE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(REHEARSAL, "1")
        done = project.run("tables")
    assert done.code == 0, done.output
    return project


def test_jobs_of_all_kinds_share_a_process(in_workers: Project):
    processes = (in_workers / "processes").read_text().split()
    assert len(processes) > 15 and len(set(processes)) == 1


def test_models_are_the_same_bytes(in_workers: Project, finished: Project):
    for pattern in ("**/*.safetensors", "**/history.csv"):
        ours, theirs = in_workers.made(pattern), finished.made(pattern)
        assert ours and ours.keys() == theirs.keys()
        for name, path in ours.items():
            if path.suffix == ".csv":  # the last column has seconds
                rows = [re.sub(r",[^,]*$", "", file.read_text(), flags=re.M) for file in (path, theirs[name])]
                assert rows[0] == rows[1], name
            else:
                assert path.read_bytes() == theirs[name].read_bytes(), name


def test_tables_are_equal_but_for_times(in_workers: Project, finished: Project):
    ours, theirs = (pd.read_csv(project / "results/tables/tiny/cells.csv") for project in (in_workers, finished))
    assert len(ours) and ours["metric"].equals(theirs["metric"])
    timed = ours["metric"].str.split("/").str[0].isin(TIMES)
    assert ours[~timed].equals(theirs[~timed])
