# The experiment, the one place that builds paths, and what rules ask of the grid.
import functools
import gc
import itertools
import os
import sys
from pathlib import Path

from lacuna.experiment import catalogue
from lacuna.experiment import limits
from lacuna.experiment.code_digest import code_digest
from lacuna.experiment.config import gpus_for, located
from lacuna.experiment.config import load as load_experiment
from lacuna.data import DATASETS, SCENARIOS
from lacuna.data.user_files import content_of_files
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.sparsity.rounds import rounds_to
from lacuna.experiment.feasibility import modules_of
from lacuna.experiment.shadow_plan import models_of

# a plan keeps what it makes: looking for garbage in it again and again takes a tenth of a large one's time
gc.set_threshold(100_000, 50, 1000)

SCRIPTS = ROOT / "workflow" / "scripts"
ENVIRONMENT = "../envs/lacuna.yaml"

# ---- paths ----------------------------------------------------------------------------------------------------------

# results/models holds models that saw everything, by sparse state; results/cells what became of them, by scenario
# and unlearner; results/shadows the originals of the shadow models. A helper takes a file's name inside its folder and gives the pattern.
FOLDERS = {
    "data": "results/data/{dataset}",
    "splits": "results/splits/{dataset}/seed{seed}",
    "models": "results/models/{dataset}/{model}/{recipe}/seed{seed}",
    "shadows": "results/shadows/{dataset}/{model}/{recipe}/seed{seed}",
    "cells": "results/cells/{dataset}/{model}/{recipe}/seed{seed}/{scenario}",
    "tuning": "results/tuning/{experiment}/{dataset}/{model}/{recipe}",
    "tables": "results/tables/{experiment}",
    "figures": "results/figures/{experiment}",
}


def at(folder, name):
    """The pattern of a file: at("cells", "{state}/{unlearner}/model.safetensors")."""
    return f"{FOLDERS[folder]}/{name}"


def of_target(folder, name):
    """The same of the dataset that a cell is probed on."""
    return at(folder, name).replace("{dataset}", "{target}")


def log_at(folder, name):
    """The log of what a job makes there: the same path under results/logs."""
    return f"{FOLDERS[folder]}/{name}.log".replace("results/", "results/logs/", 1)


def benchmark_at(folder, name):
    """The benchmark of what a job makes there: the same path under results/benchmarks."""
    return f"{FOLDERS[folder]}/{name}.tsv".replace("results/", "results/benchmarks/", 1)


# ---- the experiment -------------------------------------------------------------------------------------------------


def read_experiment():
    """The checked experiment: the default file, here or else beside the Snakefile, every --configfile, --config."""
    settings = workflow.config_settings
    default = Path("config/config.yaml")
    files = [default if default.exists() else ROOT / default, *settings.configfiles]
    try:
        known = catalogue.load(".snakemake/lacuna")
        experiment = load_experiment(
            files,
            settings.config,
            ROOT / "workflow/schemas/config.schema.yaml",
            known,
            # a job's own process need not read the user's data again
            data_folder="results/data" if workflow.is_main_process else None,
            cache=".snakemake/lacuna",
        )
    except LacunaError as error:
        # the sentence alone: a WorkflowError would come with lines of this file
        sys.exit(f"lacuna: {located(str(error), files, settings.config)}")
    for warning in experiment.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return experiment, known


EXPERIMENT, KNOWN = read_experiment()
if workflow.is_main_process:
    from lacuna.experiment.foresight import limits_of

    for sentence in limits_of(EXPERIMENT):
        print(f"note: {sentence}", file=sys.stderr)
config |= {"device": EXPERIMENT.device, "images": EXPERIMENT.images}
# the oracles and their twins
RETRAINED = {*EXPERIMENT.oracles, *EXPERIMENT.twins}


def one_of(labels):
    """A wildcard's pattern: exactly these labels."""
    return "|".join(label.replace(".", r"\.") for label in labels) or "(?!)none"


def unlearners_by(method):
    """The labels of the unlearners with this method; None: of all that start from the original model."""
    entries = EXPERIMENT.axes["unlearners"]
    return [
        label
        for label, entry in entries.items()
        if (label not in RETRAINED if method is None else entry.method == method)
    ]


