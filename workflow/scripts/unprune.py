"""Sparse model, θ_0 and forget split → a model that was grown, unlearned and pruned back, its predictions and cost."""

from lacuna_workflow.cell_job import stream_of, write_cell
from lacuna_workflow.job import job, without_method
from lacuna_workflow.model_job import checkpoint_of, load_data, use_device

from lacuna.artifacts.coordinates import State
from lacuna.fields import build
from lacuna.measurement.energy import EnergyMeter
from lacuna.models.files import load_into, load_state, new_model
from lacuna.procedures.unpruning import unprune
from lacuna.pruning import PRUNERS
from lacuna.sparsity.files import load_mask
from lacuna.training.recipes import RECIPES

with job(snakemake) as log:
    w, inputs, params = snakemake.wildcards, snakemake.input, snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    data, meta = load_data(snakemake, device, recipe)
    around, state = params.unprune["unlearner"], str(State(w.pruner, w.sparsity))
    # the stream of the unlearner itself: what differs from its cell is the mask
    seed = stream_of(w, state, around)
    with EnergyMeter(device) as meter:
        outcome = unprune(
            params.unlearner["method"],
            load_into(new_model(params.model, meta, device), inputs.model),
            data,
            initial=load_state(inputs.initial),
            hyperparameters=without_method(params.unlearner),
            mask=load_mask(inputs.mask),
            pruner=build(PRUNERS[params.pruner["method"]], without_method(params.pruner)),
            sparsity=w.sparsity,
            seed=seed,
            checkpoint=checkpoint_of(snakemake),
            log=log,
            name=f"{w.unlearner} on {state}, {w.scenario}",
            **{k: v for k, v in without_method(params.unprune).items() if k != "unlearner"},
        )
    write_cell(snakemake, outcome, data, meta, device, seed, **meter.facts)
