"""Dense model and its rewind state → a sparse model, trained under its mask."""

from job import job, without_method
from model_job import checkpoint_of, load_data, use_device, write_history, write_job

from lacuna.fields import build
from lacuna.pruning import PRUNERS
from lacuna.randomness import derive
from lacuna.store import load_into, load_state, new_model, save_mask, save_state
from lacuna.training import RECIPES, state_of

with job(snakemake) as say:
    w, params = snakemake.wildcards, snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    pruner = build(PRUNERS[params.pruner["method"]], without_method(params.pruner))
    data, meta = load_data(snakemake, device, recipe, dense=True)
    seed = derive(int(w.seed), "prune", w.dataset, w.model, w.recipe, w.pruner, w.sparsity)
    model = load_into(new_model(params.model, meta, device), snakemake.input.model)
    mask, run = pruner.prune(
        model,
        load_state(snakemake.input.rewind),
        w.sparsity,
        recipe,
        data,
        seed=seed,
        checkpoint=checkpoint_of(snakemake),
        log=say,
        name=f"prune {w.model} to {w.pruner}-{w.sparsity}",
    )
    say(f"sparsity {mask.sparsity:.6f} of the prunable weights")
    save_mask(snakemake.output.mask, mask)
    write_history(snakemake.output.history, run.history)
    write_job(snakemake, snakemake.output.job, run, device, seed, sparsity_per_layer=mask.sparsity_per_layer())
    save_state(snakemake.output.model, state_of(model))