wildcard_constraints:
    dataset=one_of(EXPERIMENT.datasets),
    model=one_of(EXPERIMENT.axes["models"]),
    recipe=one_of(EXPERIMENT.axes["recipes"]),
    seed=r"\d+",
    scenario=one_of(EXPERIMENT.axes["scenarios"]),
    pruner=one_of(EXPERIMENT.axes["pruners"]),
    sparsity=r"0\.\d+|round\d+",
    state="dense|({})-0\\.\\d+".format(one_of(EXPERIMENT.axes["pruners"])),
    experiment=one_of([EXPERIMENT.name]),
    figure=one_of(EXPERIMENT.figures),
    shadows=r"\d+-\d+",
    target=one_of(EXPERIMENT.axes["targets"]),
    folds=r"\d+",


# ---- params: each rule depends on its own part of the config, and on the code that it runs --------------------------


def options(entry):
    """A grid entry as one flat dict with sorted keys, so that the order in the file does not matter."""
    return {"method": entry.method} | dict(sorted(entry.values.items()))


OPTIONS = {
    axis: {label: options(entry) for label, entry in entries.items()}
    for axis, entries in (EXPERIMENT.axes | {"datasets": EXPERIMENT.datasets}).items()
}
# the entries that make cells: a new target of probes is nothing to the tables of these
GRID = {
    axis: {label: OPTIONS[axis][label] for label in entries}
    for axis, entries in EXPERIMENT.axes.items()
    if axis != "targets"
}


def entry_of(axis, wildcard):
    """A param: the entry of one axis that a wildcard names."""
    entries = {label: options(entry) for label, entry in EXPERIMENT.axes[axis].items()}
    # a function is called for every job; where there is one label, all have the same entry
    return next(iter(entries.values())) if len(entries) == 1 else lambda wildcards: entries[wildcards[wildcard]]


def unlearner_entry(wildcards):
    """A param: the unlearner's entry; an oracle follows the recipe, but for what is its own."""
    entry = OPTIONS["unlearners"][wildcards.unlearner]
    if wildcards.unlearner not in RETRAINED:
        return entry
    if "start" in entry:
        entry = entry | {"start": start_of(wildcards)}
    return OPTIONS["recipes"][wildcards.recipe] | entry


def start_of(wildcards):
    """Where a retraining starts; nothing is removed of a dense network, so that any θ_0 fits it."""
    start = EXPERIMENT.entry("unlearners", wildcards.unlearner).values.get("start")
    return "fresh" if (start, wildcards.state) == ("theta0", "dense") else start


def unpruned(wildcards):
    """The label of the unlearner that a cell un-prunes around."""
    return OPTIONS["unprune"][wildcards.unlearner]["unlearner"]


def unpruned_entry(wildcards):
    """A param: the entry of that unlearner."""
    return OPTIONS["unlearners"][unpruned(wildcards)]


def compacted_state(state):
    """Whether the networks of a state run without their removed filters."""
    pruner = state.rpartition("-")[0]
    return bool(pruner) and EXPERIMENT.entry("pruners", pruner).values.get("compact", False)


def compacts(wildcards):
    """The same of a cell."""
    return compacted_state(wildcards.state)


def compacted():
    """A param: that, asked for each job only where a pruner of the grid removes filters."""
    return compacts if any(entry.values.get("compact") for entry in EXPERIMENT.axes["pruners"].values()) else False


def compaction(wildcards):
    """The module that takes removed filters out, where a state's networks run without them."""
    return ("lacuna.sparsity.compaction",) if compacts(wildcards) else ()


def code_of(script, also=lambda wildcards: (), **axes):
    """A param: the digest of what a script runs, with the modules of the entries that its wildcards name.

    A wildcard's place may be taken by a function of the wildcards that gives the label. also: gives more modules.
    """
    cache = {}

    def digest(wildcards):
        labels = {axis: by(wildcards) if callable(by) else wildcards[by] for axis, by in axes.items()}
        chosen = tuple(also(wildcards))
        for axis, label in labels.items():
            chosen += modules_of(axis, OPTIONS[axis][label], KNOWN)
        if chosen not in cache:
            cache[chosen] = code_digest(SCRIPTS / script, *chosen)
        return cache[chosen]

    return digest


def figure_code(wildcards):
    """A param: the digest of one figure's code, so that changing it draws that figure alone."""
    return code_digest(SCRIPTS / "figure.py", KNOWN["figures"][wildcards.figure]["module"])


# ---- resources ------------------------------------------------------------------------------------------------------

GPU = gpus_for(EXPERIMENT.device)


def memory(megabytes):
    """More at each attempt, for whoever sets retries in a profile."""
    return lambda wildcards, attempt: megabytes * attempt


