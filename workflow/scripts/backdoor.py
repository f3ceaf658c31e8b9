"""cells.csv → backdoor.csv."""

from lacuna_workflow.job import job

from lacuna.reporting.tables.backdoor import backdoor_table
from lacuna.reporting.tables.contest import Contest, original_of
from lacuna.reporting.tables.files import read_table, write_table

with job(snakemake) as log:
    params = snakemake.params
    contest = Contest(read_table(snakemake.input.cells), params.oracles, params.twins)
    table = backdoor_table(contest, original_of(params.grid))
    write_table(snakemake.output.backdoor, table)
    log(f"{len(table)} rows")
