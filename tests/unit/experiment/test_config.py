"""The experiment: what is accepted, and the one sentence for everything that is not."""

import copy
import dataclasses
import itertools
import json
import os
import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT

from lacuna.artifacts.files import write_json
from lacuna.data.datasets.image_folder import ImageFolder
from lacuna.data.datasets.npz import Npz
from lacuna.errors import LacunaError
from lacuna.evaluation import default_metrics
from lacuna.experiment import catalogue, checks, feasibility
from lacuna.experiment.config import load
from lacuna.experiment.coordinates import canonical_sparsity
from lacuna.experiment.yaml_files import located, read_yaml
from lacuna.fields import values_of
from lacuna.measurement.linear_probe import Probing
from lacuna.measurement.relearning import Relearning

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
GRID = {
    "datasets": {"digits": {}},
    "models": {"resnet8": {}},
    "recipes": {"short": {"epochs": 5, "rewind_epoch": 1}},
    "seeds": [0, 1],
    "scenarios": {"class": {"forget_class": 3}, "random": {"fraction": 0.1}},
    "pruners": {"omp": {}},
    "sparsities": ["dense", 0.9],
    "unlearners": {"retrain": {}, "ga": {}, "slow": {"method": "ga", "lr": 1e-5}},
}
TARGETS = {"targets": {"own": {"method": "npz", "path": "own.npz"}}}
PHOTOS = {"method": "image_folder", "root": "photos"}
BASE = {"name": "mine", "device": "cpu", "grid": GRID}


@pytest.fixture
def resolve(tmp_path, known):
    """resolve(config, overlay, ...) → the experiment of these files; a text is a file's content as it is."""

    def run(*files, overrides=None, **folders):
        paths = []
        for i, content in enumerate(files):
            paths.append(tmp_path / f"{i}.yaml")
            paths[-1].write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return load(paths, overrides or {}, SCHEMA, known, **folders)

    return run


def changed(path, value):
    """The base config with one value replaced (or, for ..., removed)."""
    config = copy.deepcopy(BASE)
    *way, last = path.split("/")
    place = config
    for key in way:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return config


@pytest.mark.parametrize(
    ("method", "options", "scenario", "limit"),
    [
        ("ssd", {}, {"class": {"forget_class": 3}}, "about 10 for scenario 'class'"),
        ("lfssd", {}, {"random": {"fraction": 0.1}}, "about 10 for scenario 'random'"),
        ("ssd", {"alpha": 9.9}, {"random": {"fraction": 0.1}}, None),
        ("ssd", {"alpha": 3.4}, {"random": {"fraction": 0.3}}, "about 3.33 for scenario 'random'"),
        ("ssd", {"variant": "batch"}, {"class": {"forget_class": 3}}, None),
        ("ssd", {}, {"two": {"method": "class", "forget_class": [1, 3]}}, "about 5 for scenario 'two'"),
        ("ssd", {"alpha": 4.9}, {"two": {"method": "class", "forget_class": [1, 3]}}, None),
        ("ga", {}, {"class": {"forget_class": 3}}, None),
    ],
)
def test_importances_that_can_select_nothing_are_warned_of(resolve, tmp_path, method, options, scenario, limit):
    config = changed("grid/unlearners", {"retrain": {}, "mine": {"method": method, **options}})
    config["grid"]["scenarios"] = scenario
    warnings = resolve(config, data_folder=tmp_path).warnings
    assert len(warnings) == (limit is not None)
    for warning in warnings:
        assert warning.startswith("grid.unlearners.mine.alpha: ") and f"n/n_f, {limit} on digits" in warning
    assert not resolve(config).warnings, "a job of the plan says nothing"


def test_poisoned_samples_are_warned_of_by_their_share(resolve, tmp_path):
    config = changed("grid/unlearners", {"retrain": {}, "ssd": {}})
    config["grid"]["scenarios"] = {"poisoned": {"method": "backdoor"}}
    for share, expected in ((0.1, 1), (0.05, 0)):
        config["grid"]["datasets"] = {"digits": {"backdoor": {"share": share, "size": 2, "offset": 0}}}
        assert len(resolve(config, data_folder=tmp_path).warnings) == expected


# ---- what is accepted ------------------------------------------------------------------------------------------------


def test_default_experiment_and_its_overlays_are_valid(known):
    default = ROOT / "config/config.yaml"
    experiments = [load([default], {}, SCHEMA, known)]
    experiments += [load([default, f], {}, SCHEMA, known) for f in sorted((ROOT / "config/experiments").glob("*.yaml"))]
    assert len({e.name for e in experiments}) == len(experiments), "each writes its own tables"


def test_every_value_is_filled_in(resolve, known):
    experiment = resolve(BASE)
    assert (experiment.name, experiment.device, experiment.seeds) == ("mine", "cpu", (0, 1))
    assert experiment.states == ("dense", "omp-0.90")
    assert experiment.oracles == ("retrain",)
    slow, ga = (experiment.entry("unlearners", label) for label in ("slow", "ga"))
    schema = known["unlearners"]["ga"]["schema"]["properties"]
    assert slow.method == ga.method == "ga"
    assert ga.values == {k: v["default"] for k, v in schema.items()}
    assert slow.values == ga.values | {"lr": 1e-5}
    assert experiment.entry("recipes", "short").method == "sgd"
    assert experiment.entry("unlearners", "retrain").values == {"start": "theta0"}
    assert set(experiment.metrics) == set(default_metrics())
    assert experiment.relearning == values_of(Relearning())


def test_cells_are_the_product_of_the_axes(resolve):
    cells = list(resolve(BASE).cells())
    assert len(cells) == 2 * 2 * 2 * 3
    assert len({tuple(c.items()) for c in cells}) == len(cells)
    assert {c["state"] for c in cells} == {"dense", "omp-0.90"}
    assert {c["seed"] for c in cells} == {"0", "1"}
    assert list(cells[0]) == ["dataset", "model", "recipe", "seed", "scenario", "state", "unlearner"]


def test_parts_of_an_experiment_have_its_cells_in_their_order(resolve):
    experiment = resolve(BASE)
    cells = list(experiment.cells())
    parts = [dataclasses.replace(experiment, part=part) for part in ((0, 7), (7, 14), (14, None), (24, 24))]
    assert [cell for part in parts for cell in part.cells()] == cells
    assert parts[0] == experiment, "what is asked of a part's jobs is what is asked of all"


def test_order_of_keys_in_an_entry_does_not_matter(resolve):
    one, other = (
        resolve(changed("grid/recipes", {"short": dict(order)})).entry("recipes", "short")
        for order in (
            [("epochs", 5), ("lr", 1), ("rewind_epoch", 1)],
            [("rewind_epoch", 1), ("epochs", 5.0), ("lr", 1.0)],
        )
    )
    assert json.dumps(one.values) == json.dumps(other.values)


def test_one_key_changes_one_entry_only(resolve):
    before, after = resolve(BASE), resolve(changed("grid/unlearners/slow/lr", 2e-5))
    differing = [
        (axis, label)
        for axis, entries in before.axes.items()
        for label in entries
        if before.entry(axis, label) != after.entry(axis, label)
    ]
    assert differing == [("unlearners", "slow")]


def test_overlay_replaces_the_grid_as_a_whole(resolve):
    overlay = {"name": "other", "grid": GRID | {"unlearners": {"retrain": {}}, "sparsities": ["0.5"]}}
    experiment = resolve(BASE, overlay)
    assert (experiment.name, experiment.device) == ("other", "cpu"), "other keys stay"
    assert list(experiment.axes["unlearners"]) == ["retrain"]
    assert experiment.states == ("omp-0.50",)
    with pytest.raises(LacunaError, match=r"^grid: missing key 'datasets'"):
        resolve(BASE, {"name": "other", "grid": {k: v for k, v in GRID.items() if k != "datasets"}})


