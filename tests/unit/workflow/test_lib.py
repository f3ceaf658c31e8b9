"""What rules ask of an experiment: paths, params, inputs, resources, targets."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

from lacuna_workflow.inputs import JobInputs
from lacuna_workflow.params import JobParams, one_of
from lacuna_workflow.paths import Paths
from lacuna_workflow.resources import JobResources, megabytes_of, memory, reading, small
from lacuna_workflow.targets import RunTargets

import pytest
import yaml
from places import ROOT
from snakemake.iocontainers import Wildcards

from lacuna.artifacts import files
from lacuna.errors import LacunaError
from lacuna.experiment.config import load, results_of
from lacuna.experiment.jobs import Jobs

GRID = {
    "datasets": {"digits": {}},
    "models": {"resnet8": {"width": 4}},
    "recipes": {"brief": {"epochs": 2, "lr": 0.1, "batch_size": 64, "rewind_epoch": 1}},
    "seeds": [0],
    "scenarios": {"class": {"forget_class": 3}},
    "pruners": {"omp": {}, "imp": {"rate": 0.2}},
    "sparsities": ["dense", 0.5],
    "unlearners": {
        "original": {},
        "retrain": {},
        "late": {"method": "retrain", "start": "theta0"},
        "retrain_exact": {},
        "ga": {"epochs": 2, "lr": 1e-3},
    },
}
PLAIN = Paths()
PLACE = "digits/resnet8/brief/seed0"


@pytest.fixture
def study(known, tmp_path, monkeypatch):
    """Makes (params, inputs, targets) of an experiment with these keys, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def make(paths: Paths = PLAIN, **keys):
        keys = {"name": "tiny", "device": "cpu", "figures": [], "grid": GRID} | keys
        (tmp_path / "e.yaml").write_text(yaml.safe_dump(keys, sort_keys=False))
        experiment = load([tmp_path / "e.yaml"], {}, ROOT / "workflow/schemas/config.schema.yaml", known)
        params = JobParams(experiment, known)
        inputs = JobInputs(params, paths)
        return params, inputs, RunTargets(inputs, paths)

    return make


def wildcards(**values):
    return Wildcards(fromdict=values)


# ---- paths ----------------------------------------------------------------------------------------------------------


def test_logs_and_benchmarks_lie_apart_at_the_same_place():
    paths = Paths("/scratch/me", "/scratch/me")
    assert paths.at("cells", "dense/ga/mask.npz") == (
        "/scratch/me/cells/{dataset}/{model}/{recipe}/seed{seed}/{scenario}/dense/ga/mask.npz"
    )
    assert paths.log_at("tables", "aggregate") == "/scratch/me/logs/tables/{experiment}/aggregate.log"
    assert paths.benchmark_of("ingest") == "/scratch/me/benchmarks/data/{dataset}/ingest.tsv"
    assert paths.of_target("data", "meta.json") == "/scratch/me/data/{target}/meta.json"


def test_a_prefix_of_an_importing_workflow_is_where_files_lie_and_not_how_rules_write_them():
    paths = Paths.below("results/", lambda path: f"of/lacuna/{path}")
    assert (paths.root, paths.there) == ("results", "of/lacuna/results")
    assert paths.lying("results/data/digits/meta.json") == "of/lacuna/results/data/digits/meta.json"
    assert paths.written(paths.lying("results/a")) == "results/a"


ELSE = ["", " ", ".", "/", "..", "../..", "a/../..", os.getcwd(), f"{os.getcwd()}/", "a{b}", "<results>", "a\nb"]
ELSE += ["~nobody.at.all/results", "~nobody.at.all"]


@pytest.mark.parametrize("root", ELSE)
def test_a_folder_that_snakemake_takes_for_something_else_is_refused(root):
    with pytest.raises(LacunaError, match=r"^results: .* is not allowed; allowed: the path of a folder"):
        Paths.below(root)
    with pytest.raises(LacunaError, match=r"^results: .* is not allowed; allowed: the path of a folder"):
        results_of([], {"results": root})


