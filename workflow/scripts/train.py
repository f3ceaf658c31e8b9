"""Images and split → the dense original model and its states at the start and at the rewind epoch."""

from lacuna_workflow.job import job, without_method
from lacuna_workflow.model_job import checkpoint_of, load_data, use_device, write_history, write_job

from lacuna.fields import build
from lacuna.models.files import new_model, save_state
from lacuna.models.inference import state_of
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.sparsity.files import save_mask
from lacuna.sparsity.mask import Mask
from lacuna.training.loop import fit
from lacuna.training.recipes import RECIPES

with job(snakemake) as log:
    w, params = snakemake.wildcards, snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    data, meta = load_data(snakemake, device, recipe, dense=True)
    seed = derive(int(w.seed), "train", w.dataset, w.model, w.recipe)
    model = new_model(params.model, meta, device)
    reinitialise(model, derive(seed, "init"))
    initial = state_of(model)
    run = fit(
        model,
        recipe,
        data,
        seed=seed,
        snapshot_epoch=recipe.rewind_epoch,
        checkpoint=checkpoint_of(snakemake),
        log=log,
        name=f"train {w.model} on {w.dataset}",
    )
    save_state(snakemake.output.initial, initial)
    save_state(snakemake.output.rewind, run.snapshot)
    save_mask(snakemake.output.mask, Mask.full(model))
    write_history(snakemake.output.history, run.history)
    save_state(snakemake.output.model, state_of(model))
    write_job(snakemake, snakemake.output.job, run, device, seed)
