"""Results that are here without Snakemake's memory of them: taken for this plan's only where they say that they are."""

from __future__ import annotations

import json
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from lacuna.artifacts.files import read_json, write_json
from lacuna.artifacts.origin import record_in

from .project import EXPERIMENT, STATES, UNLEARNERS, Done, Project, changed

GA = "results/cells/digits/resnet8/brief/seed0/class/dense/ga/job.json"
MODELS = ("ingest", "split", "train", "prune")


@pytest.fixture(scope="module")
def plans(
    finished: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[Done]]:
    """Dry runs over the finished results, most of them without Snakemake's records."""

    def plan(name: str) -> Done:
        project = finished.view(tmp_path_factory.mktemp("moved") / "clone")
        if name == "linked":
            # Snakemake's records agree with the plan; the tree is now another clone's, where ga had another lr
            project.own("results")
            made = (project / GA).stat().st_mtime
            job = read_json(project / GA)
            job["parameters"]["unlearner"]["lr"] = 0.003
            write_json(project / GA, job | {"place": GA.removeprefix("results/")})
            os.utime(project / GA, (made - 1, made - 1))
        elif name == "binary record":
            project.own(".snakemake/metadata")
            (project / ".snakemake/incomplete").mkdir()
            record = max((project / ".snakemake/metadata").iterdir(), key=lambda path: len(path.name))
            record.write_bytes(b"\xff\xfe\x00")
        else:
            (project / ".snakemake/metadata").unlink()
        if name == "another class":
            project.choose(changed(scenarios={"class": {"forget_class": 5}}))
        if name == "other epochs":
            project.choose(changed(recipes={"brief": EXPERIMENT["grid"]["recipes"]["brief"] | {"epochs": 3}}))
        if name == "another lr":
            project.choose(changed(unlearners={"ga": {"epochs": 2, "lr": 3e-3}}))
        return project.plan()

    names = ("as it was", "another class", "another lr", "other epochs", "linked", "binary record")
    return {name: workers.submit(plan, name) for name in names}


def made(plan: Future[Done]) -> dict[str, int]:
    """How many jobs of each rule a plan has, tables and figures apart: without records they are made again."""
    done = plan.result()
    assert done.code == 0, done.output
    shown = ("aggregate", "table", "record", "answer", "figure", "html_report")
    return {rule: count for rule, count in done.counts.items() if rule not in shown}


def test_results_of_the_same_plan_are_taken(plans: dict[str, Future[Done]]) -> None:
    assert made(plans["as it was"]) == {}
    assert plans["as it was"].result().counts["aggregate"] == 1


def test_results_of_another_class_are_made_again(plans: dict[str, Future[Done]]) -> None:
    counts = made(plans["another class"])
    assert counts["choose_forget_set"] == 1
    assert counts["evaluate"] == len(STATES) * len(UNLEARNERS)
    assert not set(MODELS) & set(counts)
    said = "forget/class.npz is not of this plan (entry.forget_class: 3 there, 5 here) and is made again"
    assert said in plans["another class"].result().output


def test_results_of_another_value_are_made_again(plans: dict[str, Future[Done]]) -> None:
    assert made(plans["another lr"]) == {"unlearn": len(STATES), "evaluate": len(STATES)}
    assert "(unlearner.lr: 0.001 there, 0.003 here)" in plans["another lr"].result().output


def test_an_untrained_network_does_not_depend_on_how_others_are_trained(plans: dict[str, Future[Done]]) -> None:
    counts = made(plans["other epochs"])
    assert counts["train"] == 1
    assert not {"random_init", "ingest", "split", "choose_forget_set"} & set(counts)


def test_results_that_took_the_place_of_recorded_ones_are_looked_at(plans: dict[str, Future[Done]]) -> None:
    assert made(plans["linked"]) == {"unlearn": 1, "evaluate": 1}
    assert "(unlearner.lr: 0.003 there, 0.001 here)" in plans["linked"].result().output


def test_damaged_record_of_snakemake_is_taken_for_missing(plans: dict[str, Future[Done]]) -> None:
    """The file's own record decides; the file is not made again where that agrees."""
    assert made(plans["binary record"]) == {}
    done = plans["binary record"].result()
    assert "damaged (UnicodeDecodeError), taken for missing" in done.output
    assert "Traceback" not in done.output


def test_every_file_that_jobs_read_says_what_it_was_made_from(finished: Project) -> None:
    """Without it a moved tree would be made again."""
    for pattern in ("data/*/meta.json", "splits/*/*/split.npz", "splits/*/*/forget/*.npz", "models/**/job.json"):
        found = finished.made(pattern)
        assert found, pattern
        assert all(record_in([path]) is not None for path in found.values()), pattern
    for path in finished.made("cells/**/*.json").values():
        assert set(json.loads(Path(path).read_text())) >= {"parameters", "inputs"}, path
