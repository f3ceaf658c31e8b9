"""The cells of an experiment with several recipes → whether they rank the methods alike."""

from lacuna_workflow.job import job

from lacuna.reporting.tables.contest import Contest
from lacuna.reporting.tables.files import read_table, write_table
from lacuna.reporting.tables.recipes import recipes_table

with job(snakemake) as log:
    contest = Contest(read_table(snakemake.input.cells), snakemake.params.oracles, snakemake.params.twins)
    write_table(snakemake.output.recipes, recipes_table(contest))