def megabytes_of(path):
    """The size of an input; a guess as long as nobody made it."""
    try:
        return os.stat(path).st_size / 1e6
    except FileNotFoundError:
        return 200.0


def network_of(wildcards):
    """The sizes of a job's network; a guess where no plan could tell."""
    guess = {"parameters": 25e6, "multiplications_per_pixel": 5e5}
    return EXPERIMENT.sizes.get((wildcards.dataset, wildcards.model), guess)


def model_memory(wildcards, input, attempt):
    """Megabytes of a job that makes a model."""
    return attempt * limits.memory_mb(network_of(wildcards), megabytes_of(input.images), GPU)


def model_runtime(wildcards, input, attempt):
    """Minutes of a job that makes a model, or several: shadow models, folds."""
    epochs = EXPERIMENT.entry("recipes", wildcards.recipe).values["epochs"]
    models = len(models_of(wildcards.get("shadows", "0-0"))) * int(wildcards.get("folds", 1))
    minutes = limits.minutes(network_of(wildcards), megabytes_of(input.images), epochs, GPU, models)
    return limits.allowed(minutes, attempt)


def model_runtime_of_search(wildcards, input, attempt):
    """Minutes of a search: every trial unlearns every start, each for no more epochs than a training has."""
    runs = (EXPERIMENT.tuning or {"trials": 1})["trials"] * len(input.models)
    return min(runs * model_runtime(wildcards, input, attempt), 24 * 60)


# ---- inputs -------------------------------------------------------------------------------------------------------


@functools.cache
def built(axis, label):
    """The object of a dataset's or scenario's entry; built once, not for every job."""
    entry = EXPERIMENT.entry(axis, label)
    return build({"datasets": DATASETS, "scenarios": SCENARIOS}[axis][entry.method], entry.values)


def user_files(axis, wildcard):
    """A param: a digest of the user's files that the entry of one axis reads, so that their content counts.

    They are no inputs: Snakemake would judge them by their times, and take braces in a path for wildcards.
    """

    def content(wildcards):
        entry = built(axis, wildcards[wildcard])
        return entry.content() if axis == "datasets" else content_of_files(entry.files())

    return content


def score_files(wildcards):
    """How hard each training sample is, where a scenario asks: by held-out models, or by the dense one."""
    scenario = EXPERIMENT.entry("scenarios", wildcards.scenario)
    if "scores" not in SCENARIOS[scenario.method].needs:
        return []
    folder = f"held_out_{scenario.values['folds']}" if "folds" in scenario.values else "dense"
    # the scenario's own model and recipe: one forget set for the cells of all
    return [at("models", f"{folder}/scores.npz").format(**scenario.values, **wildcards)]


def previous_state(wildcards):
    """What a level is pruned from: the dense model, or an earlier round of an iterative pruner."""
    rounds = rounds_to(wildcards.sparsity, EXPERIMENT.entry("pruners", wildcards.pruner).values.get("rate"))
    return f"{wildcards.pruner}-{rounds[-1]}" if rounds else "dense"


def from_previous(folder, name):
    """The file of that name where the pruning of a level starts."""
    return lambda wildcards: at(folder, name).format(previous=previous_state(wildcards), **wildcards)


def started_from(**files):
    """An input: the file, by `start`, that a retraining of a state starts from, if it is one that reads any."""

    def chosen(wildcards):
        pattern = files.get(start_of(wildcards))
        return [] if pattern is None else [pattern.format(**wildcards)]

    return chosen


def oracle_files(pattern):
    """The patterns of a pattern's files for every oracle of a cell's state."""
    return [pattern.replace("{unlearner}", label) for label in EXPERIMENT.oracles]


# What a metric may need beside predictions, mask and job, by the name that it declares: the file that a rule makes.
NEEDS = {
    "random_init": at("models", "random_init.npz"),
    "relearn": at("cells", "{state}/{unlearner}/relearn.json"),
    "curvature": at("models", "{state}/curvature.json"),
    "weights": at("cells", "{state}/{unlearner}/model.safetensors"),
    "meta": at("data", "meta.json"),
}


def needed():
    """The needs of the experiment's metrics; what every cell has anyway is none."""
    declared = {need for name in EXPERIMENT.metrics for need in KNOWN["metrics"][name]["needs"]}
    return sorted(declared & set(NEEDS))


def shadow_files(*unlearners):
    """Patterns of what the shadow models of these unlearners answered, beside a cell; without any, of its own."""
    jobs = EXPERIMENT.shadows.jobs() if EXPERIMENT.shadows is not None else ()
    return [
        at("cells", f"{{state}}/{label}/shadows/{job}.npz") for label in unlearners or ["{unlearner}"] for job in jobs
    ]


