"""The tables of an experiment, and the experiment as it was resolved → experiment.json."""

from lacuna_workflow.job import job

from lacuna.artifacts.files import content_digest, write_json

with job(snakemake) as log:
    tables = {name: content_digest(path) for name, path in snakemake.input.items()}
    write_json(snakemake.output.experiment, snakemake.params.experiment | {"tables": tables})
    log(f"{len(tables)} tables")