def test_command_line_comes_last(resolve):
    assert resolve(BASE, {"name": "x", "device": "auto"}, overrides={"device": "cuda"}).device == "cuda"


def test_grid_without_pruners_is_dense(resolve):
    for none in (None, {}):
        experiment = resolve({**BASE, "grid": GRID | {"pruners": none, "sparsities": ["dense"]}})
        assert experiment.states == ("dense",)


def test_shadow_models_are_there_only_if_the_grid_asks_for_them(resolve):
    """Their figure comes and goes with them, whether figures are listed or not."""
    without, empty, given = (
        resolve(changed("grid/shadows", value)) if value != "absent" else resolve(BASE)
        for value in ("absent", None, {"models": 64, "per_job": 8.0})
    )
    assert without.shadows is None and "roc" not in without.figures
    assert (empty.shadows.models, empty.shadows.per_job) == (8, 4)
    assert len(given.shadows.jobs()) == 8 and "roc" in given.figures
    assert resolve(changed("grid/shadows", {}) | {"figures": ["roc"]}).figures == ("roc",)


def test_targets_of_probes_are_ingested_but_make_no_cells(resolve):
    """Their figure comes with them; a dataset of the grid may be a target, for the cells of the other datasets."""
    plain, given = resolve(BASE), resolve(BASE | {"transfer": TARGETS})
    assert list(given.datasets) == ["digits", "own"] and list(plain.datasets) == ["digits"]
    assert list(given.cells()) == list(plain.cells())
    assert given.entry("datasets", "own").values["path"] == "own.npz"
    assert "transfer" in given.figures and "transfer" not in plain.figures
    assert given.probe == plain.probe == values_of(Probing())
    both = changed("grid/datasets", {"digits": {}, "own": TARGETS["targets"]["own"]})
    crossed = resolve(both | {"transfer": {"targets": {"digits": {}} | TARGETS["targets"]}})
    assert {(cell["dataset"], *crossed.targets(cell)) for cell in crossed.cells()} == {
        ("digits", "own"),
        ("own", "digits"),
    }


def test_a_target_is_asked_before_anything_runs(resolve, tmp_path):
    """Its file must be there, and its images must have channels that a network can be shown."""
    path = tmp_path / "own.npz"
    config = BASE | {"transfer": {"targets": {"own": {"method": "npz", "path": str(path)}}}}
    with pytest.raises(LacunaError, match=r"own\.npz: no such file"):
        resolve(config, data_folder=tmp_path)
    stored = tmp_path / "own" / "meta.json"
    stored.parent.mkdir()
    np.savez(
        path, x_train=np.zeros((4, 6, 6)), y_train=np.arange(4) % 2, x_test=np.zeros((4, 6, 6)), y_test=np.zeros(4, int)
    )
    os.utime(path, ns=(0, 0))
    own = resolve(config).entry("datasets", "own")
    entry = {"method": own.method, **own.values}
    for channels, fits in ((1, True), (3, True), (4, False)):
        content = Npz(path=str(path)).content()
        write_json(stored, {"classes": 2, "shape": [channels, 6, 6], "entry": entry, "content": content})
        if fits:
            resolve(config, data_folder=tmp_path)
        else:
            with pytest.raises(LacunaError, match=r"targets\.own: networks .* cannot take images with 4 channels;"):
                resolve(config, data_folder=tmp_path)


def test_empty_entry_means_defaults(resolve):
    assert resolve(changed("grid/unlearners/ga", None)).axes == resolve(BASE).axes


def test_further_entries_of_an_oracle_method_are_its_twins(resolve):
    """The entry with the method's name is the oracle, else the first by name, in whatever order they stand."""
    twins = {"retrain_exact_b": "retrain_exact", "again": "retrain", "retrain_b": "retrain"}
    entries = {"ga": {}} | {twin: {"method": method} for twin, method in twins.items()}
    entries |= {"retrain": {}, "retrain_exact": {}}
    for order in (entries, dict(reversed(entries.items()))):
        experiment = resolve(changed("grid/unlearners", order))
        assert experiment.oracles == ("retrain", "retrain_exact")
        assert experiment.twins == twins
    experiment = resolve(changed("grid/unlearners", {k: {"method": "retrain"} for k in ("two", "one")}))
    assert (experiment.oracles, experiment.twins) == (("one",), {"two": "one"})
    assert resolve(BASE).twins == {}
    for method, allowed in (("retrain", "start"), ("retrain_exact", "no keys")):
        said = f"retrain_b: lr is not allowed; allowed: {allowed}, an oracle follows the recipe"
        with pytest.raises(LacunaError, match=said):
            resolve(changed("grid/unlearners/retrain_b", {"method": method, "lr": 1}))


def test_retraining_from_another_start_is_an_oracle_with_twins_of_its_own(resolve):
    """A floor is the distance of two runs of one thing."""
    fresh = {"method": "retrain", "start": "fresh"}
    entries = {"retrain_fresh_b": fresh, "retrain_fresh": fresh, "retrain_b": {"method": "retrain", "start": "theta0"}}
    for order in (entries, dict(reversed(entries.items()))):
        experiment = resolve(changed("grid/unlearners", order | {"retrain": {}}))
        assert experiment.oracles == ("retrain", "retrain_fresh")
        assert experiment.twins == {"retrain_b": "retrain", "retrain_fresh_b": "retrain_fresh"}
    assert experiment.entry("unlearners", "retrain").values == {"start": "theta0"}
    assert resolve(changed("grid/unlearners", {"retrain": fresh, "b": {"method": "retrain"}})).twins == {}
    with pytest.raises(LacunaError, match=r'start: "seed" is not allowed; allowed: one of theta0, fresh, rewind$'):
        resolve(changed("grid/unlearners/retrain", {"start": "seed"}))


# ---- sparsities ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        (0.9, "0.90"),
        ("0.9", "0.90"),
        ("0.90", "0.90"),
        ("0.900", "0.90"),
        (0.95, "0.95"),
        (0.999, "0.999"),
        (1e-4, "0.0001"),
        (0.5, "0.50"),
    ],
)
def test_one_sparsity_has_one_spelling(given, canonical):
    assert canonical_sparsity(given) == canonical


@given(st.integers(1, 9999))
def test_spelling_is_a_fixed_point_and_exact(n):
    spelled = canonical_sparsity(n / 10_000)
    assert canonical_sparsity(spelled) == canonical_sparsity(float(spelled)) == spelled
    assert float(spelled) == n / 10_000
    assert re.fullmatch(r"0\.\d{2,4}", spelled)


def test_dense_comes_first_and_only_once(resolve):
    config = changed("grid/sparsities", [0.95, "dense", "0.9"])
    config["grid"]["pruners"] = {"omp": {}, "rnd": {"method": "random"}}
    assert resolve(config).states == ("dense", "omp-0.95", "omp-0.90", "rnd-0.95", "rnd-0.90")


# ---- un-pruning ------------------------------------------------------------------------------------------------------


def test_unpruning_is_a_cell_beside_the_unlearners_of_every_sparse_state(resolve, known):
    experiment = resolve(changed("grid/unprune", [{"unlearner": "ga"}]))
    defaults = {k: v["default"] for k, v in known["settings"]["unprune"]["schema"]["properties"].items()}
    assert experiment.axes["unprune"].keys() == {"unprune.ga.p10.r3"}
    assert experiment.entry("unprune", "unprune.ga.p10.r3").values == {"unlearner": "ga"} | defaults
    cells = list(experiment.cells())
    assert {c["state"] for c in cells if c["unlearner"] == "unprune.ga.p10.r3"} == {"omp-0.90"}
    assert len(cells) == 2 * 2 * (2 * 3 + 1)
    assert "unprune.ga.p10.r3" not in experiment.axes["unlearners"]


