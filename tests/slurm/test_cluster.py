"""On a real cluster a cancelled job, a killed Snakemake and a failing cell end as the user needs them to.

A SLURM of one node is started on this machine (cluster.sh): root, Debian's slurm-wlm and munge, and for accounting
slurmdbd and mariadb-server. Without them the tests are skipped; where CI is set they fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.workflow.project import EXPERIMENT, PATIENCE, Done, Project

SCRIPT = Path(__file__).with_name("cluster.sh")
PROGRAMS = {"none": ("slurmctld", "slurmd", "munged"), "accounting": ("slurmdbd", "mariadbd")}
# Few jobs: each waits for the queue and for two more starts of Snakemake.
SMALL = EXPERIMENT | {
    "name": "small",
    "metrics": ["UA", "RA", "TA"],
    "grid": EXPERIMENT["grid"]
    | {
        # a training that lasts long enough to be met in the middle
        "recipes": {"long": EXPERIMENT["grid"]["recipes"]["brief"] | {"epochs": 60}},
        "sparsities": ["dense"],
        "unlearners": {"original": {}, "retrain": {}},
    },
}
CELLS = "results/cells/digits/resnet8/long/seed0/class/dense"


def why_not(accounting: str) -> str | None:
    """The reason why this machine cannot have a cluster of its own."""
    where = f"{os.environ['PATH']}:/usr/sbin"
    wanted = dict.fromkeys((*PROGRAMS["none"], *PROGRAMS[accounting]))
    missing = [program for program in wanted if shutil.which(program, path=where) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "the daemons of a cluster need root"
    return None


@pytest.fixture(scope="module", params=["none", "accounting"])
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """A running cluster, without accounting or with it."""
    if reason := why_not(request.param):
        if os.environ.get("CI"):
            pytest.fail(f"CI must have SLURM: {reason}")
        pytest.skip(f"no SLURM: {reason}")
    started = subprocess.run([SCRIPT, "start", request.param], capture_output=True, text=True, check=False, timeout=200)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        yield request.param
    finally:
        subprocess.run([SCRIPT, "stop"], check=False, timeout=200)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, cluster: str) -> Project:
    """A clone with a profile as a user would change it: no GPU to compute on, yet each model's job asks for one."""
    project = Project.new(tmp_path_factory.mktemp(f"slurm-{cluster}") / "clone")
    project.choose(SMALL)
    project.edit("profiles/slurm/config.yaml", for_no_gpu)
    return Project(project.folder, ("--profile", "profiles/slurm", "--cores", "64"))


def for_no_gpu(profile: str) -> str:
    for before, after in (
        ("device=cuda", "device=cpu"),
        ('slurm_partition: "gpu"\n', 'slurm_partition: "gpu"\n    gpu: 1\n'),
        ("status-checks: 10\n", "status-checks: 4\n"),
    ):
        assert profile.count(before) == 1, before
        profile = profile.replace(before, after)
    return profile


def squeue(*options: str) -> list[str]:
    told = subprocess.run(["squeue", "--noheader", *options], capture_output=True, text=True, check=True)
    return told.stdout.splitlines()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def in_the_middle(project: Project, log: str) -> tuple[subprocess.Popen[str], str]:
    """Start the run and wait until a job has trained some epochs; the run, and the job's id."""
    process = project.start("tables")
    path = project / log
    wait_for(lambda: path.exists() and "epoch 3/" in path.read_text(), process)
    jobs = squeue("--format", "%i|%k", "--states", "R")
    (job,) = [line.split("|")[0] for line in jobs if "rule_train" in line]
    return process, job


