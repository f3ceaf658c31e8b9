"""Where the pipeline stands: started elsewhere, imported by another workflow, with results on another disk."""

from __future__ import annotations

import copy
import dataclasses
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from lacuna.artifacts.files import read_json
from lacuna.commands.verify import verify

from .project import EXPERIMENT, Done, Project, copy_tree

# one cell and its oracle, an epoch each
SMALL = copy.deepcopy(EXPERIMENT) | {"metrics": ["UA"], "figures": []}
SMALL["grid"] |= {"sparsities": ["dense"], "unlearners": {"original": {}, "retrain": {}}}
SMALL["grid"]["recipes"] = {"brief": EXPERIMENT["grid"]["recipes"]["brief"] | {"epochs": 1, "rewind_epoch": 0}}
PLACE = "cells/digits/resnet8/brief/seed0/class/dense"
FILES = {"model.safetensors", "mask.npz", "predictions.npz", "history.csv", "job.json", "metrics/tiny.json"}


def in_folder(fresh: Project, folder: Path, known: bool = True) -> Project:
    """Runs of nothing but Snakemake there; known: as after a plan there, which lists the methods once."""
    folder.mkdir(exist_ok=True)
    if known:
        copy_tree(fresh / ".snakemake/lacuna", folder / ".snakemake/lacuna")
    return dataclasses.replace(fresh, folder=folder, how=("--cores", "1"))


def importer(fresh: Project, folder: Path, statement: str, rules: str, target: str, known: bool = True) -> Project:
    """Another workflow that imports this one, and makes a file of its tables with a rule of its own."""
    project = in_folder(fresh, folder, known)
    text = f'module lacuna:\n    snakefile: "{fresh / "Snakefile"}"\n{statement}\n\nuse rule * from lacuna{rules}\n\n\n'
    text += f'rule mine:\n    default_target: True\n    input: "{target}"\n    output: "results/mine.csv"\n'
    text += '    shell: "cp {input} {output}"\n'
    (folder / "Snakefile").write_text(text)
    (folder / "mine.yaml").write_text(yaml.safe_dump({"forgetting": SMALL, "mine": 1}))
    return project


@pytest.fixture(scope="module")
def runs(
    fresh: Project, workers: ThreadPoolExecutor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[tuple[Project, Done, Done]]]:
    """Real runs, each then planned: imported, with a prefix and a pathvar, from elsewhere to a scratch disk."""
    top = tmp_path_factory.mktemp("places")

    def twice(project: Project, *arguments: str) -> tuple[Project, Done, Done]:
        return project, project.run(*arguments), project.plan(*arguments)

    (top / "small.yaml").write_text(yaml.safe_dump(SMALL))
    own = "    config:\n        config['forgetting']"
    plain = importer(fresh, top / "plain", own, "", "results/tables/tiny/cells.csv")
    # and its results where the pathvar says
    more = '    pathvars:\n        results="pool"\n    prefix:\n        "of"'
    made = "of/pool/tables/tiny/cells.csv"
    prefixed = importer(fresh, top / "prefixed", f"{own}\n{more}", " as lac_*", made, known=False)
    mine = ("--configfile", str(top / "plain/mine.yaml"))
    elsewhere = in_folder(fresh, top)
    there = ("--snakefile", str(fresh / "Snakefile"), "--directory", str(top / "work"), "--config")
    there += (f"results={top / 'scratch disk' / 'mine'}", "--configfile", str(top / "small.yaml"))
    return {
        "plain": workers.submit(twice, plain, *mine),
        "prefixed": workers.submit(twice, prefixed, *mine),
        "elsewhere": workers.submit(twice, elsewhere, "tables", *there),
    }


@pytest.mark.parametrize(
    ("name", "results"),
    [("plain", "plain/results"), ("prefixed", "prefixed/of/pool"), ("elsewhere", "scratch disk/mine")],
)
def test_a_real_run(runs: dict[str, Future[tuple[Project, Done, Done]]], name: str, results: str) -> None:
    """It ends with the files of every cell in their place, knows them again, and they name one another as anywhere."""
    project, done, again = runs[name].result()
    assert done.code == 0, done.output
    top = project.folder if name == "elsewhere" else project.folder.parent
    for label in ("original", "retrain"):
        folder = top / results / PLACE / label
        assert {str(path.relative_to(folder)) for path in folder.rglob("*")} >= FILES
    job = read_json(top / results / PLACE / "retrain/job.json", place=f"{PLACE}/retrain/job.json")
    assert set(job["inputs"]) >= {"results/data/digits/meta.json", "results/splits/digits/seed0/forget/class.npz"}
    assert job["parameters"]["recipe"]["epochs"] == 1
    assert (top / results / "logs/tables/tiny/aggregate.log").is_file()
    # the importer keeps a file of its own there
    assert {finding.kind for finding in verify(top / results)} <= {"missing", "unknown"}
    assert again.nothing_to_do, again.output
    if name == "elsewhere":
        assert not (top / "work/results").exists() and not (top / "results").exists()
        assert f"tables: {top / results}/tables/tiny/" in done.output
    else:
        assert (top / name / "results/mine.csv").read_bytes() == (top / results / "tables/tiny/cells.csv").read_bytes()


