"""The jobs that `lacuna why` speaks of are those of a plan."""

from __future__ import annotations

import collections
from typing import Any

import pytest

from lacuna.commands.why import Reruns

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
    "unprune": changed(unprune=[{"unlearner": "ga"}], recipes={"fast": {}}),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_jobs_are_those_of_a_plan(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many of every rule, of a grid of which nothing was made."""
    project = Project.new(tmp_path_factory.mktemp("why") / "clone")
    project.choose(EXPERIMENTS[name])
    plan = project.plan()
    assert plan.code == 0, plan.output
    monkeypatch.chdir(project.folder)
    jobs = Reruns(["experiment.yaml"]).jobs
    assert dict(collections.Counter(job.rule for job in jobs)) == plan.counts
    # each is known by its log
    assert f"cells are finished; {len(jobs)} of {len(jobs)} jobs would run" in plan.output
