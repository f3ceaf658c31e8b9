"""A model, dense or of an earlier round, with where it began → a sparser model, trained under its mask."""

from lacuna_workflow.job import job, without_method
from lacuna_workflow.model_job import checkpoint_of, load_data, use_device, write_history, write_job

from lacuna.artifacts.coordinates import State
from lacuna.fields import build
from lacuna.models.files import load_into, load_state, new_model, save_state
from lacuna.models.inference import state_of
from lacuna.pruning import PRUNERS
from lacuna.randomness import derive
from lacuna.sparsity.files import load_mask, save_mask
from lacuna.training.recipes import RECIPES
from lacuna.training.starting_point import StartingPoint

with job(snakemake) as log:
    w, inputs, params = snakemake.wildcards, snakemake.input, snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    pruner = build(PRUNERS[params.pruner["method"]], without_method(params.pruner))
    data, meta = load_data(snakemake, device, recipe, dense=True)
    seed = derive(int(w.seed), "prune", w.dataset, w.model, w.recipe, w.pruner, w.sparsity)
    model = load_into(new_model(params.model, meta, device), inputs.model)
    origin = StartingPoint(
        state_of(model), load_state(inputs.rewind), load_state(inputs.initial), load_mask(inputs.mask)
    )
    mask, run = pruner.prune_once(
        model,
        origin,
        w.sparsity,
        recipe,
        data,
        seed=seed,
        checkpoint=checkpoint_of(snakemake),
        log=log,
        name=f"prune {w.model} to {State(w.pruner, w.sparsity)}",
    )
    log(f"sparsity {mask.sparsity:.6f} of the prunable weights")
    save_mask(snakemake.output.mask, mask)
    write_history(snakemake.output.history, run.history)
    save_state(snakemake.output.model, state_of(model))
    write_job(snakemake, snakemake.output.job, run, device, seed, sparsity_per_layer=mask.sparsity_per_layer())