@pytest.mark.parametrize("make", [lambda path: path.touch(), lambda path: path.symlink_to("gone")])
def test_a_file_in_the_place_of_the_folder_of_results_is_refused(tmp_path, make):
    make(tmp_path / "results")
    with pytest.raises(LacunaError, match=r"^results: '.*/results' is not allowed, it is no folder; allowed: the path"):
        Paths.below(str(tmp_path / "results"))
    with pytest.raises(LacunaError, match=r"it is no folder"):
        Paths.below("results", lambda path: str(tmp_path / path))


def test_the_folder_of_results_may_lie_in_a_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert results_of([], {"results": "~/x/../results/"}) == Paths.below("~/x/../results/").root == "/home/me/results"


def test_the_last_file_names_the_folder_of_results_and_the_command_line_before_it(tmp_path):
    (tmp_path / "a.yaml").write_text("results: one\n")
    (tmp_path / "b.yaml").write_text("name: b\n")
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    assert results_of(files, {}) == "one"
    assert results_of(files, {"results": "two"}) == "two"
    assert results_of(files[1:], {}) is None
    with pytest.raises(LacunaError, match="results: 3 is not allowed; allowed: the path of a folder"):
        results_of(files, {"results": 3})


# ---- params ---------------------------------------------------------------------------------------------------------


def test_a_pattern_of_labels_takes_just_these():
    assert one_of(["a.1", "b"]) == r"a\.1|b"
    assert one_of([]) == "(?!)none"


def test_an_oracle_follows_the_recipe_but_for_its_own_options(study):
    params, *_ = study()
    entry = params.unlearner_entry(wildcards(unlearner="late", recipe="brief", state="omp-0.50"))
    assert (entry["method"], entry["epochs"], entry["start"]) == ("retrain", 2, "theta0")
    # nothing is removed of a dense network: any initialisation fits it
    assert params.unlearner_entry(wildcards(unlearner="late", recipe="brief", state="dense"))["start"] == "fresh"
    # a method has its own, whatever the recipe says
    own = params.unlearner_entry(wildcards(unlearner="ga", recipe="brief", state="dense"))
    assert (own["method"], own["epochs"], own["lr"]) == ("ga", 2, 1e-3) and "rewind_epoch" not in own


def test_the_order_of_options_in_a_file_makes_no_other_entry(study):
    recipe = GRID["recipes"]["brief"]
    (one, *_), (other, *_) = (
        study(grid=GRID | {"recipes": {"brief": dict(items)}}) for items in (recipe.items(), reversed(recipe.items()))
    )
    assert list(one.options["recipes"]["brief"]) == list(other.options["recipes"]["brief"])


def test_a_target_of_probes_has_its_own_entry_and_not_that_of_the_grid_s_dataset(study):
    targets = {"other": {"method": "digits", "only": [5, 6]}}
    for datasets in ({"digits": {}}, {"digits": {}, "more": {"method": "digits", "only": [7, 8]}}):
        params, *_ = study(grid=GRID | {"datasets": datasets}, transfer={"targets": targets})
        entry = params.entry_of("datasets", "dataset")
        assert [entry(wildcards(dataset=label))["only"] for label in ("digits", "other")] == [[*range(10)], [5, 6]]


def test_unlearners_by_method(study):
    params, *_ = study()
    assert params.unlearners_by(None) == ["original", "ga"]
    assert params.unlearners_by("retrain") == ["retrain", "late"]
    assert params.tunable == ["ga"]


def test_the_values_that_a_search_finds_do_not_hang_on_the_disk_or_the_device(study):
    (one, *_), (other, *_) = study(), study(device="auto", images="host", results="/scratch/me", missing="allow")
    assert one.config == other.config and set(one.config) == {"name", "figures", "grid"}


def test_code_of_a_job_is_that_of_its_entries(study):
    params, *_ = study(grid=GRID | {"unlearners": GRID["unlearners"] | {"ft": {}}})
    place = {"model": "resnet8", "recipe": "brief", "state": "dense"}
    digest = params.code_of("unlearn")
    ga, ft = (digest(wildcards(**place, unlearner=label)) for label in ("ga", "ft"))
    assert ga != ft and digest(wildcards(**place, unlearner="ga")) == ga
    assert params.code_of("retrain_exact_dense")(wildcards(**place, unlearner="ft")) == ft
    assert isinstance(params.code_of("evaluate"), str), "a function is called for each of so many jobs"


