"""All probes of an experiment → probes.csv and transfer.csv."""

from job import job

from lacuna.artifacts import atomic, read_json
from lacuna.reporting.transfer import probes_table, transfer_table

with job(snakemake) as say:
    params = snakemake.params
    probes = probes_table(map(read_json, snakemake.input.probes))
    tables = {"probes": probes, "transfer": transfer_table(probes, params.oracles, params.twins)}
    for name, table in tables.items():
        with atomic(snakemake.output[name]) as temporary:
            table.to_csv(temporary, index=False)
    say(f"{len(snakemake.input.probes)} probes, {len(tables['transfer'])} rows over the seeds")
