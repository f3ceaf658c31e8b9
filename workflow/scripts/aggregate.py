"""All metrics of an experiment → cells.csv and summary.csv, with the experiment as it was resolved."""

from job import job

from lacuna.artifacts import atomic, read_json, write_json
from lacuna.reporting.tables import cells_table, summary_table

with job(snakemake) as say:
    cells = cells_table(map(read_json, [*snakemake.input.metrics, *snakemake.input.populations]))
    summary = summary_table(cells, snakemake.params.oracles)
    for table, path in ((cells, snakemake.output.cells), (summary, snakemake.output.summary)):
        with atomic(path) as temporary:
            table.to_csv(temporary, index=False)
    write_json(snakemake.output.experiment, snakemake.params.experiment)
    say(f"{len(snakemake.input.metrics)} cells, {len(cells)} values")