def test_lists_are_swept(resolve):
    entry = {"unlearner": ["ga", "slow"], "p": [0, 12.5], "rounds": [1, 3]}
    labels = list(resolve(changed("grid/unprune", [entry])).axes["unprune"])
    assert labels == [f"unprune.{u}.p{p}.r{r}" for u in ("ga", "slow") for p in ("0", "12.5") for r in (1, 3)]


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({"p": 5.0, "rounds": 2.0}, "unprune.ga.p5.r2"),
        ({"when": "each_round", "grow": "random"}, "unprune.ga.p10.r3.grow_random.when_each_round"),
        ({"finetune_epochs": 2, "finetune_lr": 1e-5}, "unprune.ga.p10.r3.finetune_epochs_2.finetune_lr_0.00001"),
        ({"when": "end", "reinit": "original"}, "unprune.ga.p10.r3"),
        ({"label": "mine", "when": "each_round"}, "mine.p10.r3"),
    ],
)
def test_label_says_what_is_no_default(resolve, more, label):
    (found,) = resolve(changed("grid/unprune", [{"unlearner": "ga"} | more])).axes["unprune"]
    assert found == label
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.]*", found)


def test_shadow_models_are_not_unpruned(resolve):
    config = changed("grid/unprune", [{"unlearner": "ga"}])
    config["grid"]["shadows"] = {}
    with pytest.raises(LacunaError, match=r"^grid.unprune: is not allowed with grid.shadows, .*; allowed: one of"):
        resolve(config)


def test_figure_is_drawn_where_its_metrics_are_computed(resolve, known):
    default = resolve(BASE)
    assert "layer_sparsity" in default.figures
    assert not {"bound_vs_sparsity", "mia_sensitivity"} & set(default.figures), "their metrics are on request"
    assert "mask_overlap" not in default.figures, "all methods keep the mask that they are given"
    exact = {"retrain": {}, "retrain_exact": {}, "ga": {}}
    grown = GRID | {"unlearners": exact, "unprune": [{"unlearner": "ga", "p": 0.1, "rounds": 3}]}
    assert "mask_overlap" in resolve(BASE | {"grid": grown}).figures
    needed = known["figures"]["bound_vs_sparsity"]["metrics"]
    assert "bound_vs_sparsity" in resolve(BASE | {"metrics": [*needed]}).figures
    with pytest.raises(
        LacunaError,
        match=r"^figures\[1\]: 'bound_vs_sparsity' has nothing to show; allowed with: metric error_bound$",
    ):
        resolve(BASE | {"metrics": ["UA", *needed[1:]], "figures": ["metric_vs_sparsity", "bound_vs_sparsity"]})


# ---- what is refused -------------------------------------------------------------------------------------------------