def figure_tables(wildcards):
    """The tables that a figure reads, by name; unpacked."""
    names = KNOWN["figures"][wildcards.figure]["reads"]
    return {name: at("tables", f"{name}.csv").format(**wildcards) for name in names}


# ---- tuning ---------------------------------------------------------------------------------------------------------

# what has a hyper-parameter: every unlearner but the oracles, which follow the recipe, and the untouched model
TUNABLE = [label for label in unlearners_by(None) if EXPERIMENT.entry("unlearners", label).values]


def tuning_starts(folder, name):
    """The files of that name of every seed, scenario and state that a search starts from."""
    settings = EXPERIMENT.tuning or {"seeds": []}
    places = itertools.product(settings["seeds"], EXPERIMENT.axes["scenarios"], EXPERIMENT.states)
    # bound now: the patterns are formatted for each job
    patterns = [(str(seed), scenario, state) for seed, scenario, state in places]
    return lambda wildcards: [
        at(folder, name).format(**dict(wildcards.items()) | {"seed": seed, "scenario": scenario, "state": state})
        for seed, scenario, state in patterns
    ]


def tuning_code(wildcards):
    """The modules of the scenarios that a search judges by."""
    return [KNOWN["scenarios"][entry.method]["module"] for entry in EXPERIMENT.axes["scenarios"].values()]


def tuned_files(wildcards):
    """An overlay for each dataset, model and recipe of the experiment."""
    if EXPERIMENT.tuning is None:
        sys.exit("lacuna: tuning: missing key; `tuning: {}` in the experiment's file searches with the defaults")
    axes = {axis: EXPERIMENT.axes[f"{axis}s"] for axis in ("dataset", "model", "recipe")}
    return expand(at("tuning", "tuned.yaml"), experiment=EXPERIMENT.name, **axes)


# ---- tables ---------------------------------------------------------------------------------------------------------


def steps_of(cell):
    """The files that a cell's metrics are made of, each with its log, in the order of their making."""
    names = [("models", "{state}/model.safetensors", "{state}")]
    for label in (cell["unlearner"], *EXPERIMENT.oracles):
        names.append(("cells", f"{{state}}/{label}/predictions.npz", f"{{state}}/{label}"))
    if EXPERIMENT.shadows is not None:
        names.append(("cells", "{state}/{unlearner}/population.json", "{state}/{unlearner}/population"))
    for target in EXPERIMENT.targets(cell):
        names.append(
            ("cells", f"{{state}}/{{unlearner}}/probe/{target}.json", f"{{state}}/{{unlearner}}/probe/{target}")
        )
    names.append(("cells", "{state}/{unlearner}/metrics/{experiment}.json", "{state}/{unlearner}/metrics/{experiment}"))
    values = cell | {"experiment": EXPERIMENT.name}
    return [(at(folder, name).format(**values), log_at(folder, log).format(**values)) for folder, name, log in names]


def split_cells():
    """The metrics, of cells, of populations and of probes, that the tables are made of; the cells that they leave out,
    as `missing: allow` permits."""
    metrics, populations, probes, missing = [], [], [], []
    for cell in EXPERIMENT.cells():
        steps = steps_of(cell)
        if EXPERIMENT.missing == "allow" and not all(Path(file).exists() for file, _ in steps):
            missing.append(cell | {"steps": steps})
        else:
            files = [file for file, _ in steps]
            metrics.append(files[-1])
            populations += [file for file in files if Path(file).name == "population.json"]
            probes += [file for file in files if Path(file).parent.name == "probe"]
    return metrics, populations, probes, missing


# once: what is there must not change between the inputs and the params of a rule
METRICS, POPULATIONS, PROBES, MISSING = split_cells()


# ---- targets --------------------------------------------------------------------------------------------------------


def table_files():
    return [
        at("tables", name).format(experiment=EXPERIMENT.name)
        for name in (
            "cells.csv",
            "layers.csv",
            "summary.csv",
            "ranks.csv",
            "disagreement.csv",
            "sparsity.csv",
            "missing.csv",
            "provenance.csv",
            "experiment.json",
            *(f"{table}.csv" for table in EXPERIMENT.tables),
        )
    ]


def figure_files():
    return [
        at("figures", f"{figure}.{suffix}").format(experiment=EXPERIMENT.name)
        for figure in EXPERIMENT.figures
        for suffix in ("svg", "png")
    ]
