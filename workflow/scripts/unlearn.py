"""Original model and forget split → an unlearned model, its predictions and what it cost. Serves the oracles too."""

from pathlib import Path

from lacuna_workflow.cell_job import stream_of, write_cell
from lacuna_workflow.job import job, without_method
from lacuna_workflow.model_job import checkpoint_of, load_data, use_device

from lacuna.artifacts.jobs import read_job
from lacuna.fields import build
from lacuna.measurement.energy import EnergyMeter, sum_of
from lacuna.models.files import load_into, load_state, new_model, save_state
from lacuna.models.inference import state_of
from lacuna.pruning import PRUNERS
from lacuna.sparsity.files import load_mask
from lacuna.training.recipes import RECIPES
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning import unlearn

with job(snakemake) as log:
    w, params = snakemake.wildcards, snakemake.params
    inputs, files = dict(snakemake.input.items()), dict(snakemake.output.items())
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    data, meta = load_data(snakemake, device, recipe)
    # .../{scenario}/{state}/{unlearner}/model.safetensors, whichever wildcards the rule makes the state of
    state = Path(snakemake.output.model).parts[-3]
    seed = stream_of(w, state, w.unlearner)
    model = new_model(params.model, meta, device)
    options = without_method(params.unlearner)
    if "model" in inputs:
        load_into(model, inputs["model"])
    if "mask" in inputs:
        options["mask"] = load_mask(inputs["mask"])
        options["compact"] = params.compact
    for path in inputs.get("start", []):  # a retraining from a state of the original's training
        which = "initial" if options["start"] == "theta0" else "rewind"
        options["origin"] = StartingPoint(**{which: load_state(path)})
    if "previous" in inputs:  # an exact oracle, to be pruned
        load_into(model, inputs["previous"])
        states = [state_of(model), load_state(inputs["rewind"]), load_state(inputs["initial"])]
        options["origin"] = StartingPoint(*states, load_mask(inputs["previous_mask"]))
        options["pruner"] = build(PRUNERS[params.pruner["method"]], without_method(params.pruner))
        options["sparsity"] = w.sparsity
    with EnergyMeter(device) as meter:
        outcome = unlearn(
            params.unlearner["method"],
            model,
            data,
            seed=seed,
            checkpoint=checkpoint_of(snakemake),
            log=log,
            name=f"{w.unlearner} on {state}, {w.scenario}",
            **options,
        )
    energy = meter.facts
    if "previous_job" in inputs and not options["pruner"].before_training:
        # an oracle from scratch costs what it is pruned from too
        before = read_job(inputs["previous_job"])
        outcome.fit.add(before)
        energy = sum_of(energy, before)
    if outcome.origin is not None:
        save_state(files["rewind"], outcome.origin.rewind)
        save_state(files["initial"], outcome.origin.initial)
    write_cell(snakemake, outcome, data, meta, device, seed, **energy)
