"""An unlearned model and the original one → how many epochs on the forget set bring its accuracy back."""

from lacuna_workflow.job import job, record_of, without_method
from lacuna_workflow.model_job import load_data, use_device

from lacuna.artifacts.files import write_json
from lacuna.fields import build
from lacuna.measurement.relearning import Relearning, relearn
from lacuna.models.files import load_into, new_model
from lacuna.randomness import derive
from lacuna.sparsity.files import load_mask
from lacuna.training.recipes import RECIPES

with job(snakemake) as log:
    w, params, inputs = snakemake.wildcards, snakemake.params, snakemake.input
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    data, meta = load_data(snakemake, device, recipe)
    model, original = (
        load_into(new_model(params.model, meta, device), path) for path in (inputs.model, inputs.original)
    )
    result = relearn(
        model,
        original,
        data,
        build(Relearning, params.relearning),
        seed=derive(int(w.seed), "relearn", w.dataset, w.model, w.recipe, w.scenario, w.state, w.unlearner),
        mask=load_mask(inputs.mask),
        log=log,
    )
    write_json(snakemake.output.relearn, result | {"settings": params.relearning, **record_of(snakemake)})
    log(f"epochs {result['epochs']}, from {result['accuracy'][0]:.2f} % to {result['target']:.2f} % on D_f")
