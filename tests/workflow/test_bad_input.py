"""Bad input ends before any job starts, with one sentence that names the key, the value and what is allowed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lacuna.__main__ import main

from .project import EXPERIMENT, Done, Project, changed


def images(folder: Path, without: str = "", **arrays: np.ndarray) -> None:
    """Write own.npz: 40 training and 12 test images of 4 classes, with some arrays replaced or left out."""
    rng = np.random.default_rng(0)
    good = {
        "x_train": rng.random((40, 8, 8)),
        "y_train": np.arange(40) % 4,
        "x_test": rng.random((12, 8, 8)),
        "y_test": np.arange(12) % 4,
    }
    np.savez(folder / "own.npz", **{k: v for k, v in (good | arrays).items() if k != without})


def with_nan() -> np.ndarray:
    x = np.zeros((40, 8, 8))
    x[7, 2, 2] = np.nan
    return x


def grid_with(**axes: Any) -> dict[str, Any]:
    """The tiny experiment with whole axes replaced."""
    return EXPERIMENT | {"grid": EXPERIMENT["grid"] | axes}


def ga_twice() -> str:
    """The tiny experiment's file with a label that stands there twice."""
    text = yaml.safe_dump(EXPERIMENT, sort_keys=False)
    entry = "    ga:\n      epochs: 2\n      lr: 0.001\n"
    assert entry in text
    return text.replace(entry, 2 * entry)


OWN = grid_with(datasets={"own": {"method": "npz", "path": "own.npz"}}, scenarios={"class": {"forget_class": 1}})


@dataclass(frozen=True)
class Case:
    """A wrong experiment, and what its sentence must name. planned: shown to Snakemake, not to `lacuna check` alone."""

    name: str
    experiment: dict[str, Any] | str
    said: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = lambda folder: None
    planned: bool = False


CASES = [
    Case("unknown unlearner", changed(unlearners={"scrub_it": {}}), ("grid.unlearners.scrub_it: ", "rl")),
    Case(
        "unknown option",
        changed(unlearners={"ga": {"rate": 1}}),
        ("experiment.yaml, line ", ": grid.unlearners.ga: unknown key 'rate'", "lr, "),
        planned=True,
    ),
    Case("unknown top-level key", EXPERIMENT | {"seeds": [1]}, ("unknown key 'seeds'", "grid")),
    Case("sparsity 1.5", grid_with(sparsities=["dense", 1.5]), ("grid.sparsities[1]: 1.5", "> 0 and < 1")),
    Case(
        "sparsity that leaves no weight",
        grid_with(models={"thin": {"method": "resnet8", "width": 1}}, sparsities=[0.9999]),
        ("grid.pruners.omp: thin on digits", "none of its 307 prunable weights", "at most 0.9967"),
    ),
    Case(
        "more rounds than can be", grid_with(pruners={"imp": {"rate": 0.001}}), ("grid.pruners.imp.rate: 0.001", "0.02")
    ),
    Case(
        "a network that is not there",
        grid_with(models={"mine": {"import": "mynets:make"}}),
        (
            "grid.models.mine: on digits: import: mynets:make",
            "ModuleNotFoundError",
            "a module of the working directory",
        ),
        planned=True,
    ),
    Case(
        "a pruner of filters for a transformer",
        grid_with(models={"vit": {"patch": 2, "width": 8, "depth": 1, "heads": 2}}, pruners={"filter_l2": {}}),
        ("grid.pruners.filter_l2: vit on digits cannot be pruned to 0.90: a filter is a channel of a convolution",),
    ),
    Case("negative lr", changed(unlearners={"ga": {"lr": -1e-3}}), ("grid.unlearners.ga.lr: -0.001", "a number > 0")),
    Case("no seeds", grid_with(seeds=[]), ("grid.seeds: []", "at least 1")),
    Case(
        "class 12 of 10",
        grid_with(scenarios={"c": {"method": "class", "forget_class": 12}}),
        ("grid.scenarios.c.forget_class: 12", "0 to 9"),
    ),
    Case(
        "forget fraction 0",
        grid_with(scenarios={"random": {"fraction": 0}}),
        ("grid.scenarios.random.fraction: 0 ", "> 0 and < 1"),
    ),
    Case(
        "forget fraction 1",
        grid_with(scenarios={"random": {"fraction": 1}}),
        ("grid.scenarios.random.fraction: 1 ", "> 0 and < 1"),
    ),
    Case(
        "a label that leaves its folder",
        changed(unlearners={"../x": {"method": "ga"}}),
        ('grid.unlearners: "../x"', "a label of letters"),
    ),
    Case("a label twice", ga_twice(), ("experiment.yaml, line ", "'ga'", "once"), planned=True),
    Case(
        "device tpu",
        EXPERIMENT,
        ('device: "tpu"', "auto, cpu, cuda"),
        arguments=("--config", "device=tpu"),
        planned=True,
    ),
    Case(
        "npz without y_test",
        OWN,
        ("own.npz", "'y_test'", "needed: x_train"),
        prepare=lambda f: images(f, without="y_test"),
    ),
    Case(
        "npz with a label out of range",
        OWN,
        ("own.npz: y_test: label 4", "0 to 3"),
        prepare=lambda f: images(f, y_test=np.arange(12) % 5),
    ),
    Case(
        "npz with a NaN", OWN, ("own.npz: x_train: image 7", "[0, 1]"), prepare=lambda f: images(f, x_train=with_nan())
    ),
    Case("no npz", OWN, (": grid.datasets.own.path: own.npz: no such file", "allowed: the path"), planned=True),
    Case(
        "no name",
        {key: value for key, value in EXPERIMENT.items() if key != "name"},
        ("experiment.yaml: missing key 'name'", "it must be given, such as name: experiment"),
        planned=True,
    ),
    Case(
        "a nested value of --config",
        EXPERIMENT,
        ("lacuna: tuning.trials: 0 is not allowed",),
        arguments=("--config", "tuning={trials: 0, seeds: [5]}"),
        planned=True,
    ),
    Case(
        "a pipe for an npz", OWN, ("own.npz: a named pipe", "an npz file"), prepare=lambda f: os.mkfifo(f / "own.npz")
    ),
    Case(
        "a file for a folder of images",
        grid_with(datasets={"own": {"method": "image_folder", "root": "Snakefile", "size": 8}}),
        ("Snakefile: not a folder", "a folder with train/ and test/"),
    ),
]
# A frame of a traceback in a source of the pipeline, whatever the folder of the clone is called.
FRAME = re.compile(r'File ".*/(Snakefile|workflow/(rules|scripts)/\w+\.\w+|src/lacuna/[\w/]+\.py)"')
# Snakemake reads the files of --configfile before it reads the Snakefile, and has words of its own for these.
FILES = [
    Case("a --configfile that is not there", EXPERIMENT, ("missing.yaml",), arguments=("--configfile", "missing.yaml")),
    Case("a --configfile that is no YAML", "name: [unclosed\n  grid: }{", ("not valid",)),
    Case("a --configfile without keys", "- name\n", ("keys at top level",)),
]


