"""The table of a plan and its words, from jobs and reasons alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from lacuna.artifacts.coordinates import COORDINATES
from lacuna.artifacts.journal import STOPPED, Journal, journal_at
from lacuna.commands.planned import CHANGED, FOLLOWS, NEW, Plan, Planned, as_json, lines_of
from lacuna.commands.standing import Estimate
from lacuna.experiment.jobs import Job

PLACE = {"dataset": "d", "model": "m", "recipe": "r", "seed": "0"}


def train(seed: str = "0") -> Job:
    return Job("train", tuple({**PLACE, "seed": seed}.items()))


def cell(rule: str, unlearner: str, state: str = "omp-0.90", seed: str = "0") -> Job:
    return Job(rule, tuple({**PLACE, "seed": seed, "scenario": "s", "state": state, "unlearner": unlearner}.items()))


def tables(results: Path, name: str, *cells: dict[str, str]) -> None:
    folder = results / "tables" / name
    folder.mkdir(parents=True)
    with (folder / "provenance.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*COORDINATES, "commit"])
        writer.writeheader()
        writer.writerows({**each, "commit": "x"} for each in cells)


ROW = {**PLACE, "scenario": "s", "pruner": "omp", "sparsity": "0.90", "unlearner": "ft"}


def plan(tmp_path: Path, jobs: list[Job], *planned: Planned, left: Estimate | None = None) -> Plan:
    return Plan("x", jobs, planned, left or Estimate(90.0, 180.0, 2, {}), tmp_path / "results")


def told(plan: Plan) -> str:
    return "\n".join(lines_of(plan))


JOBS = [train(), cell("unlearn", "ft"), cell("unlearn", "ga"), cell("evaluate", "ft"), cell("evaluate", "ga")]


def test_table_counts_every_job_once(tmp_path: Path) -> None:
    some = plan(
        tmp_path,
        JOBS,
        Planned(JOBS[1], CHANGED, ("ft.lr 0.3 → 0.2",), True),
        Planned(JOBS[3], FOLLOWS, (), True),
        Planned(JOBS[2], NEW),
    )
    lines = told(some).splitlines()
    assert lines[0] == "x: 1 of 2 cells are finished; 3 of 5 jobs would run"
    assert [line.split() for line in lines[1:5]] == [
        ["finished", "would", "run", "new", "changed", "follows"],
        ["train", "1", "0"],
        ["unlearn", "0", "2", "1", "1"],
        ["evaluate", "1", "1", "1"],
    ]
    assert lines[5] == "time: about 2 min, 2 at a time"
    assert lines[6:] == ["changed: ft.lr 0.3 → 0.2: 1 unlearn"]


def test_nothing_to_run_is_one_line(tmp_path: Path) -> None:
    assert told(plan(tmp_path, JOBS)) == "x: 2 of 2 cells are finished; nothing would run, all 5 jobs are finished"


def test_plan_without_cells_does_not_count_them(tmp_path: Path) -> None:
    assert told(plan(tmp_path, JOBS[:1])) == "x: nothing would run, all 1 jobs are finished"


def test_time_is_only_of_jobs_of_which_one_has_finished(tmp_path: Path) -> None:
    none = plan(tmp_path, JOBS, Planned(JOBS[0], NEW), left=Estimate(0.0, 0.0, 2, {"train": 1}))
    assert "time: no estimate yet: no job of the kinds that are left has finished" in told(none)


@pytest.mark.parametrize(
    ("unknown", "known"), [({"retrain": 1}, False), ({"unlearn": 3}, False), ({"relearn": 1}, True), ({}, True)]
)
def test_time_is_told_only_of_most_of_the_work(tmp_path: Path, unknown: dict[str, int], known: bool) -> None:
    planned = [Planned(job, NEW) for job in JOBS]
    text = told(plan(tmp_path, JOBS, *planned, left=Estimate(7.0, 7.0, 2, unknown)))
    assert ("time: about 7 s" in text, "time: no estimate yet" in text) == (known, not known)


def test_one_table_is_no_tables(tmp_path: Path) -> None:
    tables = [Job("table", (("experiment", "x"), ("table", name))) for name in ("summary", "layers")]
    planned = [Planned(job, CHANGED, ("the experiment's entries",), True) for job in tables]
    assert "changed: the experiment's entries: 2 tables" in told(plan(tmp_path, tables, *planned))
    assert told(plan(tmp_path, tables, planned[0])).endswith("changed: the experiment's entries: 1 table")


def test_cells_of_another_experiments_tables_are_named(tmp_path: Path) -> None:
    tables(tmp_path / "results", "other", ROW)
    tables(tmp_path / "results", "apart", {**ROW, "seed": "7"})
    tables(tmp_path / "results", "x", ROW)  # its own
    changed = Planned(JOBS[1], CHANGED, ("ft.lr 0.3 → 0.2",), True)
    text = told(plan(tmp_path, JOBS, changed, Planned(JOBS[3], FOLLOWS, (), True)))
    assert "changed: ft.lr 0.3 → 0.2: 1 unlearn, also used by other\n" in text
    assert "warning: 1 job overwrites files that the tables of 'other' were made from; give" in text
    assert "apart" not in text and "'x'" not in text
    (job,) = json.loads(as_json(plan(tmp_path, JOBS, changed)))["would_run"]
    assert job["also_used_by"] == ["other"] and job["why"] == ["ft.lr 0.3 → 0.2"] and job["unlearner"] == "ft"


def test_model_that_all_cells_start_from_is_used_by_their_tables(tmp_path: Path) -> None:
    tables(tmp_path / "results", "other", ROW)
    assert "also used by other" in told(plan(tmp_path, JOBS, Planned(JOBS[0], CHANGED, ("code",), True)))
    assert "also used by" not in told(plan(tmp_path, JOBS, Planned(JOBS[0], NEW)))


GRID = {
    **{"datasets": {"d": {}}, "models": {"m": {}}, "recipes": {"r": {}}, "seeds": [0, 1], "scenarios": {"s": {}}},
    **{"pruners": {"omp": {}}, "sparsities": ["dense", 0.9], "unlearners": {"ft": {"lr": 1.0}}},
}


@pytest.mark.parametrize(
    ("more", "used"),
    [
        ({}, True),
        ({"seeds": [1]}, False),
        ({"datasets": {"other": {}}}, False),
        ({"sparsities": ["dense", 0.5]}, False),
        ({"unlearners": {"ga": {}}}, False),
        ({"sparsities": 0.9}, False),
        ({"sparsities": None}, False),
    ],
)
def test_files_that_a_stopped_run_made_are_somebodys(tmp_path: Path, more: dict[str, object], used: bool) -> None:
    results = tmp_path / "results"
    for name in ("other", "x"):
        Journal(journal_at(results, name), [], {"name": name, "grid": GRID | more}).close(STOPPED)
    journal_at(results, "broken").write_text("{")
    changed = Planned(JOBS[1], CHANGED, ("ft.lr 0.3 → 0.2",), True)
    text = told(plan(tmp_path, JOBS, changed))
    line = "warning: 1 job overwrites files that 'other' uses, which has no tables yet; give the changed entries labels"
    assert (line in text, "1 unlearn, also used by other\n" in text) == (used, used)
    assert "'x'" not in text and "broken" not in text
    (job,) = json.loads(as_json(plan(tmp_path, JOBS, changed)))["would_run"]
    assert job["also_used_by"] == (["other"] if used else [])
    # with tables these say which cells are theirs
    tables(results, "other", {**ROW, "seed": "7"})
    assert "other" not in told(plan(tmp_path, JOBS, changed))


def test_a_dense_model_is_used_by_every_grid_that_trains_it(tmp_path: Path) -> None:
    Journal(journal_at(tmp_path / "results", "other"), [], {"grid": GRID}).close(STOPPED)
    assert "also used by other" in told(plan(tmp_path, JOBS, Planned(JOBS[0], CHANGED, ("code",), True)))
    assert "also used by" not in told(plan(tmp_path, JOBS, Planned(JOBS[0], NEW)))


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\0", "dataset,model\nd", '"'])
def test_tables_that_cannot_be_read_are_nobodys(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results/tables/other/provenance.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert "also used by" not in told(plan(tmp_path, JOBS, Planned(JOBS[0], CHANGED, ("code",), True)))


def test_jobs_at_a_time_are_told_of_a_time_alone(tmp_path: Path) -> None:
    assert "at a time" not in told(
        plan(tmp_path, JOBS, Planned(JOBS[0], NEW), left=Estimate(0.0, 0.0, 2, {"train": 1}))
    )


def test_the_difference_of_most_jobs_comes_first_and_many_are_counted(tmp_path: Path) -> None:
    planned = [
        Planned(train(str(seed)), CHANGED, (f"lr {seed}", *(("all",) if seed else ())), True) for seed in range(14)
    ]
    lines = told(plan(tmp_path, [each.job for each in planned], *planned)).splitlines()
    changed = [line for line in lines if line.startswith("changed: ")]
    assert changed[0] == "changed: all: 13 train" and len(changed) == 13
    assert changed[-1] == "changed: 3 more differences"


def test_stages_of_a_difference_stand_in_the_order_of_the_pipeline(tmp_path: Path) -> None:
    planned = [Planned(job, CHANGED, ("code",), True) for job in (JOBS[3], JOBS[1], JOBS[0])]
    assert "changed: code: 1 train, 1 unlearn, 1 evaluate" in told(plan(tmp_path, JOBS, *planned))


def test_json_tells_which_jobs_have_no_estimate(tmp_path: Path) -> None:
    some = plan(tmp_path, JOBS, Planned(JOBS[0], NEW), left=Estimate(7.04, 9.0, 2, {"relearn": 1}))
    assert json.loads(as_json(some))["time"] == {"seconds": 7.0, "at_once": 2, "without_estimate": {"relearn": 1}}