# ---- inputs ---------------------------------------------------------------------------------------------------------


def test_a_level_is_pruned_from_the_round_before_it(study):
    _, inputs, _ = study()
    assert inputs.previous_state(wildcards(pruner="omp", sparsity="0.50")) == "dense"
    assert inputs.previous_state(wildcards(pruner="imp", sparsity="0.50")) == "imp-round03"
    place = {"dataset": "digits", "model": "resnet8", "recipe": "brief", "seed": "0", "pruner": "imp"}
    found = inputs.from_previous("models", "{previous}/mask.npz")(wildcards(**place, sparsity="round02"))
    assert found == f"results/models/{PLACE}/imp-round01/mask.npz"


def test_a_retraining_reads_the_state_that_it_starts_from(study):
    _, inputs, _ = study()
    chosen = inputs.started_from(theta0="{state}/initial", rewind="{state}/rewind")
    assert chosen(wildcards(unlearner="late", state="omp-0.50")) == ["omp-0.50/initial"]
    assert chosen(wildcards(unlearner="late", state="dense")) == []


def test_an_evaluation_reads_the_cell_its_oracles_and_what_metrics_need(study):
    _, inputs, _ = study(metrics=["UA"])
    found = inputs.evaluated()
    assert found["mask"] == inputs.at("cells", "{state}/{unlearner}/mask.npz")
    assert found["oracle_masks"] == [
        inputs.at("cells", f"{{state}}/{label}/mask.npz") for label in inputs.experiment.oracles
    ]
    assert not [name for name in found if name.startswith("need_")]
    _, inputs, _ = study(metrics=["UA", "AIN", "ZRF", "macs"])
    assert inputs.needed() == ["random_init", "relearn"], "every cell has a job"
    found = inputs.evaluated()
    assert found["need_relearn"] == inputs.at("cells", "{state}/{unlearner}/relearn.json")
    assert found["oracle_need_relearn"] == [
        inputs.at("cells", f"{{state}}/{label}/relearn.json") for label in inputs.experiment.oracles
    ]
    assert found["need_random_init"] == inputs.at("models", "random_init.npz")


# ---- resources ------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_made_yet_has_a_guess_for_its_size(tmp_path):
    (tmp_path / "images").write_bytes(bytes(3_000_000))
    assert megabytes_of(str(tmp_path / "images")) == 3.0
    assert megabytes_of(str(tmp_path / "none")) == 200.0


def test_a_job_that_reads_cells_has_time_and_memory_for_each():
    few, many = reading(lambda: 9), reading(lambda: 30_000)
    assert few["runtime"](None) == 30 and many["runtime"](None) == 30 + 1000
    assert few["mem_mb"](None, 1) == 2009 and many["mem_mb"](None, 2) == 2 * 32_000


@pytest.mark.parametrize("rule", ["html_report", "figure"])
def test_what_names_classes_waits_for_the_datasets_that_tell_them(rule):
    """A dataset that is ingested anew may have other names: the page and the figures are made anew."""
    files = {"html_report": "report", "figure": "figures"}
    text = (ROOT / "workflow/rules" / f"{files[rule]}.smk").read_text(encoding="utf-8")
    inputs = text.partition(f"rule {rule}:")[2].partition("output:")[0]
    assert "metas=METAS" in inputs


