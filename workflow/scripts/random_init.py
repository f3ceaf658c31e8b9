"""A network as it is initialised → its logits on the training images."""

from lacuna_workflow.job import comment_for, job
from lacuna_workflow.model_job import load_data, use_device

from lacuna.artifacts.files import write_npz
from lacuna.models.files import new_model
from lacuna.models.inference import logits
from lacuna.models.init import reinitialise
from lacuna.randomness import derive

with job(snakemake) as log:
    w, params = snakemake.wildcards, snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    data, meta = load_data(snakemake, device, None, dense=True)
    model = new_model(params.model, meta, device)
    reinitialise(model, derive(int(w.seed), "random_init", w.dataset, w.model))
    index = data.parts["retain"].cpu().numpy()
    arrays = {"logits": logits(model, data, "retain").numpy(), "index": index}
    write_npz(snakemake.output.predictions, "random_init", arrays, comment_for(snakemake))
    log(f"logits of {len(index)} images")