def scripts_of(project: Project) -> list[psutil.Process]:
    """The scripts of the project's jobs, and of no other's."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()[1:2]
            if any(word.startswith(str(project / ".snakemake/scripts")) for word in words):
                found.append(process)
    assert found
    return found


def finished(project: Project, process: subprocess.Popen[str]) -> str:
    """The output of a run that ended well, with tables of every cell and nothing left on the cluster."""
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    cells = pd.read_csv(project / "results/tables/small/cells.csv")
    assert set(cells["unlearner"]) == {"original", "retrain"}
    assert not squeue()
    assert not project.made("**/.*.safetensors"), "a checkpoint is left"
    return output


def test_a_cancelled_job_goes_on(small: Project, cluster: str) -> None:
    """scancel in mid-training: the job makes a checkpoint, is sent again by itself, and continues from there.

    With accounting, Snakemake itself is killed too: the same command cancels the job that it left and finishes.
    """
    log = "results/logs/models/digits/resnet8/long/seed0/dense.log"
    process, job = in_the_middle(small, log)
    described = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout
    assert "Partition=gpu" in described and "gres:gpu:1" in described
    if cluster == "accounting":
        process.kill()
        process.communicate()
        assert squeue("--jobs", job), "the job is to outlive its Snakemake"
        process = small.start("tables")
        output = finished(small, process)
        assert f"its jobs are cancelled: {job}" in output
        told = ["sacct", "--noheader", "--allocations", "--format", "state", "--jobs", job]
        assert "CANCELLED" in subprocess.run(told, capture_output=True, text=True, check=True).stdout
    else:
        subprocess.run(["scancel", job], check=True)
        output = finished(small, process)
        assert "Trying to restart job" in output
    assert "continues after" in (small / log).read_text()
    facts = json.loads((small / "results/models/digits/resnet8/long/seed0/dense/job.json").read_text())
    assert facts["slurm_job"] not in (None, job)


# the limit is the same with accounting; one long minute is enough
@pytest.mark.parametrize("cluster", ["none"], indirect=True)
def test_a_job_at_its_time_limit_goes_on(small: Project) -> None:
    """At the limit SLURM warns the script itself, without --signal; it makes a checkpoint, the next attempt goes on."""
    # the tables too: as long as they are there, nothing that they were made of is missed
    for folder in ("models", "cells", "tables"):
        shutil.rmtree(small / "results" / folder, ignore_errors=True)
    log = small / "results/logs/models/digits/resnet8/long/seed0/dense.log"
    log.unlink(missing_ok=True)
    process, job = in_the_middle(small, str(log.relative_to(small.folder)))
    # asleep until its minute is over: SLURM wakes what it warns
    for sleeper in scripts_of(small):
        sleeper.suspend()
    reached = int(re.findall(r"epoch (\d+)/", log.read_text())[-1])
    subprocess.run(["scontrol", "update", f"JobId={job}", "TimeLimit=1"], check=True)
    output = finished(small, process)
    assert "TIMEOUT" in output and "Trying to restart job" in output
    continued = re.search(r"continues after (\d+) of (\d+) steps", log.read_text())
    assert continued, "no checkpoint was made"
    epochs = SMALL["grid"]["recipes"]["long"]["epochs"]
    # no timer makes one so early
    assert int(continued[1]) >= reached * int(continued[2]) / epochs, "made at the signal"


def test_then_there_is_nothing_to_do(small: Project) -> None:
    planned: Done = small.plan("tables")
    assert planned.nothing_to_do, planned.output


def test_a_failed_job_names_cell_reason_and_log(small: Project) -> None:
    """A cell that diverges: what the user sees says which one, why, and where to read more."""
    grid = SMALL["grid"] | {"unlearners": {"retrain": {}, "ga": {"lr": 1e30, "epochs": 2}}}
    small.choose(SMALL | {"grid": grid})
    failed = small.run(f"{CELLS}/ga/model.safetensors", "--retries", "0")
    assert failed.code != 0
    sentences = [line for line in failed.output.splitlines() if "lacuna: unlearn" in line]
    assert any("scenario=class state=dense unlearner=ga" in line and "diverged" in line for line in sentences), (
        failed.output
    )
    assert "results/logs/cells/digits/resnet8/long/seed0/class/dense/ga.log" in failed.output
    assert not squeue()
