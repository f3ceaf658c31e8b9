"""Predictions of a cell and of its oracles → metrics.json."""

from job import commit, coordinates, inputs_of, job

from lacuna.artifacts import read_json, read_npz, unpack_bits, write_json
from lacuna.evaluation import Cell, evaluate

with job(snakemake) as say:
    given, params = snakemake.input, snakemake.params

    def cell(predictions: str, mask: str, job_file: str) -> tuple[Cell, dict]:
        facts = read_json(job_file)
        return Cell.from_arrays(
            read_npz(predictions, "predictions"), unpack_bits(read_npz(mask, "mask")), facts["seconds"]
        ), facts

    own, facts = cell(given.predictions, given.mask, given.job)
    triples = zip(given.oracle_predictions, given.oracle_masks, given.oracle_jobs, strict=True)
    oracles = {label: cell(*files)[0] for label, files in zip(params.oracles, triples, strict=True)}
    metrics = evaluate(own, oracles, params.metrics)
    result = {
        "cell": coordinates(snakemake.wildcards),
        "metrics": metrics,
        "trained_at_commit": facts["commit"],
        "evaluated_at_commit": commit(),
        "job": given.job,
        "inputs": inputs_of(snakemake),
    }
    write_json(snakemake.output.metrics, result)
    say(", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
