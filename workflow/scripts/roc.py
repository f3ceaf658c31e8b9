"""All population.json of an experiment → roc.csv."""

from job import job

from lacuna.artifacts import atomic, read_json
from lacuna.reporting.tables import roc_table

with job(snakemake) as say:
    table = roc_table(map(read_json, snakemake.input.populations), snakemake.params.oracles, snakemake.params.twins)
    with atomic(snakemake.output.roc) as temporary:
        table.to_csv(temporary, index=False)
    say(f"{len(snakemake.input.populations)} cells, {len(table)} points")