SPARSITY = "dense, or a number > 0 and < 1 with at most 4 decimals"
LABEL = "a label of letters, digits, '_' and '.'"
# path in the config, bad value, then what the sentence must hold: place, value, what is allowed
MISTAKES = [
    ("grid/unlearners", {"retrain": {}, "gaa": {}}, "grid.unlearners.gaa: 'gaa' is not known", "ga, "),
    ("grid/unlearners/slow/method", "x", "grid.unlearners.slow.method: 'x' is not known", "ga, "),
    ("grid/unlearners/slow/method", 3, "grid.unlearners.slow.method: 3 is", "a text"),
    ("grid/unlearners/ga", {"lr": -0.1}, "grid.unlearners.ga.lr: -0.1 is", "a number > 0"),
    ("grid/unlearners/ga", {"lr": "fast"}, 'grid.unlearners.ga.lr: "fast" is', "a number > 0"),
    ("grid/unlearners/ga", {"lr": float("inf")}, "grid.unlearners.ga.lr: inf is", "a finite number"),
    ("grid/unlearners/ga", {"epochs": 1.5}, "grid.unlearners.ga.epochs: 1.5 is", "a whole number >= 1"),
    ("grid/unlearners/ga", {"learning_rate": 1}, "grid.unlearners.ga: unknown key 'learning_rate'", "lr, "),
    ("grid/unlearners/ga", [1], "grid.unlearners.ga: [1] is", "a mapping or null"),
    ("grid/unlearners/retrain", {"lr": 1}, "grid.unlearners.retrain: lr is", "start, an oracle follows the recipe"),
    ("grid/unlearners", {"ga": {}}, "grid.unlearners: no oracle", "retrain, retrain_exact"),
    ("grid/unlearners", {}, "grid.unlearners: {} is", "at least one entry"),
    ("grid/unprune", [{"unlearner": "x"}], "grid.unprune[0].unlearner: 'x' is not known", "no oracle: ga, slow"),
    ("grid/unprune", [{"unlearner": ["ga", "retrain"]}], "grid.unprune[0].unlearner: 'retrain'", "ga, slow"),
    ("grid/unprune", [{"p": 10}], "grid.unprune[0]: missing key 'unlearner'", "must be given"),
    ("grid/unprune", [{"unlearner": "ga", "p": 101}], "grid.unprune[0].p: 101 is", "a number >= 0 and <= 100"),
    ("grid/unprune", [{"unlearner": "ga", "p": []}], "grid.unprune[0].p: [] is", "a list of at least one"),
    ("grid/unprune", [{"unlearner": "ga", "rounds": [1, -1]}], "grid.unprune[0].rounds: -1 is", "a whole number >= 0"),
    ("grid/unprune", [{"unlearner": "ga", "when": "now"}], 'grid.unprune[0].when: "now" is', "one of end, each_round"),
    ("grid/unprune", [{"unlearner": "ga", "q": 1}], "grid.unprune[0]: unknown key 'q'", "p, rounds"),
    ("grid/unprune", [{"unlearner": "ga"}] * 2, "grid.unprune[1]: 'unprune.ga.p10.r3' is defined twice", "of its own"),
    ("grid/unprune", [{"unlearner": "ga", "label": "a/b"}], 'grid.unprune[0].label: "a/b" is', LABEL),
    ("grid/datasets", {"cifar": {}}, "grid.datasets.cifar: 'cifar' is not known", "digits"),
    ("grid/datasets", {"mine": {"method": "npz"}}, "grid.datasets.mine: missing key 'path'", "must be given"),
    ("grid/datasets", {"../x": {}}, 'grid.datasets: "../x" is', LABEL),
    ("grid/unlearners", {"retrain": {}, "a/b": {"method": "ga"}}, 'grid.unlearners: "a/b" is', LABEL),
    ("grid/pruners", {"omp-1": {"method": "omp"}}, 'grid.pruners: "omp-1" is', LABEL),
    ("grid/pruners", {"x" * 65: {"method": "omp"}}, "grid.pruners: ", LABEL),
    ("grid/pruners", {"dense": {"method": "omp"}}, "grid.pruners.dense: this label is", "names the unpruned state"),
    ("grid/pruners", {}, "grid.pruners: none is given for sparsity 0.90", "at least one pruner"),
    ("grid/models/resnet8", {"width": 0}, "grid.models.resnet8.width: 0 is", "a whole number >= 1"),
    ("grid/recipes/short/rewind_epoch", 5, "grid.recipes.short.rewind_epoch: 5 is", "0 to 4 (training has 5 epochs)"),
    ("grid/recipes/short/rewind_epoch", 9, "grid.recipes.short.rewind_epoch: 9 is", "0 to 4 (training has 5 epochs)"),
    ("grid/recipes/short/warmup_epochs", 5, "grid.recipes.short.warmup_epochs: 5 is", "0 to 4 (training has 5 epochs)"),
    ("grid/unlearners/ga", {"epochs": 1, "warmup_epochs": 9}, "grid.unlearners.ga.warmup_epochs: 9 is", "0 to 0 (tra"),
    ("grid/datasets", {"a": PHOTOS | {"size": 1025}}, "grid.datasets.a.size: 1025 is", ">= 1 and <= 1024"),
    ("grid/datasets", {"sun397": {"size": 2240}}, "grid.datasets.sun397.size: 2240 is", ">= 1 and <= 1024"),
    ("grid/datasets", {"oxford_pets": {"size": 2240}}, "grid.datasets.oxford_pets.size: 2240 is", ">= 1 and <= 1024"),
    ("grid/datasets", {"tiny_imagenet": {"size": 6400}}, "grid.datasets.tiny_imagenet.size: 6400 is", "<= 1024"),
    ("grid/recipes/short/schedule", "cos", 'grid.recipes.short.schedule: "cos" is', "constant, multistep, cosine"),
    ("grid/recipes/short/milestones", [3, -1], "grid.recipes.short.milestones[1]: -1 is", "a whole number >= 0"),
    ("grid/recipes/short/momentum", 1, "grid.recipes.short.momentum: 1 is", "a number >= 0 and < 1"),
    ("grid/seeds", [], "grid.seeds: [] is", "a list of at least 1"),
    ("grid/seeds", [0, 0], "grid.seeds: 0 is listed twice", "each value once"),
    ("grid/seeds", [-1], "grid.seeds[0]: -1 is", "a whole number >= 0"),
    ("grid/seeds", [0, "1"], 'grid.seeds[1]: "1" is', "a whole number"),
    ("grid/seeds", 3, "grid.seeds: 3 is", "a list"),
    ("grid/scenarios/class/forget_class", -1, "grid.scenarios.class.forget_class: -1 is", "a whole number >= 0"),
    ("grid/scenarios/random/fraction", 0, "grid.scenarios.random.fraction: 0 is", "a number > 0 and < 1"),
    ("grid/scenarios/random/fraction", 1, "grid.scenarios.random.fraction: 1 is", "a number > 0 and < 1"),
    ("grid/scenarios/random", {}, "grid.scenarios.random: missing key 'fraction'", "must be given"),
    ("grid/datasets/digits", {"backdoor": {"share": 0}}, "grid.datasets.digits.backdoor.share: 0 is", "> 0 and < 1"),
    ("grid/datasets/digits", {"backdoor": {"sice": 2}}, "grid.datasets.digits.backdoor: unknown key 'sice'", "size"),
    (
        "grid/scenarios",
        {"backdoor": {}},
        "grid.scenarios.backdoor: dataset 'digits' has no backdoor, which backdoor forgets",
        "datasets with backdoor: {}",
    ),
    (
        "grid/scenarios",
        {"memorised": {"fraction": 0.1, "model": "resnet9", "recipe": "short"}},
        "grid.scenarios.memorised.model: 'resnet9' is not known",
        "a label of grid.models: resnet8",
    ),
    (
        "grid/scenarios",
        {"hard": {"method": "hardest", "fraction": 0.1, "model": "resnet8", "recipe": "long"}},
        "grid.scenarios.hard.recipe: 'long' is not known",
        "a label of grid.recipes: short",
    ),
    (
        "grid/scenarios",
        {"memorised": {"fraction": 0.1, "model": "resnet8", "recipe": "short", "folds": 1}},
        "grid.scenarios.memorised.folds: 1 is",
        "a whole number >= 2",
    ),
    ("grid/pruners", {"imp": {"rate": 0.01}}, "grid.pruners.imp.rate: 0.01 is", "at least 0.0226 (at most 100 rounds"),
    (
        "grid/pruners",
        {"mine": {"method": "omp", "compact": True}},
        "grid.pruners.mine.compact: not allowed for omp, which removes single weights",
        "for: filter_l1, filter_l2, filter_taylor",
    ),
    ("grid/sparsities", [1.5], "grid.sparsities[0]: 1.5 is", SPARSITY),
    ("grid/sparsities", [0.5, 0], "grid.sparsities[1]: 0 is", SPARSITY),
    ("grid/sparsities", ["0.00"], "grid.sparsities[0]: 0.00 is", SPARSITY),
    ("grid/sparsities", [-0.1], "grid.sparsities[0]: -0.1 is", SPARSITY),
    ("grid/sparsities", ["90%"], 'grid.sparsities[0]: "90%" is', SPARSITY),
    ("grid/sparsities", [0.12345], "grid.sparsities[0]: 0.12345 is", SPARSITY),
    ("grid/sparsities", [1e-9], "grid.sparsities[0]: 1e-09 is", SPARSITY),
    ("grid/sparsities", [True], "grid.sparsities[0]: true is", SPARSITY),
    ("grid/sparsities", [0.9, "0.90"], "grid.sparsities[1]: 0.90 is listed twice (0.90)", "each sparsity once"),
    ("grid/sparsities", ["dense", 0.5, "dense"], "grid.sparsities[2]: dense is listed twice", "each sparsity once"),
    ("grid/sparsities", [], "grid.sparsities: [] is", "a list of at least 1"),
    ("grid/sparsity", [0.5], "grid: unknown key 'sparsity'", "sparsities"),
    (
        "gird",
        {},
        "config: unknown key 'gird'",
        "name, device, results, snakemake_patches, metrics, figures, figure_formats, relearning, transfer, grid",
    ),
    ("grid", ..., "config: missing key 'grid'", "must be given"),
    ("grid/seeds", ..., "grid: missing key 'seeds'", "must be given"),
    ("device", "gpu", 'device: "gpu" is', "one of auto, cpu, cuda"),
    ("name", "a b", 'name: "a b" is', LABEL),
    ("name", "..", 'name: ".." is', LABEL),
    ("metrics", ["UA", "ua"], "metrics[1]: 'ua' is not known", "UA"),
    (
        "metrics",
        ["avg_gap/retrain"],
        "metrics[0]: 'avg_gap/retrain' is a value's name in the tables",
        "avg_gap, which is",
    ),
    ("metrics", [], "metrics: [] is", "at least 1"),
    ("metrics", ["UA", "UA"], "metrics: 'UA' is listed twice", "each value once"),
    ("relearning", {"rate": 1}, "relearning: unknown key 'rate'", "margin"),
    ("relearning", {"margin": 1}, "relearning.margin: 1 is", "> 0 and < 1"),
    ("relearning", [], "relearning: [] is", "a mapping"),
    ("transfer", {}, "transfer: missing key 'targets'", "must be given"),
    ("transfer", {"targets": {}}, "transfer.targets: {} is", "a mapping with at least one entry"),
    ("transfer", {"targets": {"pets": {}}}, "transfer.targets.pets: 'pets' is not known", "digits"),
    ("transfer", {"targets": {"digits": {}}}, "transfer.targets.digits: it is the only dataset", "is not trained on"),
    (
        "transfer",
        {"targets": {"digits": {"method": "npz", "path": "own.npz"}}},
        "transfer.targets.digits: other values than grid.datasets.digits has",
        "the same values, or another label",
    ),
    (
        "transfer",
        TARGETS | {"probe": {"l2": []}},
        "transfer.probe.l2: [] is",
        "a list of at least 1, each a number > 0",
    ),
    (
        "transfer",
        {"targets": {"bad": {"method": "digits", "backdoor": {}}}},
        "transfer.targets.bad.backdoor: not allowed",
        "null, a probe reads the images as they are",
    ),
    ("transfer", TARGETS | {"probe": {"l1": 1}}, "transfer.probe: unknown key 'l1'", "l2, tolerance"),
    ("images", "disk", 'images: "disk" is', "one of auto, device, host"),
    ("missing", "ignore", 'missing: "ignore" is', "one of refuse, allow"),
    ("figures", ["pie"], "figures[0]: 'pie' is not known", "time_vs_gap"),
    ("figures", ["transfer"], "figures[0]: 'transfer' has nothing to show", "transfer.targets"),
    ("figures", ["time_vs_gap", "roc"], "figures[1]: 'roc' has nothing to show", "grid.shadows"),
    ("figures", ["backdoor"], "figures[0]: 'backdoor' has nothing to show", "a backdoor in an entry of grid.datasets"),
    ("grid/shadows", {"models": 4}, "grid.shadows.models: 4 is", "a whole number >= 6 and divisible by 2"),
    ("grid/shadows", {"models": 9}, "grid.shadows.models: 9 is", "a whole number >= 6 and divisible by 2"),
    ("grid/shadows", {"per_job": 0}, "grid.shadows.per_job: 0 is", "a whole number >= 1"),
    ("grid/shadows", {"number": 8}, "grid.shadows: unknown key 'number'", "models, per_job"),
    ("grid/shadows", 8, "grid.shadows: 8 is", "a mapping or null"),
]


