"""The dense model → the score of every sample that it was trained on: its loss, −log p_y."""

from lacuna_workflow.job import job, without_method
from lacuna_workflow.model_job import load_data, use_device, write_job

from lacuna.artifacts.files import write_npz
from lacuna.fields import build
from lacuna.measurement.difficulty import loss_of
from lacuna.models.files import load_into, new_model
from lacuna.training.recipes import RECIPES
from lacuna.training.state import TrainingResult

with job(snakemake) as log:
    params = snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    data, meta = load_data(snakemake, device, recipe, dense=True)
    score = loss_of(load_into(new_model(params.model, meta, device), snakemake.input.model), data, "retain")
    index = data.parts["retain"].cpu().numpy()
    write_npz(snakemake.output.scores, "scores", {"index": index, "score": score})
    write_job(snakemake, snakemake.output.job, TrainingResult(), device, 0)
    log(f"loss of {len(index)} samples: mean {score.mean():.4f}, highest {score.max():.4f}")
