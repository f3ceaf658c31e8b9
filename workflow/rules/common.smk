# The experiment, what rules ask of it, and what a wildcard may be.
import gc

from lacuna_workflow.batches import in_batches
from lacuna_workflow.inputs import JobInputs
from lacuna_workflow.params import JobParams, one_of
from lacuna_workflow.resources import JobResources, reading, small
from lacuna_workflow.start import results_in
from lacuna_workflow.study import read_study
from lacuna_workflow.targets import RunTargets

from lacuna.reporting.report.assets import digest_of_assets

# a plan keeps what it makes: looking for garbage in it again and again takes a tenth of a large one's time
gc.set_threshold(100_000, 50, 1000)

STUDY = read_study(workflow, config)
# another dict: a workflow that imports this one keeps its own
config = STUDY.config_of_jobs(config)
EXPERIMENT, KNOWN, PATHS = STUDY[:3]
results_in(PATHS.there, STUDY.batch)
PARAMS = JobParams(EXPERIMENT, KNOWN)
INPUTS = JobInputs(PARAMS, PATHS)
TARGETS = RunTargets(INPUTS, PATHS, STUDY.batch, begin=lambda: in_batches(workflow, STUDY, lambda: len(TARGETS.reads)))
RESOURCES = JobResources(EXPERIMENT)

ENVIRONMENT = "../envs/lacuna.yaml"
at, of_target = PATHS.at, PATHS.of_target
log_of, benchmark_of = PATHS.log_of, PATHS.benchmark_of
entry_of, code_of = PARAMS.entry_of, PARAMS.code_of

# of all datasets: names of classes are told in figures and on the page
METAS = [at("data", "meta.json").format(dataset=label) for label in EXPERIMENT.axes["datasets"]]
# what the jobs that make a model share
IMAGES = {"images": at("data", "images.safetensors"), "meta": at("data", "meta.json")}
NETWORK = {"model": entry_of("models", "model"), "recipe": entry_of("recipes", "recipe")}


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
