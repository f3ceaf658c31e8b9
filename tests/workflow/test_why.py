"""The jobs that `lacuna why` speaks of are those of a plan."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from lacuna.commands.launch import SCHEMA
from lacuna.commands.why import Reruns
from lacuna.experiment.config import load
from lacuna.experiment.jobs import RULES, Job, Jobs, traces_of

from .project import Project, changed

# between them every rule but those of tuning
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "shadows": changed(
        models={"vit": {"patch": 4}},
        seeds=[0, 1],
        scenarios={"hard": {"method": "memorised", "model": "resnet8", "recipe": "brief", "folds": 2, "fraction": 0.1}},
        pruners={"imp": {"rate": 0.2}, "snip": {}},
        shadows={},
    )
    | {"transfer": {"targets": {"other": {"method": "digits"}}}, "metrics": ["UA", "AIN", "error_bound", "avg_gap"]},
    "unprune and backdoor": changed(
        unprune=[{"unlearner": "ga"}],
        recipes={"fast": {}},
        datasets={"digits": {"backdoor": {"target": 1, "size": 2}}},
        scenarios={"backdoor": {}, "hardest": {"model": "resnet8", "recipe": "brief", "fraction": 0.1}},
    )
    | {"metrics": ["UA", "SA", "ASR", "avg_gap", "ZRF"]},
}


# appended to the Snakefile: the jobs of a plan by their logs, each with those whose files it reads
LINKS = """
import atexit, json

def _links(reads):
    jobs = {job for job in reads if job.log}
    return {str(job.log[0]): sorted({str(other.log[0]) for other in reads[job] if other in jobs}) for job in jobs}

atexit.register(lambda: open("links.json", "w").write(json.dumps(_links(workflow.dag.dependencies))))
"""


def test_between_them_they_have_every_rule(known: dict[str, Any], tmp_path: Path) -> None:
    rules = set()
    for name, experiment in EXPERIMENTS.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(experiment))
        rules |= {job.rule for job in Jobs(load([path], {}, SCHEMA, known), known).reads}
    assert set(RULES) - rules == {"tune_unlearner", "collect_winners"}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_jobs_are_those_of_a_plan(name: str, fresh: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many of every rule, of a grid of which nothing was made; each reads from those that it reads from there."""
    project = fresh.copy(tmp_path / "clone")
    project.choose(EXPERIMENTS[name])
    with open(project / "Snakefile", "a", encoding="utf-8") as file:
        file.write(LINKS)
    plan = project.plan()
    assert plan.code == 0, plan.output
    monkeypatch.chdir(project.folder)
    reruns = Reruns(["experiment.yaml"])
    jobs = reruns.jobs
    assert dict(collections.Counter(job.rule for job in jobs)) == plan.counts
    # each is known by its log
    assert f"cells are finished; {len(jobs)} of {len(jobs)} jobs would run" in plan.output
    there = json.loads((project / "links.json").read_text())

    def log_of(job: Job) -> str:
        return f"results/{traces_of(job, reruns.experiment.name).log}"

    assert {log_of(job): sorted(map(log_of, reads)) for job, reads in jobs.items()} == there
