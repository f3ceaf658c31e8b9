"""A model that saw everything, its mask, θ_0 and training → how far it went, in how many steps; how its loss bends."""

from dataclasses import asdict, replace

from lacuna_workflow.job import job, record_of, without_method
from lacuna_workflow.model_job import load_data, use_device

import torch

from lacuna.artifacts.files import write_json
from lacuna.artifacts.jobs import read_job
from lacuna.fields import build
from lacuna.measurement.curvature import distance, largest_singular_value, training_steps
from lacuna.models.files import load_into, load_state, new_model
from lacuna.randomness import derive
from lacuna.sparsity.files import load_mask
from lacuna.training.recipes import RECIPES

# the Hessian of so many samples stands for that of D: each step of the iteration reads them twice
SAMPLES = 1000

with job(snakemake) as log:
    w, inputs, params = snakemake.wildcards, snakemake.input, snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    data, meta = load_data(snakemake, device, recipe, dense=True)
    seed = derive(int(w.seed), "curvature", w.dataset, w.model, w.recipe, w.state)
    order = torch.randperm(len(data.index("retain")), generator=torch.Generator().manual_seed(derive(seed, "samples")))
    sample = data.index("retain")[order[:SAMPLES].to(device)]
    model = load_into(new_model(params.model, meta, device), inputs.model)
    mask, initial = load_mask(inputs.mask), load_state(inputs.initial)
    curvature = largest_singular_value(model, replace(data, parts={"retain": sample}), "retain", mask=mask, seed=seed)
    weights = {name: p.detach().cpu() for name, p in model.named_parameters()}
    facts = asdict(curvature) | {"distance": distance(weights, initial, mask), "samples": len(sample)}
    jobs = [read_job(path) for path in (inputs.job, inputs.dense_job)]
    facts |= {"lr": recipe.lr, "steps": training_steps(*jobs)}
    if not curvature.converged:
        log(f"warning: the power iteration has not converged after {curvature.iterations} steps")
    log(", ".join(f"{name} {value:g}" for name, value in facts.items()))
    write_json(snakemake.output.curvature, facts | record_of(snakemake))
