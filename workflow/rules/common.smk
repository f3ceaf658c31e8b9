# The experiment, the one place that builds paths, and what rules ask of the grid.
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The library is found without being installed, here and in every script.
SOURCES = str(Path(workflow.basedir) / "src")
if SOURCES not in sys.path:
    sys.path.insert(0, SOURCES)
if SOURCES not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [SOURCES, os.environ.get("PYTHONPATH")])
    )

from lacuna import catalogue
from lacuna.codedigest import code_digest
from lacuna.config import load as load_experiment
from lacuna.config import split_state
from lacuna.errors import LacunaError

SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"
ENVIRONMENT = "../envs/lacuna.yaml"

# ---- paths ----------------------------------------------------------------------------------------------------------

DATA = "results/data/{dataset}/"
SPLITS = "results/splits/{dataset}/seed{seed}/"
# Models that saw everything, by sparse state; and what became of them, by scenario and unlearner.
TRAINED = "results/models/{dataset}/{model}/{recipe}/seed{seed}/"
CELLS = "results/cells/{dataset}/{model}/{recipe}/seed{seed}/{scenario}/"
TABLES = "results/tables/{experiment}/"
FIGURES = "results/figures/{experiment}/"
LOGS = "results/logs/"
BENCHMARKS = "results/benchmarks/"


def beside(pattern, kind):
    """The log or benchmark that belongs to an output pattern: the same path under another root."""
    root, suffix = (LOGS, ".log") if kind == "log" else (BENCHMARKS, ".tsv")
    return root + pattern.removeprefix("results/").removesuffix("/") + suffix


# ---- the experiment -------------------------------------------------------------------------------------------------


def read_experiment():
    """The checked experiment: the default file, then every --configfile, then --config."""
    settings = workflow.config_settings
    default = Path("config/config.yaml")
    files = [default] if default.exists() or not settings.configfiles else []
    try:
        known = catalogue.load(".snakemake/lacuna")
        experiment = load_experiment(
            [*files, *settings.configfiles],
            settings.config,
            Path(workflow.basedir) / "workflow/schemas/config.schema.yaml",
            known,
            # a job's own process need not read the user's data again
            data_folder="results/data" if workflow.is_main_process else None,
        )
    except LacunaError as error:
        raise WorkflowError(str(error)) from None
    return experiment, known


EXPERIMENT, KNOWN = read_experiment()
config["device"] = EXPERIMENT.device


def one_of(labels):
    """A wildcard's pattern: exactly these labels."""
    return "|".join(label.replace(".", r"\.") for label in labels) or "(?!)none"


def unlearners_by(method):
    """The labels of the unlearners with this method; None: of all that are no oracle."""
    entries = EXPERIMENT.axes["unlearners"]
    return [
        label
        for label, entry in entries.items()
        if (label not in EXPERIMENT.oracles if method is None else entry.method == method)
    ]


wildcard_constraints:
    dataset=one_of(EXPERIMENT.axes["datasets"]),
    model=one_of(EXPERIMENT.axes["models"]),
    recipe=one_of(EXPERIMENT.axes["recipes"]),
    seed=r"\d+",
    scenario=one_of(EXPERIMENT.axes["scenarios"]),
    pruner=one_of(EXPERIMENT.axes["pruners"]),
    sparsity=r"0\.\d+",
    state="dense|({})-0\\.\\d+".format(one_of(EXPERIMENT.axes["pruners"])),
    experiment=one_of([EXPERIMENT.name]),
    figure=one_of(EXPERIMENT.figures),


# ---- params: each rule depends on its own part of the config, and on the code that it runs --------------------------


def options(entry):
    """A grid entry as one flat dict with sorted keys, so that the order in the file does not matter."""
    return {"method": entry.method} | dict(sorted(entry.values.items()))


OPTIONS = {
    axis: {label: options(entry) for label, entry in entries.items()}
    for axis, entries in EXPERIMENT.axes.items()
}


def entry_of(axis, wildcard):
    """A param: the entry of one axis that a wildcard names."""
    return lambda wildcards: OPTIONS[axis][wildcards[wildcard]]


def unlearner_entry(wildcards):
    """A param: the unlearner's entry; an oracle follows the recipe."""
    entry = OPTIONS["unlearners"][wildcards.unlearner]
    if wildcards.unlearner in EXPERIMENT.oracles:
        return OPTIONS["recipes"][wildcards.recipe] | {"method": entry["method"]}
    return entry


def code_of(script, **axes):
    """A param: the digest of what a script runs, with the modules of the entries that its wildcards name."""
    cache = {}

    def digest(wildcards):
        chosen = tuple(
            KNOWN[axis][EXPERIMENT.entry(axis, wildcards[wildcard]).method]["module"]
            for axis, wildcard in axes.items()
        )
        if chosen not in cache:
            cache[chosen] = code_digest(SCRIPTS / script, *chosen)
        return cache[chosen]

    return digest


# ---- resources ------------------------------------------------------------------------------------------------------

# A GPU is asked for where one is wanted and, with device: auto, seen.
GPU = int(
    EXPERIMENT.device == "cuda"
    or EXPERIMENT.device == "auto"
    and Path("/dev/nvidia0").exists()
)


def memory(megabytes):
    """More at each attempt, for whoever sets retries in a profile."""
    return lambda wildcards, attempt: megabytes * attempt


# ---- targets --------------------------------------------------------------------------------------------------------


def table_files():
    return [
        TABLES.format(experiment=EXPERIMENT.name) + name
        for name in ("cells.csv", "summary.csv", "experiment.json")
    ]


def figure_files():
    return [
        FIGURES.format(experiment=EXPERIMENT.name) + f"{figure}.{suffix}"
        for figure in EXPERIMENT.figures
        for suffix in ("svg", "png")
    ]


def oracle_files(name):
    """The files called `name` of every oracle of a cell's state."""
    return lambda wildcards: [
        (CELLS + "{state}/").format(**wildcards) + f"{label}/{name}"
        for label in EXPERIMENT.oracles
    ]