@pytest.mark.parametrize(
    ("path", "value", "said", "allowed"), MISTAKES, ids=[f"{p}={v}"[:60] for p, v, _, _ in MISTAKES]
)
def test_mistake_is_one_sentence_with_key_value_and_what_is_allowed(resolve, path, value, said, allowed):
    with pytest.raises(LacunaError) as caught:
        resolve(changed(path, value))
    sentence = str(caught.value)
    assert sentence.startswith(said)
    assert allowed in sentence.removeprefix(said)
    assert "\n" not in sentence


def test_unpruning_of_dense_models_is_refused(resolve):
    config = changed("grid/unprune", [{"unlearner": "ga"}])
    config["grid"]["sparsities"] = ["dense"]
    with pytest.raises(LacunaError, match=r"^grid.unprune: no state is sparse, .*; allowed with a sparsity > 0$"):
        resolve(config)


def test_scenario_must_suit_the_dataset(resolve, tmp_path):
    with pytest.raises(LacunaError) as caught:
        resolve(changed("grid/scenarios/class/forget_class", 12), data_folder=tmp_path)
    sentence = "grid.scenarios.class.forget_class: 12 is not allowed; allowed: 0 to 9 (the dataset has 10 classes)"
    assert str(caught.value) == sentence
    assert resolve(BASE, data_folder=tmp_path)


@pytest.mark.parametrize(
    ("backdoor", "said"),
    [
        ({}, None),
        ({"size": 6, "offset": 2}, None),
        ({"size": 7}, ": a square of 7 pixels, 2 from the border, does not fit images of 8×8; allowed: size + offset"),
        ({"target": 10}, ".target: 10 is not allowed; allowed: 0 to 9 (the dataset has 10 classes)"),
    ],
)
def test_backdoor_must_suit_the_dataset(resolve, tmp_path, backdoor, said):
    config = changed("grid/datasets/digits", {"backdoor": backdoor})
    if said is None:
        assert resolve(config, data_folder=tmp_path)
        return
    with pytest.raises(LacunaError) as caught:
        resolve(config, data_folder=tmp_path)
    assert str(caught.value).startswith(f"grid.datasets.digits.backdoor{said}")


def test_table_and_figure_of_backdoors_are_there_only_with_one(resolve):
    """And only where one of their metrics is computed."""
    some = {"backdoor", "roc"}
    assert not some & {*resolve(BASE).tables} and "backdoor" not in resolve(BASE).figures
    config = changed("grid/datasets/digits", {"backdoor": {}})
    assert some & {*resolve(config).tables} == {"backdoor"} and "backdoor" in resolve(config).figures
    assert not some & {*resolve(config | {"metrics": ["UA"]}).tables}
    assert some & {*resolve(changed("grid/shadows", {})).tables} == {"roc"}


def test_scenario_of_finer_labels_needs_a_dataset_that_has_them(resolve, tmp_path):
    config = changed("grid/scenarios", {"sub": {"method": "subclass", "super_class": 1, "fine_class": 9}})
    with pytest.raises(LacunaError) as caught:
        resolve(config, data_folder=tmp_path)
    assert str(caught.value).startswith(
        "grid.scenarios.sub: dataset 'digits' has no finer labels, which subclass needs; allowed: a dataset that"
    )
    config["grid"]["datasets"] = {"cifar100": {"labels": "coarse"}}
    assert resolve(config, data_folder=tmp_path)
    config["grid"]["scenarios"]["sub"]["super_class"] = 20
    with pytest.raises(LacunaError, match=r"^grid.scenarios.sub.super_class: 20 is not allowed; allowed: 0 to 19 "):
        resolve(config, data_folder=tmp_path)


def test_files_that_nobody_may_fetch_are_missed_before_any_job(resolve, tmp_path):
    config = changed("grid/datasets", {"cifar10": {"root": str(tmp_path / "here"), "download": False}})
    with pytest.raises(LacunaError, match=r"here/cifar-10-python.tar.gz: not there, and download is false; needed: "):
        resolve(config, data_folder=tmp_path)
    config["grid"]["datasets"]["cifar10"]["download"] = True
    assert resolve(config, data_folder=tmp_path)


def test_folder_is_looked_at_again_only_if_its_content_changed(resolve, tmp_path):
    """What was ingested is known without the folder's classes; another content asks them."""
    config = changed("grid/datasets", {"mine": {"method": "image_folder", "root": str(tmp_path / "no"), "size": 8}})
    entry = {"method": "image_folder", **resolve(config).entry("datasets", "mine").values}
    meta = tmp_path / "data/mine/meta.json"
    meta.parent.mkdir(parents=True)
    good = {
        "classes": 10,
        "shape": [3, 8, 8],
        "entry": entry,
        "content": ImageFolder(root=entry["root"], size=8).content(),
    }
    write_json(meta, good)
    assert resolve(config, data_folder=tmp_path / "data")
    write_json(meta, good | {"content": "another"})
    with pytest.raises(LacunaError, match="no: no such folder; allowed: a folder with train/ and test/"):
        resolve(config, data_folder=tmp_path / "data")


def of_size(resolve, folder, fraction, train):
    """The digits with a random D_f, as a plan sees them once so many training images are ingested."""
    config = changed("grid/scenarios", {"some": {"method": "random", "fraction": fraction}})
    entry = {"method": "digits", **resolve(config).entry("datasets", "digits").values}
    (folder / "digits").mkdir()
    meta = {"classes": 10, "shape": [1, 8, 8], "entry": entry, "content": "", "train": train}
    write_json(folder / "digits/meta.json", meta)
    return config


@pytest.mark.parametrize(
    ("train", "fraction", "part", "told"),
    [
        (100, 0.1, "D_f", "about 9 samples of digits, each of which is 11.1 points of UA"),
        (1000, 0.02, "D_f", "about 18 samples of digits, each of which is 5.56 points of UA"),
        (1000, 0.03, "D_f", None),
        (0, 0.1, "D_f", None),
        (1000, 0.99, "D_r", "about 9 samples of digits, each of which is 11.1 points of RA"),
        (1000, 0.999, "D_r", "about 1 sample of digits, each of which is 100 points of RA"),
        (1000, 0.00052, "D_f", "about 0 samples of digits, if any"),
    ],
)
def test_a_set_of_a_few_samples_is_told_once_the_data_are_known(resolve, tmp_path, train, fraction, part, told):
    """Nine tenths of the training images are trained on, and D_f is drawn from these."""
    config = of_size(resolve, tmp_path, fraction, train)
    warnings = [w for w in resolve(config, data_folder=tmp_path).warnings if "D_f" in w or "D_r" in w]
    expected = f"grid.scenarios.some: {part} will have {told}: it can hardly tell methods apart"
    assert warnings == ([expected] if told else [])


