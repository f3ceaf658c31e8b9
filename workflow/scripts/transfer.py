"""All probes of an experiment → probes.csv and transfer.csv."""

from lacuna_workflow.job import job

from lacuna.artifacts.forms import read_forms
from lacuna.reporting.tables.files import write_table
from lacuna.reporting.tables.probes import probes_table
from lacuna.reporting.tables.transfer import transfer_table

with job(snakemake) as log:
    params = snakemake.params
    probes = probes_table(read_forms(snakemake.input.probes, "probe"))
    tables = {"probes": probes, "transfer": transfer_table(probes, params.oracles, params.twins)}
    for name, table in tables.items():
        write_table(snakemake.output[name], table)
    log(f"{len(snakemake.input.probes)} probes, {len(tables['transfer'])} rows over the seeds")
