"""The cells of an experiment with several recipes → whether they rank the methods alike."""

from job import job

from lacuna.artifacts import atomic
from lacuna.reporting.tables import Contest, read_table, recipes_table

with job(snakemake) as say:
    contest = Contest(read_table(snakemake.input.cells), snakemake.params.oracles, snakemake.params.twins)
    with atomic(snakemake.output.recipes) as temporary:
        recipes_table(contest).to_csv(temporary, index=False)