@pytest.fixture(scope="module")
def refusals(
    request: pytest.FixtureRequest,
    fresh: Project,
    workers: ThreadPoolExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Future[tuple[Project, Done]]]:
    """The dry runs of the selected cases that Snakemake is shown, all under way at once."""

    def refuse(case: Case) -> tuple[Project, Done]:
        project = wrong(fresh, tmp_path_factory.mktemp("wrong") / "clone", case)
        return project, project.plan(*case.arguments)

    calls = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    cases = {call.params["case"].name: call.params["case"] for call in calls if call}
    return {name: workers.submit(refuse, case) for name, case in cases.items() if case.planned or case in FILES}


def wrong(fresh: Project, folder: Path, case: Case) -> Project:
    """A folder with the case's experiment and the files that it prepares."""
    project = fresh.view(folder)
    case.prepare(project.folder)
    project.choose(case.experiment)
    return project


def check_sentence(case: Case, output: str) -> None:
    """One sentence with key, value and what is allowed is all that is said."""
    lines = [line for line in output.splitlines() if line and not line.startswith("Using profile")]
    assert len(lines) == 1, output
    assert lines[0].startswith("lacuna: ")
    assert re.search(r"allowed: |needed: |must be given|add one of: ", lines[0])
    for words in case.said:
        assert words in lines[0]


@pytest.mark.parametrize("case", [case for case in CASES if not case.arguments], ids=lambda case: case.name)
def test_wrong_experiment_is_refused(
    fresh: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: Case
) -> None:
    """By what every plan begins with, without Snakemake."""
    project = wrong(fresh, tmp_path / "clone", case)
    monkeypatch.chdir(project.folder)
    assert main(["check", "experiment.yaml"]) == 2
    check_sentence(case, capsys.readouterr().err)


@pytest.mark.parametrize("case", [case for case in CASES if case.planned], ids=lambda case: case.name)
def test_wrong_experiment_is_refused_by_a_plan(refusals: dict[str, Future[tuple[Project, Done]]], case: Case) -> None:
    """In the same sentence; no job is planned, no file made."""
    project, done = refusals[case.name].result()
    assert done.code != 0
    check_sentence(case, done.output)
    assert not project.times()


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_wrong_file_is_refused(refusals: dict[str, Future[tuple[Project, Done]]], case: Case) -> None:
    """A --configfile that cannot be read ends the command with its reason; no job is planned, no file made."""
    project, done = refusals[case.name].result()
    assert done.code != 0
    assert not FRAME.search(done.output)
    for words in case.said:
        assert words in done.output
    assert not done.jobs
    assert not project.times()
