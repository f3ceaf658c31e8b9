"""All population.json of an experiment → roc.csv."""

from lacuna_workflow.job import job

from lacuna.artifacts.forms import read_forms
from lacuna.reporting.tables.files import write_table
from lacuna.reporting.tables.roc import roc_table

with job(snakemake) as log:
    populations, params = read_forms(snakemake.input.populations, "population"), snakemake.params
    table = roc_table(populations, params.oracles, params.twins)
    write_table(snakemake.output.roc, table)
    log(f"{len(snakemake.input.populations)} cells, {len(table)} points")