@pytest.mark.parametrize(("fraction", "part"), [(0.0004, "D_f"), (0.9996, "D_r")])
def test_a_set_without_a_sample_is_refused_before_any_job(resolve, tmp_path, fraction, part):
    config = of_size(resolve, tmp_path, fraction, 1000)
    with pytest.raises(LacunaError) as caught:
        resolve(config, data_folder=tmp_path)
    assert str(caught.value) == (
        f"grid.scenarios.some: {part} has no sample, {fraction} of the 1,000 training images of digits are forgotten; "
        "allowed: at least 1 sample in D_f and in D_r"
    )


def test_class_of_one_training_image_is_refused_before_any_job(resolve, tmp_path):
    path, x, y = tmp_path / "my.npz", np.zeros((5, 8, 8), np.uint8), np.array([0, 1, 2, 0, 2])
    config = changed("grid/datasets", {"mine": {"method": "npz", "path": str(path)}})
    config["grid"]["scenarios"]["class"]["forget_class"] = 2
    for names, name in (({}, ""), ({"classes": np.array(["cat", "dog", "owl"])}, " (dog)")):
        np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y, **names)
        with pytest.raises(LacunaError) as caught:
            resolve(config, data_folder=tmp_path)
        assert str(caught.value) == (
            f"grid.datasets.mine: class 1{name} has 1 training image; allowed: at least 2 (one is for validation)"
        )


def test_class_of_one_file_is_refused_before_any_job(resolve, tmp_path):
    for file in ("train/cat/a.png", "train/cat/b.png", "train/dog/a.png", "test/cat/a.png"):
        (tmp_path / "photos" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / file).touch()
    mine = {"method": "image_folder", "root": str(tmp_path / "photos"), "size": 32}
    with pytest.raises(LacunaError, match=r"^grid\.datasets\.mine: class 1 \(dog\) has 1 training image; allowed: at"):
        resolve(changed("grid/datasets", {"mine": mine}), data_folder=tmp_path)


@pytest.mark.parametrize(("crop", "refused"), [(7, False), (8, True), (20, True)])
def test_crop_of_nothing_but_padding_is_refused_before_any_job(resolve, tmp_path, crop, refused):
    config = changed("grid/recipes/short/crop", crop)
    if not refused:
        assert resolve(config, data_folder=tmp_path)
        return
    with pytest.raises(LacunaError) as caught:
        resolve(config, data_folder=tmp_path)
    assert str(caught.value) == (
        f"grid.recipes.short.crop: {crop} is not allowed; allowed: 0 to 7 (images of 'digits' are 8×8)"
    )


def test_files_of_the_user_are_checked_before_any_job(resolve, tmp_path):
    config = changed("grid/datasets", {"mine": {"method": "npz", "path": str(tmp_path / "my.npz")}})
    with pytest.raises(LacunaError, match=r"my.npz: no such file; allowed: the path of an npz file"):
        resolve(config, data_folder=tmp_path)
    images, labels = np.zeros((6, 8, 8), np.uint8), np.array([0, 1, 2, 0, 1, 2])
    np.savez(tmp_path / "my.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with pytest.raises(LacunaError, match=r"forget_class: 3 is not allowed; allowed: 0 to 2"):
        resolve(config, data_folder=tmp_path)
    config["grid"]["scenarios"]["class"]["forget_class"] = 2
    assert resolve(config, data_folder=tmp_path)


def test_ingested_files_are_not_read_again_unless_they_changed(resolve, tmp_path):
    path = tmp_path / "my.npz"
    path.write_text("not read")
    config = changed("grid/datasets", {"mine": {"method": "npz", "path": str(path)}})
    entry = {"method": "npz", **resolve(config).entry("datasets", "mine").values}
    meta = tmp_path / "data/mine/meta.json"
    meta.parent.mkdir(parents=True)
    good = {"classes": 10, "shape": [1, 8, 8], "entry": entry, "content": Npz(path=str(path)).content()}
    write_json(meta, good)
    for time in (1, 2e9):
        os.utime(path, (time, time))
        assert resolve(config, data_folder=tmp_path / "data"), "a time is no change"
    for stale in (good | {"entry": entry | {"layout": "nhwc"}}, {"classes": 10}):
        write_json(meta, stale)
        with pytest.raises(LacunaError, match="not a usable npz file"):
            resolve(config, data_folder=tmp_path / "data")
    meta.write_text(json.dumps(good))
    with pytest.raises(LacunaError, match="not a usable npz file"):
        resolve(config, data_folder=tmp_path / "data")
    write_json(meta, good)
    path.write_text("not Read")
    os.utime(path, (1, 1))
    with pytest.raises(LacunaError, match="not a usable npz file"):
        resolve(config, data_folder=tmp_path / "data")


def test_unlearner_must_suit_the_scenario(resolve, known, monkeypatch):
    monkeypatch.setitem(known["unlearners"]["ga"], "scenarios", ["class"])
    with pytest.raises(
        LacunaError, match=r"^grid.unlearners.ga: ga cannot work on scenario 'random' \(random\); allowed: class"
    ):
        resolve(BASE)


def test_pruner_must_reach_the_sparsity_on_every_model(resolve, tmp_path, known):
    """Asked once: the second plan finds the answers, good and bad, and starts no process."""
    config = changed("grid/sparsities", ["dense", 0.9, 0.9999])
    config["grid"]["models"] = {"resnet8": {}, "thin": {"method": "resnet8", "width": 1}}
    sentence = (
        "grid.pruners.omp: thin on digits cannot be pruned to 0.9999: none of its 307 prunable weights would be left; "
        "allowed: at most 0.9967"
    )
    with pytest.MonkeyPatch.context() as patch:
        for _ in range(2):
            with pytest.raises(LacunaError) as caught:
                resolve(config, data_folder=tmp_path, cache=tmp_path)
            assert str(caught.value) == sentence
            patch.setattr(feasibility, "in_child", None)
        config["grid"]["sparsities"] = [0.9]
        assert resolve(config, data_folder=tmp_path, cache=tmp_path)
        config["grid"]["sparsities"] = [0.8]
        with pytest.raises(TypeError, match="not callable"):
            resolve(config, data_folder=tmp_path, cache=tmp_path)
    answered = json.loads((tmp_path / "feasibility.json").read_text())["content"]
    assert sorted(a["refused"] for a in answered.values() if "refused" in a) == [sentence.partition("0.9999: ")[2]]
    assert sum(a == {} for a in answered.values()) == 3
    assert sum("parameters" in a for a in answered.values()) == 2


def test_recipe_has_the_method_of_its_label_or_sgd(resolve):
    config = changed("grid/recipes", {"fast": {}, "mine": {"epochs": 182}, "slow": {"method": "standard"}})
    recipes = resolve(config).axes["recipes"]
    assert [(label, entry.method) for label, entry in recipes.items()] == [
        ("fast", "fast"), ("mine", "sgd"), ("slow", "standard"),
    ]  # fmt: skip
    assert recipes["fast"].values["schedule"] == "triangular"
    assert recipes["slow"].values == recipes["mine"].values


def test_model_with_an_import_is_of_that_method(resolve):
    config = changed("grid/models", {"mine": {"import": "my.nets:make", "kwargs": {"width": 3}}})
    (entry,) = resolve(config).axes["models"].values()
    assert (entry.method, entry.values) == ("import", {"import": "my.nets:make", "kwargs": {"width": 3}})


def test_models_and_unlearners_are_tried_before_any_job(resolve, tmp_path):
    """One child answers for the whole grid; what the networks cost is left for the processes of jobs."""
    config = changed("grid/models", {"resnet8": {}, "vit": {"patch": 2, "width": 8, "depth": 2, "heads": 2}})
    config["grid"]["unlearners"]["cf_k"] = {"k": 4}
    with pytest.raises(LacunaError, match=r"^grid.unlearners.cf_k: cannot work on vit: cf_k.k: 4 is not allowed for"):
        resolve(config, data_folder=tmp_path, cache=tmp_path)
    config["grid"]["models"]["vit"]["patch"] = 3
    with pytest.raises(LacunaError, match=r"^grid.models.vit: on digits: it cannot take 1×8×8 images: vit.patch: 3 do"):
        resolve(config, data_folder=tmp_path, cache=tmp_path)
    del config["grid"]["models"]["vit"]
    sizes = resolve(config, data_folder=tmp_path, cache=tmp_path).sizes
    assert set(sizes) == {("digits", "resnet8")}
    assert 70_000 < sizes[("digits", "resnet8")]["parameters"] < 80_000
    assert resolve(config, cache=tmp_path).sizes == sizes, "a job reads them"
    assert resolve(config).sizes == {}
    (tmp_path / "sizes.json").write_text("{damaged")
    assert resolve(config, cache=tmp_path).sizes == {}


def test_unpruning_is_tried_on_an_imported_network(resolve, tmp_path, monkeypatch):
    """Once for each method inside and sparse state: how much grows, and how often, is no question."""
    seen = []

    def answers(questions, *rest):
        seen.extend(question for question in questions if question.axis == "unprune")
        return [{"refused": "no; allowed: yes"} if q.axis == "unprune" else {} for q in questions]

    monkeypatch.setattr(checks, "answers", answers)
    config = changed("grid/unprune", [{"unlearner": ["ga", "slow"], "p": [5, 20], "rounds": [1, 3]}])
    resolve(config, data_folder=tmp_path, cache=tmp_path)
    assert not seen, "networks of lacuna's own are not tried"
    config["grid"] |= {"models": {"mine": {"import": "nets:make"}}, "sparsities": ["dense", 0.5, 0.9]}
    with pytest.raises(LacunaError, match=r"^grid.unprune.unprune.ga.p5.r1: cannot work on mine at omp 0.50: no; allo"):
        resolve(config, data_folder=tmp_path, cache=tmp_path)
    assert len(seen) == 16 and len({repr(question) for question in seen}) == 4
    assert {(q.sparsity, q.method["unlearner"]["lr"]) for q in seen} == {
        (sparsity, lr) for sparsity in ("0.50", "0.90") for lr in (1e-4, 1e-5)
    }


def test_models_that_cannot_be_built_are_one_sentence(resolve, tmp_path, monkeypatch):
    class Child:
        returncode, stdout, stderr = 1, "", "Traceback ...\nMemoryError: no\n"

    monkeypatch.setattr(feasibility, "in_child", lambda *a: Child)
    with pytest.raises(LacunaError, match=r"^the models of the grid cannot be built: MemoryError: no$"):
        resolve(BASE, data_folder=tmp_path, cache=tmp_path)


# ---- YAML ------------------------------------------------------------------------------------------------------------


def test_key_given_twice_is_refused_with_its_line(resolve, tmp_path):
    text = yaml.safe_dump(BASE, sort_keys=False).replace("    slow:", "    ga:")
    line = 1 + max(i for i, row in enumerate(text.splitlines()) if row.startswith("    ga:"))
    with pytest.raises(LacunaError) as caught:
        resolve(text)
    assert str(caught.value) == f"{tmp_path / '0.yaml'}, line {line}: key 'ga' is given twice; allowed: once"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-2e+3", -2e3),
        (".5e1", 5.0),
        ("1.e2", 100.0),
        ("5e-4", 5e-4),
        ("'1e-4'", "1e-4"),
        ("e5", "e5"),
        ("0.90", 0.9),
    ],
)
def test_numbers_in_scientific_notation_are_numbers(tmp_path, text, value):
    (tmp_path / "a.yaml").write_text(f"lr: {text}\n")
    found = read_yaml(tmp_path / "a.yaml")["lr"]
    assert found == value
    assert type(found) is type(value)


