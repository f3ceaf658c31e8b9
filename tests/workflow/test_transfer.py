"""Transfer in the pipeline: cells are probed on another dataset, and only probes hang on it."""

from __future__ import annotations

import copy
import json
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from lacuna.artifacts.files import content_digest, write_json
from lacuna.commands.verify import verify
from lacuna.reporting.tables.files import read_table

from .project import EXPERIMENT, Done, Project

CELLS = "results/cells/digits/resnet8/brief/seed0/class/dense"
TABLE = "results/tables/tiny/transfer.csv"
TABLES = {"table probes of tiny", "table transfer of tiny"}
TRANSFER = EXPERIMENT | {
    "transfer": {"targets": {"own": {"method": "npz", "path": "own.npz"}}, "probe": {"l2": [0.1, 1e-3]}},
    "grid": EXPERIMENT["grid"] | {"sparsities": ["dense"], "unlearners": {"original": {}, "retrain": {}}},
}


@pytest.fixture(scope="module")
def run(fresh: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory) -> Future:
    """Two cells of digits probed on larger colour images; dry runs with another strength, and with another target."""

    def work() -> tuple[Project, Done, Done, Done, Done]:
        project = fresh.copy(tmp_path_factory.mktemp("transfer") / "clone")
        project.choose(TRANSFER)
        rng = np.random.default_rng(0)
        y = np.arange(120) % 3
        # so far apart that the features of one epoch on other images tell them
        x = rng.integers(0, 30, (120, 10, 12, 3), dtype=np.uint8)
        x[y == 1, :5] += 220
        x[y == 2, :, :6] += 220
        np.savez(project / "own.npz", x_train=x[:90], y_train=y[:90], x_test=x[90:], y_test=y[90:])
        # with the record of the experiment, by which the table is checked
        done = project.run(TABLE, "results/tables/tiny/experiment.json")
        same = project.plan(TABLE)
        other = copy.deepcopy(TRANSFER)
        other["transfer"]["probe"]["l2"] = [0.1]
        project.choose(other)
        stronger = project.plan(TABLE)
        other = copy.deepcopy(TRANSFER)
        other["transfer"]["targets"]["again"] = {"method": "npz", "path": "own.npz", "layout": "nhwc"}
        project.choose(other)
        return project, done, same, stronger, project.plan(TABLE)

    return workers.submit(work)


def test_every_cell_is_probed_and_the_table_tells_of_it(run: Future) -> None:
    project, done, _, _, _ = run.result()
    assert done.code == 0, done.output
    table = read_table(project / TABLE).set_index(["unlearner", "metric"])
    for label in ("original", "retrain"):
        told = json.loads((project / CELLS / label / "probe/own.json").read_text())
        assert table.loc[(label, "target_accuracy"), "mean"] == told["metrics"]["target_accuracy"] > 60
        assert told["probe"]["l2"] in (0.1, 1e-3) and told["probe"]["features"] == 16
        seconds = json.loads((project / CELLS / label / "job.json").read_text())["seconds"]
        assert told["metrics"]["total_time_s"] == pytest.approx(seconds + told["metrics"]["probe_time_s"])
        model = f"{CELLS}/{label}/model.safetensors"
        assert told["inputs"][model] == content_digest(project / model), "the network is as it was"
    difference = table["mean"].unstack("unlearner")["original"] - table["mean"].unstack("unlearner")["retrain"]
    assert table.loc["original", "gap_retrain"].to_dict() == pytest.approx(difference.to_dict())


def test_only_probes_hang_on_the_target(run: Future) -> None:
    """The target makes no model; other strengths probe again, another target is ingested and probed, nothing else."""
    project, done, same, stronger, added = run.result()
    probes = {f"probe {label} on own: class, dense, digits, seed 0" for label in ("original", "retrain")}
    assert {job for job in done.jobs if "own" in job} == {"ingest own", "split own, seed 0"} | probes
    assert json.loads((project / "results/data/own/meta.json").read_text())["classes"] == 3, "not the grid's dataset"
    assert same.nothing_to_do, same.output
    assert stronger.jobs == probes | TABLES
    new = {job.replace("own", "again") for job in probes | {"ingest own", "split own, seed 0"}}
    assert added.jobs == new | TABLES


def test_a_changed_number_of_the_table_is_found(run: Future) -> None:
    project, _, _, _, _ = run.result()
    about_probes = [f for f in verify(project / "results") if "probe" in f"{f.path} {f.why}"]
    assert not about_probes
    told = project / CELLS / "retrain/probe/own.json"
    before = told.read_text()
    facts = json.loads(before)
    facts["metrics"]["target_accuracy"] -= 1
    told.write_text(json.dumps(facts))
    edited = [(f.kind, f.path.name) for f in verify(project / "results") if "probe" in f"{f.path}"]
    facts.pop("checksum")
    write_json(told, facts)
    found = [f for f in verify(project / "results") if "probe" in f"{f.path}" or f.path.name == "transfer.csv"]
    told.write_text(before)
    assert edited == [("damaged", "own.json")]
    assert [(f.kind, f.path.name) for f in found] == [("stale", "probes.csv"), ("stale", "transfer.csv")]
    assert "value of target_accuracy in line " in found[0].why
