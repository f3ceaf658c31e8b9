"""All metrics of an experiment → its tables, with the experiment as it was resolved."""

from lacuna_workflow.job import job

from lacuna.artifacts.files import content_digest, write_json
from lacuna.artifacts.forms import read_forms
from lacuna.artifacts.origin import check_origin
from lacuna.reporting.tables.aggregation import contest_of, tables_of
from lacuna.reporting.tables.cells import cells_table
from lacuna.reporting.tables.files import write_table
from lacuna.reporting.tables.missing import missing_table
from lacuna.reporting.tables.provenance import inconsistent_provenance
from lacuna.reporting.tables.verdicts import doubts_of, still

# of many thousand cells, the job.json of each tells runs apart
with job(snakemake, origins=False) as log:
    params, output = snakemake.params, snakemake.output
    metrics = read_forms(snakemake.input.metrics, "metrics")
    for path, result in zip(snakemake.input.metrics, metrics, strict=True):
        check_origin(path, {k: v for k, v in result["inputs"].items() if k.endswith("/job.json")})
    populations = read_forms(snakemake.input.populations, "population")
    contest = contest_of(cells_table([*metrics, *populations]), params.experiment)
    tables = tables_of(contest, metrics, params.experiment)
    tables["missing"] = missing_table(params.missing, snakemake.config["results"])
    for name, table in tables.items():
        write_table(output[name], table)
    # what `lacuna verify` compares the tables with
    contents = {name: content_digest(output[name]) for name in tables}
    write_json(output.experiment, params.experiment | {"tables": contents})
    doubts = [f"{'/'.join(place)}: {said}" for place, each in doubts_of(contest).items() for said in each]
    for warning in [*inconsistent_provenance(tables["provenance"]), *doubts, *still(contest)]:
        log(f"warning: {warning}")
    log(f"{len(metrics)} cells, {len(tables['cells'])} values, {len(params.missing)} cells missing")
