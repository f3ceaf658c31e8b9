"""Predictions of a cell and of its oracles → its metrics."""

from lacuna_workflow.job import commit, coordinates, job, record_of

from lacuna.artifacts.files import read_mask, read_npz, read_tensors, told_as, write_json
from lacuna.artifacts.forms import read_form
from lacuna.artifacts.jobs import read_job
from lacuna.artifacts.provenance import facts_of, unchanged
from lacuna.errors import DamagedFile
from lacuna.evaluation import Cell, evaluate, evaluate_layers

with job(snakemake) as log:
    inputs, params = snakemake.input, snakemake.params

    def read(path: str, kind: str) -> dict:
        if path.endswith(".safetensors"):
            return read_tensors(path, "model")[0]
        return read_form(path, kind) if path.endswith(".json") else read_npz(path, kind)

    def cell(predictions: str, mask: str, job_file: str, *needs: str) -> Cell:
        extra = {"job": read_job(job_file)}
        extra |= {name: read(path, name) for name, path in zip(params.needs, needs, strict=True)}
        masks, arrays = read_mask(mask), read_npz(predictions, "predictions")
        try:
            return Cell.from_arrays(arrays, masks, extra["job"]["seconds"], extra)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DamagedFile(predictions, f"{predictions}: not a usable predictions file ({error!r})") from None

    own = cell(inputs.predictions, inputs.mask, inputs.job, *(inputs[f"need_{name}"] for name in params.needs))
    of_oracles = zip(
        inputs.oracle_predictions,
        inputs.oracle_masks,
        inputs.oracle_jobs,
        *(inputs[f"oracle_need_{name}"] for name in params.needs),
        strict=True,
    )
    oracles = {label: cell(*files) for label, files in zip(params.oracles, of_oracles, strict=True)}
    metrics = evaluate(own, oracles, params.metrics)
    result = {
        "cell": coordinates(snakemake.wildcards),
        "metrics": metrics,
        "absent": metrics.absent,
        "notes": metrics.notes,
        "unchanged": unchanged(own.extra["job"]),
        "layers": evaluate_layers(own, oracles, params.metrics),
        # JSON has its keys sorted
        "layer_order": list(own.mask or ()),
        "origin": facts_of(own.extra["job"]),
        "evaluated_at_commit": commit(),
        "job": told_as(inputs.job),
        **record_of(snakemake),
    }
    write_json(snakemake.output.metrics, result)
    log(", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    for name, note in metrics.notes.items():
        log(f"warning: {name}: {note}")
