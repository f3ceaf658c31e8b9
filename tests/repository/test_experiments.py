"""The files in config/experiments: each plans without data, and the published ones hold the published values."""

import itertools

import numpy as np
import pytest
from places import ROOT

from lacuna.experiment.config import load
from lacuna.reporting.published.compare import read_published

FILES = sorted((ROOT / "config/experiments").glob("*.yaml"))
# Sections 2 and 4 of the specification; entries of the files that leave a value out must have it by default.
PUBLISHED = {
    "jia2023_table3": {
        "ft": {"lr": 0.01, "epochs": 10},
        "ga": {"lr": 1e-4, "epochs": 5, "batchnorm": "train"},
        "ff": {"alpha": 3e-8, "variant": "exact"},
        "iu": {"alpha": 1.0, "samples": 1000, "variant": "woodbury"},
    },
    "fan2024_table1": {
        "rl": {"lr": 0.013, "epochs": 10, "order": "passes", "exclude_true": False},
        "boundary_expand": {"epochs": 10, "weight_decay": 5e-4},
        "boundary_shrink": {"epochs": 10, "epsilon": 0.1},
        "l1_sparse": {"lr": 0.01, "epochs": 10, "penalty": 5e-4, "l1_on": "all", "threshold_to": None},
        "salun": {"lr": 0.013, "epochs": 10, "share": 0.5, "momentum": 0.9, "order": "passes"},
        "salun_soft": {"lr": 0.013, "epochs": 10, "share": 0.5, "order": "mixed"},
    },
    "eupmu": {
        "eupmu": {"lr": 3e-3, "epochs": 5, "batch_size": 256, "epsilon": 0.0, "variant": "paper"}
        | {"batches": "mixed", "weights": "shares", "exclude_true": False},
        "eupmu_30": {"lr": 1e-2, "epochs": 5, "batches": "mixed", "weights": "shares"},
        "eupmu_50": {"lr": 3e-2, "epochs": 5, "batches": "mixed", "weights": "shares"},
        "linear": {"retain_weight": 1.0, "batches": "mixed", "weights": "shares"},
        "cagrad": {"c": 0.5},
        "famo": {"weight_lr": 0.025},
        "gdr_gma": {"sharpness": 100.0, "tolerance": 0.02},
        "munba": {"fallback": 0.1},
    },
}


