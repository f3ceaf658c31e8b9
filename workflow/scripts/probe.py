"""A cell's model and another dataset → how well a linear probe on its features does there."""

from lacuna_workflow.job import coordinates, job, record_of
from lacuna_workflow.model_job import use_device

from lacuna.artifacts.files import read_npz, read_tensors, write_json
from lacuna.artifacts.jobs import read_job
from lacuna.artifacts.meta import read_meta
from lacuna.fields import build
from lacuna.measurement.linear_probe import Probing, Source, transfer
from lacuna.models.files import load_into, new_model

with job(snakemake) as log:
    inputs, params = snakemake.input, snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    own, target = read_meta(inputs.meta), read_meta(inputs.target_meta)
    arrays, _ = read_tensors(inputs.images, "images", mapped=True)
    probe = transfer(
        load_into(new_model(params.model, own, device), inputs.model),
        arrays["x"],
        arrays["y"],
        read_npz(inputs.split, "split"),
        source=Source(own["shape"], own["mean"], own["std"]),
        classes=target["classes"],
        how=build(Probing, params.probe),
    )
    unlearning = read_job(inputs.job)["seconds"]
    probing = probe["feature_seconds"] + probe["probe_seconds"]
    result = {
        "cell": coordinates(snakemake.wildcards),
        "metrics": {
            "target_accuracy": probe["accuracy"],
            "time_s": unlearning,
            "probe_time_s": probing,
            "total_time_s": unlearning + probing,
        },
        "probe": probe,
        "settings": params.probe,
        **record_of(snakemake),
    }
    write_json(snakemake.output.probe, result)
    if probe["derivative"] > params.probe["tolerance"]:
        log(f"warning: a fit ended at a derivative of {probe['derivative']:.2g}")
    log(f"{probe['accuracy']:.2f} % on the test set with l2 {probe['l2']:g}, {probing:.1f} s")