def test_anchors_and_merges_work(tmp_path):
    (tmp_path / "a.yaml").write_text("a: &a {lr: 1, epochs: 2}\nb: {<<: *a, lr: 3}\nc:\n  <<: *a\n  decay: 4\nd: *a\n")
    found = read_yaml(tmp_path / "a.yaml")
    assert found["b"] == {"lr": 3, "epochs": 2}
    assert found["c"] == {"lr": 1, "epochs": 2, "decay": 4}
    assert found["d"] == found["a"] == {"lr": 1, "epochs": 2}
    (tmp_path / "a.yaml").write_text("a: &a {lr: 1}\nb: {<<: *a, lr: 3, lr: 4}\n")
    with pytest.raises(LacunaError, match="line 2: key 'lr' is given twice"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no mapping; allowed: 'key: value' lines"),
        ("- a\n- b\n", "holds no mapping"),
        ("a: 1\nb: [1\nc: 2\n", "line 3: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("a: *nothing\n", "not valid YAML"),
        ("? [1, 2]\n: 3\n", "line 1: a key must be a text, but it is read as a list; allowed: with quotes"),
        ("~: 3\n", "line 1: a key must be a text, but '~' is read as null; allowed: with quotes"),
        (
            "a:\n  2024-01-01: 3\n",
            "line 2: a key must be a text, but '2024-01-01' is read as a date; allowed: with quotes",
        ),
        ("a: \x07\n", "not valid YAML"),
        ("a:\n  no: 1\n", "line 2: a key must be a text, but 'no' is read as false; allowed: with quotes"),
        ("a:\n- 010\n", "line 2: 010 is octal or sexagesimal in YAML; allowed: a decimal number"),
        ("a: 1:30\n", "line 1: 1:30 is octal or sexagesimal in YAML; allowed: a decimal number"),
        ("a: 2024-13-45\n", "not valid YAML (month must be in 1..12)"),
        ("a:\n\tb: 1\n", "line 2: not valid YAML (a tab at the beginning of a line; YAML takes blanks)"),
        (f"a: {'[' * 5000}\n", "not valid YAML (nested too deeply)"),
        ("a: &a [*a]\n", "not valid YAML (found unconstructable recursive node)"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(
                f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in itertools.pairwise("abcdefghij")
            ),
            "too many values behind its aliases; allowed: at most 100,000",
        ),
        (f"a: {'x' * 1_000_000}\n", "too large; allowed: a YAML file of at most 1,000,000 bytes"),
        ("__use_yte__: true\na: 1\n", "key '__use_yte__' is not allowed, Snakemake runs the code of such a file"),
    ],
)
def test_file_that_is_no_mapping_is_refused_by_name(tmp_path, text, said):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(LacunaError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


def test_file_that_cannot_be_read_is_refused_by_name(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(LacunaError, match=r"/no\.yaml: no such file; allowed: an experiment's file"):
        read_yaml(tmp_path / "no.yaml")
    for path, said in (
        (tmp_path, "directory"),
        (tmp_path / "latin.yaml", "not UTF-8"),
    ):
        with pytest.raises(
            LacunaError, match=rf"^{re.escape(str(path))}: cannot be read .*{said}.*; allowed: a YAML file$"
        ):
            read_yaml(path)


# ---- the catalogue ---------------------------------------------------------------------------------------------------


def test_catalogue_is_made_once_and_anew_when_a_source_changes(tmp_path, monkeypatch, known):
    calls = []

    class Child:
        returncode, stderr, stdout = 0, "", json.dumps(known)

    monkeypatch.setattr(catalogue.subprocess, "run", lambda *a, **k: calls.append(a) or Child)
    assert catalogue.load(tmp_path / "cache") == catalogue.load(tmp_path / "cache") == known
    assert len(calls) == 1
    (stored,) = (tmp_path / "cache").iterdir()
    stored.rename(stored.with_name("catalogue-0123456789abcdef.json"))
    assert catalogue.load(tmp_path / "cache") == known
    assert len(calls) == 2
    assert len(list((tmp_path / "cache").iterdir())) == 1, "the old one is gone"
    content = stored.read_text()
    for harm in ("{damaged", "[]", content.replace('"default": 0.1', '"default": 0.2', 1)):
        before = len(calls)
        assert harm != content
        stored.write_text(harm)
        assert catalogue.load(tmp_path / "cache") == known, "an edited default is never used"
        assert len(calls) == before + 1
    monkeypatch.setattr(Child, "returncode", 1)
    monkeypatch.setattr(Child, "stderr", "Traceback ...\nSyntaxError: invalid syntax\n")
    with pytest.raises(LacunaError, match=r"^the methods of lacuna cannot be listed: SyntaxError: invalid syntax$"):
        catalogue.load(tmp_path / "elsewhere")


def test_catalogue_is_made_anew_when_a_source_moves_to_another_folder(tmp_path, monkeypatch, known):
    calls = []
    child = type("Child", (), {"returncode": 0, "stderr": "", "stdout": json.dumps(known)})
    monkeypatch.setattr(catalogue.subprocess, "run", lambda *a, **k: calls.append(a) or child)
    monkeypatch.setattr(catalogue, "_SOURCES", tmp_path / "src")
    for folder in ("a", "b"):
        (tmp_path / "src" / folder).mkdir(parents=True)
    (tmp_path / "src/a/method.py").touch()
    catalogue.load(tmp_path / "cache")
    (tmp_path / "src/a/method.py").rename(tmp_path / "src/b/method.py")
    catalogue.load(tmp_path / "cache")
    assert len(calls) == 2


def test_catalogue_holds_what_a_plan_needs(known):
    assert known["unlearners"]["retrain"]["oracle"]
    assert not known["unlearners"]["ga"]["oracle"]
    assert known["unlearners"]["ga"]["module"] == "lacuna.unlearning.methods.ga"
    assert all(
        "schema" in e
        for axis in ("datasets", "models", "recipes", "scenarios", "pruners", "unlearners")
        for e in known[axis].values()
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unlearners": {"retrain": {}, "salum": {}}}, "'salum' is not known (did you mean 'salun'?); allowed: "),
        ({"unlearners": {"retrain": {}, "ga\n": {}}}, 'grid.unlearners: "ga\\n" is not allowed; allowed: a label'),
        ({"sparsities": ["0.9\n"]}, 'grid.sparsities[0]: "0.9\\n" is not allowed'),
        ({"sparsities": ["0.\u0669"]}, "grid.sparsities[0]: "),
        (
            {"models": {"m": {"import": "nets:make\n"}}},
            'grid.models.m.import: "nets:make\\n" is not allowed; allowed: a text like',
        ),
        (
            {"unlearners": {"retrain": {}, "ga": {}, "GA": {"method": "ga"}}},
            "grid.unlearners.GA: differs from 'ga' in capitals alone, which not every file system tells apart",
        ),
        (
            {"scenarios": {"CON": {"method": "random"}}},
            "grid.scenarios.CON: 'CON' is not allowed, Windows has a device",
        ),
        ({"scenarios": {"nul.a": {"method": "random"}}}, "grid.scenarios.nul.a: 'nul.a' is not allowed, Windows"),
        ({"datasets": {"mine": {"path": "x.npz"}}}, "with a label of your own, one of these as its method"),
        ({"unlearners": {"retrain": {}, "gä": {}}}, 'grid.unlearners: "gä" is not allowed'),
        ({"unlearners": {"retrain": {}, 1: {"method": "ga"}}}, "at most 64 long, in quotes"),
        (
            {"unlearners": {"retrain": {}, "ga": {"lr": "0.1"}}},
            'lr: "0.1" is not allowed; allowed: a number > 0, without',
        ),
        (
            {"scenarios": {"a" * 64: {"method": "random"}}},
            "Snakemake takes its end for an endless repetition",
        ),
    ],
)
def test_names_that_cannot_be_are_refused(resolve, change, said):
    with pytest.raises(LacunaError) as caught:
        resolve(BASE | {"grid": GRID | change})
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["x\n", "lpt1", "ab" * 21])
def test_names_of_experiments_are_as_strict(resolve, name):
    with pytest.raises(LacunaError, match=r"^name: "):
        resolve(BASE | {"name": name})