@pytest.fixture
def plan(known, tmp_path, monkeypatch):
    """An experiment as it is planned in an empty folder, where at most what no download brings lies."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    images = {f"x_{part}": rng.integers(0, 256, (20, 32, 32, 3), np.uint8) for part in ("train", "test")}
    (tmp_path / "data").mkdir()
    for name in ("cifar10_small", "cifar10", "cifar10_full", "memorising", "backdoor"):
        np.savez(tmp_path / f"data/{name}.npz", **images, y_train=np.arange(20) % 10, y_test=np.arange(20) % 10)
    for part, label in itertools.product(("train", "val"), range(12)):
        (tmp_path / f"imagenet/{part}/class{label:02}").mkdir(parents=True)
        for name in ("a", "b"):  # one is for validation
            (tmp_path / f"imagenet/{part}/class{label:02}/{name}.jpeg").touch()
    default, schema = ROOT / "config/config.yaml", ROOT / "workflow/schemas/config.schema.yaml"
    return lambda path: load([default, path], {}, schema, known, data_folder=tmp_path / "results/data")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_experiment_plans_without_a_download(plan, path, tmp_path):
    experiment = plan(path)
    assert experiment.name == path.stem, "its tables bear the file's name"
    assert sum(1 for _ in experiment.cells())
    assert not (tmp_path / "results").exists() and len(list((tmp_path / "data").iterdir())) == 5


@pytest.mark.parametrize(
    ("name", "shared"), [("memorising_unprune", "models and oracles"), ("memorising_unprune_filters", "dense models")]
)
def test_a_study_after_memorising_shares_its_models(plan, name, shared):
    """Same labels, same entries: a seed whose results still exist costs the new cells alone."""
    base, study = (plan(ROOT / f"config/experiments/{n}.yaml") for n in ("memorising", name))
    for axis in ("datasets", "models", "recipes", "scenarios", "unlearners"):
        assert all(base.axes[axis][label] == entry for label, entry in study.axes[axis].items()), axis
    assert set(study.seeds) <= set(base.seeds)
    assert (set(study.states) <= set(base.states)) == (shared == "models and oracles")


def test_the_dense_networks_of_why_differ_in_epochs_alone(plan):
    base, why = (plan(ROOT / f"config/experiments/{name}.yaml") for name in ("memorising", "memorising_why"))
    recipe = base.entry("recipes", "by_heart")
    for label, entry in why.axes["recipes"].items():
        epochs = int(label.removeprefix("by_heart_"))
        assert (entry.method, dict(entry.values)) == (recipe.method, {**recipe.values, "epochs": epochs})
        assert epochs < recipe.values["epochs"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_values_are_what_runs(plan, name):
    experiment = plan(ROOT / f"config/experiments/{name}.yaml")
    for label, values in PUBLISHED[name].items():
        entry = experiment.entry("unlearners", label)
        assert {key: entry.values[key] for key in values} == values, label
        if label not in ("munba", "cagrad", "famo", "gdr_gma"):
            assert entry.values.get("batch_size", 256) == 256
    recipe = experiment.entry("recipes", "standard").values
    assert (recipe["lr"], recipe["batch_size"], recipe["epochs"], recipe["rewind_epoch"]) == (0.1, 256, 182, 8)
    assert (list(recipe["milestones"]), recipe["gamma"], recipe["schedule"]) == ([91, 136], 0.1, "multistep")


@pytest.mark.parametrize("name", ["jia2023_table3", "fan2024_table1"])
def test_a_published_table_is_run_in_its_own_setting(plan, name):
    """Every published row finds its scenario, state, method and metric in the grid, and the setting is its own."""
    experiment = plan(ROOT / f"config/experiments/{name}.yaml")
    assert len(experiment.seeds) == 10
    for row in read_published(ROOT / f"published/{name}.csv"):

        def fits(axis, column, row=row):
            entries = experiment.axes[axis].items()
            return [k for k, e in entries if not row.wanted[column].unlike(k, {"method": e.method, **e.values})]

        for axis, column in (
            *(("scenarios", "scenario"), ("unlearners", "method"), ("datasets", "dataset")),
            *(("models", "model"), ("recipes", "recipe")),
        ):
            assert fits(axis, column), (row.line, column)
        assert row.metric.partition("/")[0] in experiment.metrics
        states = ["dense"] if float(row.told["sparsity"]) == 0 else [f"omp-{row.told['sparsity']}"]
        assert states[0] in experiment.states
        assert states[0] == "dense" or fits("pruners", "pruner") == ["omp"]


def test_experiments_share_only_what_is_the_same(plan):
    """One place under results/, one meaning: else one file after another would make work anew."""
    made: dict[tuple[str, ...], tuple[str, object]] = {}
    clashes = set()
    for path in (ROOT / "config/config.yaml", *FILES):
        experiment = plan(path)
        axes = experiment.axes
        for cell in experiment.cells():
            of = {axis: axes[f"{axis}s"][cell[axis]] for axis in ("dataset", "model", "recipe", "scenario")}
            how = axes["unlearners"].get(cell["unlearner"]) or axes["unprune"][cell["unlearner"]]
            trained = (cell["dataset"], cell["model"], cell["recipe"], cell["seed"])
            places = {
                trained[:1]: of["dataset"],
                trained: (of["model"], of["recipe"]),
                ("forget", cell["dataset"], cell["seed"], cell["scenario"]): of["scenario"],
                (*trained, cell["state"], ""): axes["pruners"].get(cell["state"].partition("-")[0]),
                (*trained, cell["scenario"], cell["state"], cell["unlearner"]): how,
            }
            for place, what in places.items():
                first, meant = made.setdefault(place, (path.stem, what))
                if meant != what:
                    clashes.add((first, path.stem, "/".join(place), str(meant), str(what)))
    assert not clashes, "\n".join(map(str, sorted(clashes)))


def test_every_file_stands_on_a_page_with_its_question():
    pages = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("experiments.md", "papers.md"))
    assert not [file.name for file in FILES if f"config/experiments/{file.name})" not in pages]
