"""The files of all cells of an experiment → the tables that list them."""

from lacuna_workflow.job import job

from lacuna.artifacts.forms import read_form
from lacuna.artifacts.origin import check_origin
from lacuna.reporting.tables.files import write_table
from lacuna.reporting.tables.making import Listing, made

# of many thousand cells, the job.json of each tells runs apart
with job(snakemake, origins=False) as log:
    files, listing = {}, Listing()
    for kind, paths in snakemake.input.items():
        files[kind] = []
        for path in paths:
            result = read_form(path, kind)
            if kind == "metrics":
                check_origin(path, {k: v for k, v in result["inputs"].items() if k.endswith("/job.json")})
            files[kind].append(listing.of(result))
    for name, path in snakemake.output.items():
        table = made(name, {**files, **snakemake.params.told, "log": log})
        write_table(path, table)
        log(f"{name}: {len(table)} rows of {len(files['metrics'])} cells")
        del table