def test_an_importer_s_own_rules_are_its_own(
    runs: dict[str, Future[tuple[Project, Done, Done]]], tmp_path: Path
) -> None:
    """Without records of Snakemake's, lacuna's files tell what they were made from; an importer's file need not."""
    project, done, _ = runs["plain"].result()
    assert done.code == 0, done.output
    copied = project.copy(tmp_path / "plain")
    for path in (copied / ".snakemake/metadata").iterdir():
        path.unlink()
    plan = copied.plan("--configfile", str(copied / "mine.yaml"))
    assert plan.counts.keys() <= {"aggregate", "table", "record", "html_report", "mine"}, plan.output
    assert "mine.csv is not of this plan" not in plan.output


def test_two_imports_with_configs_of_their_own(fresh: Project, workers: ThreadPoolExecutor, tmp_path: Path) -> None:
    """Neither sees the other's; a name of tables is asked for, and a folder of results is taken from either place."""
    project = in_folder(fresh, tmp_path / "two")
    text = ""
    for name, more, config in (
        ("one", '    pathvars:\n        results="scratch/one"\n', "config['forgetting']"),
        ("two", "", "config['forgetting'] | {'name': 'other', 'results': 'res'}"),
    ):
        text += f'module {name}:\n    snakefile: "{fresh / "Snakefile"}"\n{more}    config:\n        {config}\n\n'
        text += f"use rule * from {name} as {name}_*\n\n"
    target = '"scratch/one/tables/tiny/cells.csv", "res/tables/other/cells.csv"'
    text += f"rule both:\n    default_target: True\n    input: {target}\n"
    (tmp_path / "two/Snakefile").write_text(text)
    (tmp_path / "two/mine.yaml").write_text(yaml.safe_dump({"forgetting": SMALL}))
    nameless = in_folder(fresh, tmp_path / "nameless")
    (tmp_path / "nameless/Snakefile").write_text(text)
    config = {"forgetting": {key: value for key, value in SMALL.items() if key != "name"}}
    (tmp_path / "nameless/mine.yaml").write_text(yaml.safe_dump(config))
    plans = [
        workers.submit(project.plan, "--configfile", "mine.yaml"),
        workers.submit(nameless.plan, "--configfile", "mine.yaml"),
    ]
    both, refused = (plan.result() for plan in plans)
    assert both.code == 0, both.output
    assert both.counts["one_aggregate"] == both.counts["two_aggregate"] == 1
    assert both.counts["one_train"] == both.counts["two_train"] == 1
    assert refused.output.splitlines()[-1] == (
        "lacuna: config of the module: missing key 'name'; its tables would be those of the default grid"
    )


def test_from_another_folder_and_as_a_module(fresh: Project, workers: ThreadPoolExecutor, tmp_path: Path) -> None:
    """The default experiment lies beside the Snakefile, and so do scripts and schema, whoever imports it."""
    module = in_folder(fresh, tmp_path / "module")
    source = f'module lacuna:\n    snakefile: "{fresh / "Snakefile"}"\n\nuse rule * from lacuna as lac_*\n'
    (module / "Snakefile").write_text(source)
    experiment = ("--configfile", str(fresh / "config/experiments/three_seeds.yaml"))
    empty = in_folder(fresh, tmp_path / "empty")
    plans = [
        workers.submit(empty.plan, "--snakefile", str(fresh / "Snakefile"), *experiment),
        workers.submit(module.plan, "lac_all", *experiment),
    ]
    for plan in plans:
        done = plan.result()
        assert done.code == 0, done.output
        assert "tables of all cells of three_seeds" in done.output
        assert "localrules" not in done.output


@pytest.mark.parametrize("results", ["a{b}", "<results>", "."])
def test_a_folder_of_results_that_cannot_be_one_is_refused(fresh: Project, tmp_path: Path, results: str) -> None:
    done = fresh.view(tmp_path / "view").plan("--config", f"results={results}")
    assert done.output.splitlines()[-1] == (
        f"lacuna: results: {results!r} is not allowed; allowed: the path of a folder of its own, without {{ }} < >"
    )


def test_folder_with_braces_is_refused_in_a_sentence(fresh: Project, tmp_path: Path) -> None:
    done = fresh.view(tmp_path / "a{b}c").plan()
    assert done.code != 0
    said = f"lacuna: {tmp_path}/a{{b}}c: Snakemake takes braces for wildcards; allowed: a path without {{ and }}"
    assert done.output.splitlines()[-1] == said