def test_memory_grows_with_the_attempts_and_models_take_their_time(study):
    assert memory(500)(None, 3) == 1500
    assert small(minutes=30)["runtime"] == 30 and small()["gpu"] == 0
    params, *_ = study(grid=GRID | {"shadows": {"models": 6, "per_job": 3}}, tuning={"trials": 5, "seeds": [7]})
    resources = JobResources(params.experiment)
    place = {"dataset": "digits", "model": "resnet8", "recipe": "brief"}
    given = SimpleNamespace(images="none", models=["a", "b"])
    one = resources.model_runtime(wildcards(**place), given, 1)
    several = resources.model_runtime(wildcards(**place, shadows="0-2"), given, 1)
    assert 2.9 * one < several < 3.1 * one < 24 * 60
    # ten runs would be more than a day
    assert 10 * one > 24 * 60 and resources.runtime_of_search(wildcards(**place), given, 1) == 24 * 60
    given.models = ["a"]
    resources.experiment.tuning["trials"] = 2
    assert resources.runtime_of_search(wildcards(**place), given, 1) == 2 * one
    assert resources.of_model["gpu"] == 0


# ---- targets --------------------------------------------------------------------------------------------------------


def outputs_of(paths: Paths):
    """The outputs of the rules, as they are told in their files."""
    at = paths.at
    made = {
        "ingest": [at("data", "images.safetensors"), at("data", "meta.json")],
        "split": [at("splits", "split.npz")],
        "choose_forget_set": [at("splits", "forget/{scenario}.npz")],
        "train": [at("models", f"dense/{name}") for name in ("model.safetensors", "initial.safetensors", "job.json")],
        "prune": [at("models", f"{{pruner}}-{{sparsity}}/{name}") for name in ("model.safetensors", "job.json")],
        "shadow_train": [at("shadows", f"dense/{{shadows}}.{suffix}") for suffix in ("safetensors", "json")],
        "shadow_prune": [
            at("shadows", f"{{pruner}}-{{sparsity}}/{{shadows}}.{suffix}") for suffix in ("safetensors", "json")
        ],
        "probe": [at("cells", "{state}/{unlearner}/probe/{target}.json")],
        "random_init": [at("models", "random_init.npz")],
        "relearn": [at("cells", "{state}/{unlearner}/relearn.json")],
        "evaluate": [at("cells", "{state}/{unlearner}/metrics/{experiment}.json")],
        "population": [at("cells", "{state}/{unlearner}/population.json")],
        "aggregate": [at("tables", f"{name}.csv") for name in ("cells", "layers", "provenance")],
        "table": [at("tables", "{table}.csv")],
        "record": [at("tables", "experiment.json")],
        "answer": [at("tables", "answer.md")],
        "html_report": [at("report", "{experiment}.html")],
        "figure": [at("figures", f"{{figure}}.{suffix}") for suffix in ("svg", "png")],
        "tune_unlearner": [at("tuning", "{unlearner}.json")],
        "collect_winners": [at("tuning", "tuned.yaml")],
    }
    for rule in ("unlearn", "retrain", "unprune", "retrain_exact", "retrain_exact_dense"):
        made[rule] = list(paths.cell_at("{state}/{unlearner}").values())
    for rule in ("shadow_unlearn", "shadow_retrain_exact", "shadow_retrain_exact_dense"):
        made[rule] = [at("cells", f"{{state}}/{{unlearner}}/shadows/{{shadows}}.{end}") for end in ("npz", "json")]
    # Snakemake puts the prefix before them
    return lambda rule: [paths.lying(pattern) for pattern in made[rule]]


RICH = {
    "grid": GRID | {"shadows": {"models": 6, "per_job": 3}},
    "transfer": {"targets": {"other": {"method": "digits"}}},
}


def all_made(targets: RunTargets, paths: Paths) -> None:
    """Every file of the experiment, empty."""
    for job in Jobs(targets.experiment, targets.params.known).reads:
        for pattern in outputs_of(paths)(job.rule):
            file = Path(pattern.format(experiment=targets.experiment.name, **dict(job.wildcards)))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def test_a_first_plan_asks_for_tables_and_figures_alone(study):
    """All else is asked for by what reads it: each file more takes its time."""
    _, _, targets = study(**RICH)
    assert targets.files_to_make_again(outputs_of(Paths())) == []


