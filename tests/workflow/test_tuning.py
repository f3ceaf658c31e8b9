"""`snakemake tune`: what it reads, what it leaves, and that its overlay is an experiment."""

from __future__ import annotations

import copy
import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lacuna.commands.verify import verify

from .project import EXPERIMENT, Done, Project

STUDIES = "results/tuning/tiny/digits/resnet8/brief"
TUNING = EXPERIMENT | {
    "tuning": {"trials": 2, "seeds": [7]},
    "grid": EXPERIMENT["grid"] | {"unlearners": {"original": {}, "retrain": {}, "ft": {"epochs": 1}, "ssd": {}}},
}


@pytest.fixture(scope="module")
def run(fresh: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Future:
    """A search, then a dry run of the same."""

    def work() -> tuple[Project, Done, Done]:
        project = fresh.copy(tmp_path_factory.mktemp("tune") / "clone")
        project.choose(TUNING)
        return project, project.run("tune"), project.plan("tune")

    return workers.submit(work)


def test_no_oracle_and_no_other_seed_is_made_for_a_search(run: Future) -> None:
    project, done, again = run.result()
    assert done.code == 0, done.output
    assert again.nothing_to_do, again.output
    assert not project.made("cells/**/*")
    # no word of tables and figures, which were not made
    ending = done.output[done.output.index("values found: ") :].splitlines()
    assert ending[0] == f"values found: {STUDIES}/tuned.yaml"
    assert ending[1].endswith(f" --configfile {STUDIES}/tuned.yaml")
    assert "tables: " not in done.output and "figures: " not in done.output
    assert {Path(name).parts[4] for name in project.made("models/**/model.safetensors")} == {"seed7"}


def test_studies_tell_every_trial_and_the_tree_is_in_order(run: Future) -> None:
    project, done, _ = run.result()
    assert done.code == 0, done.output
    for label, place in (("ft", {"lr", "schedule"}), ("ssd", {"alpha", "dampening"})):
        study = json.loads((project / STUDIES / f"{label}.json").read_text())
        assert [set(t["values"]) for t in study["trials"]] == [place] * 2
        starts = [(p["seed"], p["scenario"], p["state"]) for p in study["trials"][1]["parts"]]
        assert starts == [(7, "class", "dense"), (7, "class", "omp-0.90")]
        assert study["commit"] and study["inputs"] and study["parameters"]["tuning"]["trials"] == 2
    assert [str(finding) for finding in verify(project / "results")] == []


def test_overlay_plans_and_shares_the_cells_of_the_grid_s_own_values(run: Future, tmp_path: Path) -> None:
    project, done, _ = run.result()
    assert done.code == 0, done.output
    study = json.loads((project / STUDIES / "ft.json").read_text())
    label = "ft_tuned" if study["best"] else "ft"
    plan = project.view(tmp_path / "view").plan("tables", "--configfile", f"{STUDIES}/tuned.yaml")
    assert plan.code == 0, plan.output
    assert f"{label}: class, dense, digits, seed 0" in plan.jobs and "results/tables/tiny_tuned/" in plan.output


def test_without_settings_there_is_no_search(fresh: Project, tmp_path: Path) -> None:
    plan = fresh.view(tmp_path / "view").plan("tune")
    assert plan.code and "lacuna: tuning: missing key" in plan.output and "Traceback" not in plan.output


def test_more_trials_go_on_and_another_seed_needs_models(run: Future, tmp_path: Path) -> None:
    project, done, _ = run.result()
    assert done.code == 0, done.output
    view = project.view(tmp_path / "view")
    other = copy.deepcopy(TUNING)
    other["tuning"]["trials"] = 3
    view.choose(other)
    assert view.plan("tune").counts == {"tune_unlearner": 2, "collect_winners": 1, "tune": 1}
    other["tuning"]["seeds"] = [7, 8]
    view.choose(other)
    assert "train resnet8 on digits, brief, seed 8" in view.plan("tune").jobs


def test_a_finished_search_goes_on_where_it_ended(run: Future, tmp_path: Path) -> None:
    """Seconds and all: the first trials are those that were there."""
    project, done, _ = run.result()
    assert done.code == 0, done.output
    more = project.copy(tmp_path / "clone")
    before = json.loads((more / STUDIES / "ft.json").read_text())["trials"]
    more.choose(TUNING | {"tuning": {"trials": 3, "seeds": [7]}})
    done = more.run(f"{STUDIES}/ft.json")
    assert done.code == 0, done.output
    trials = json.loads((more / STUDIES / "ft.json").read_text())["trials"]
    assert trials[:2] == before and len(trials) == 3
