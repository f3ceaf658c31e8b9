"""cells.csv → backdoor.csv."""

from job import job

from lacuna.artifacts import atomic
from lacuna.reporting.tables import Contest, backdoor_table, read_table

with job(snakemake) as say:
    params = snakemake.params
    contest = Contest(read_table(snakemake.input.cells), params.oracles, params.twins)
    # further entries of `original` are the same model
    original = next(iter(sorted(params.originals, key=lambda label: (label != "original", label))), None)
    table = backdoor_table(contest, original)
    with atomic(snakemake.output.backdoor) as temporary:
        table.to_csv(temporary, index=False)
    say(f"{len(table)} rows")