def test_what_only_a_search_reads_is_not_asked_for(study):
    _, _, targets = study(tuning={"trials": 2, "seeds": [7]})
    assert targets.files_to_make_again(outputs_of(Paths())) == []
    all_made(targets, Paths())
    (Path(f"results/models/{PLACE}") / "dense/job.json").unlink()
    (Path(f"results/models/{PLACE.replace('seed0', 'seed7')}") / "dense/job.json").unlink()
    asked = study(tuning={"trials": 2, "seeds": [7]})[2].files_to_make_again(outputs_of(Paths()))
    assert asked == [f"results/models/{PLACE}/dense/job.json"], "the grid's own"


@pytest.mark.parametrize("paths", [Paths(), Paths("results", "p/results"), Paths("scratch", "scratch")])
def test_of_a_whole_tree_just_what_is_deleted_is_asked_for(study, paths):
    _, _, targets = study(paths, **RICH)
    all_made(targets, paths)
    assert study(paths, **RICH)[2].files_to_make_again(outputs_of(paths)) == []
    cell = f"{paths.root}/cells/{PLACE}/class/omp-0.50/ga"
    gone = [
        f"{cell}/history.csv",
        f"{cell}/probe/other.json",
        f"{cell}/shadows/0-2.json",
        f"{paths.root}/models/{PLACE}/imp-round02/job.json",
        f"{paths.root}/shadows/{PLACE}/imp-0.50/3-5.safetensors",
        f"{paths.root}/cells/{PLACE}/class/dense/retrain/metrics/tiny.json",
    ]
    for file in gone:
        Path(paths.lying(file)).unlink()
    assert sorted(study(paths, **RICH)[2].files_to_make_again(outputs_of(paths))) == sorted(gone)


def test_what_nothing_that_runs_will_read_is_asked_for(study):
    """An exact oracle's cell reads no model of its state, and a state that is there no earlier round of it."""
    _, _, targets = study(**RICH)
    all_made(targets, Paths())
    gone = [*Path(f"results/models/{PLACE}/imp-round01").iterdir()]
    cell = Path(f"results/cells/{PLACE}/class/imp-0.50/ga")
    gone += [cell / "predictions.npz", cell / "metrics/tiny.json", Path("results/tables/tiny/cells.csv")]
    gone += [*Path(f"results/models/{PLACE}/omp-0.50").iterdir()]
    exact = Path(f"results/cells/{PLACE}/class/omp-0.50/retrain_exact")
    gone += [exact / "predictions.npz", exact / "metrics/tiny.json"]
    for file in gone:
        file.unlink()
    asked = study(**RICH)[2].files_to_make_again(outputs_of(Paths()))
    # without the tables the two results are read by them
    assert sorted(asked) == sorted(
        [
            f"results/models/{PLACE}/omp-0.50/model.safetensors",
            f"results/cells/{PLACE}/class/omp-0.50/retrain_exact/predictions.npz",
            f"results/models/{PLACE}/imp-round01/model.safetensors",
            f"results/cells/{PLACE}/class/imp-0.50/ga/predictions.npz",
        ]
    )


def test_a_plan_of_what_is_there_asks_for_nothing_and_says_what_is_missing(study):
    _, _, targets = study(missing="allow")
    assert targets.files_to_make_again(outputs_of(Paths())) == []
    assert targets.parts.metrics == [] and len(targets.parts.missing) == 3 * len(GRID["unlearners"])
    assert targets.parts.missing[0]["steps"][0] == (
        f"results/models/{PLACE}/dense/model.safetensors",
        f"results/logs/models/{PLACE}/dense.log",
    )


def test_tables_of_what_is_there_do_not_hang_on_the_disk(study, monkeypatch):
    monkeypatch.setattr(files, "_ROOTS", set(files._ROOTS))
    files.use_results("/scratch/me")
    here, there = (study(paths, missing="allow")[2] for paths in (PLAIN, Paths("/scratch/me", "/scratch/me")))
    assert here.parts.missing and here.parts.missing == there.parts.missing


def test_an_experiment_without_a_search_has_no_values_to_find(study):
    with pytest.raises(SystemExit, match=r"^lacuna: tuning: missing key"):
        study()[2].tuned_files()
    found = study(tuning={"seeds": [7]})[2].tuned_files()
    assert found == ["results/tuning/tiny/digits/resnet8/brief/tuned.yaml"]