def test_an_overlay_names_itself(resolve):
    """Else its tables would take the place of the default experiment's."""
    overlay = {"grid": GRID}
    with pytest.raises(LacunaError, match=r"1\.yaml: missing key 'name', and the tables of 'mine' .* such as name: 1$"):
        resolve(BASE, overlay)
    assert resolve(BASE, overlay, overrides={"name": "other"}).name == "other"
    assert resolve(BASE, overlay | {"name": "other"}, {"device": "auto"}).name == "other"


def test_texts_inside_a_value_of_the_command_line_are_read_as_yaml(resolve):
    """Snakemake leaves them texts: `--config 'tuning={trials: 4, seeds: [5]}'`."""
    grid = json.loads(json.dumps(GRID | {"seeds": ["7"], "sparsities": ["dense", "0.9"]}))
    grid["recipes"]["short"] = {"epochs": "5", "rewind_epoch": "1", "lr": "1e-2", "flip": "false"}
    found = resolve(BASE, overrides={"tuning": {"trials": "4", "seeds": ["5"]}, "grid": grid})
    assert found.tuning["trials"] == 4 and found.tuning["seeds"] == [5]
    assert found.seeds == (7,)
    assert found.entry("recipes", "short").values["lr"] == 0.01
    assert found.entry("recipes", "short").values["flip"] is False
    with pytest.raises(LacunaError, match=r"^tuning.trials: \"four\" is not allowed; allowed: a whole number"):
        resolve(BASE, overrides={"tuning": {"trials": "four"}})


def test_message_gets_the_line_of_its_key(tmp_path):
    default, overlay = tmp_path / "config.yaml", tmp_path / "mine.yaml"
    default.write_text("name: a\ndevice: tpu\ngrid: {seeds: [0]}\n")
    overlay.write_text(
        "name: b\ngrid:\n  seeds:\n    - 0\n    - -1\n  unlearners:\n    ft.v2: {lr: 0}\n    ga:\n      rte: 1\n"
    )

    def line(message, **overrides):
        return located(message, [default, overlay], overrides).removesuffix(message)

    assert line('device: "tpu" is not allowed') == f"{default}, line 2: "
    assert line("grid.seeds[1]: -1 is not allowed") == f"{overlay}, line 5: "
    assert line("grid.unlearners.ft.v2.lr: 0 is not allowed") == f"{overlay}, line 7: "
    assert line("grid.unlearners.ga: unknown key 'rte'; allowed: lr") == f"{overlay}, line 9: "
    assert line("grid.unlearners.ft: 'ft' is not known") == f"{overlay}, line 6: "
    assert line("grid: missing key 'models'; it must be given") == f"{overlay}, line 2: "
    overlay.write_text("name: b\nGrid: {}\n")
    assert line("config: unknown key 'Grid'; allowed: name") == f"{overlay}, line 2: "
    # not of a file, or of no key of one
    assert line("grid.seeds[1]: -1 is not allowed", grid={}) == ""
    assert line("the models of the grid cannot be built") == ""


def test_an_error_about_an_entry_s_file_names_the_option(resolve, tmp_path):
    config = BASE | {"grid": GRID | {"datasets": {"x": {"method": "npz", "path": "nothere.npz"}}}}
    with pytest.raises(LacunaError, match=r"^grid.datasets.x.path: nothere.npz: no such file"):
        resolve(config, data_folder=tmp_path)
