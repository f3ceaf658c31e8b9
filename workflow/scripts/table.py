"""The tables that a table reads, or the files of all cells → the table."""

from lacuna_workflow.job import job

from lacuna.artifacts.forms import read_forms
from lacuna.reporting import TABLES
from lacuna.reporting.tables.coding import read_coded
from lacuna.reporting.tables.files import read_table, write_table
from lacuna.reporting.tables.making import made, parameters_of

with job(snakemake) as log:
    name = snakemake.wildcards.table
    # what expects texts gets them
    read = read_coded if TABLES[name].about.get("coded") else read_table
    known = {**snakemake.params.told, "results": snakemake.config["results"], "log": log}
    for kind, files in snakemake.input.items():
        if kind in parameters_of(name):
            known[kind] = read(files) if kind in TABLES else read_forms(files, kind)
    table = made(name, known)
    write_table(snakemake.output.table, table)
    log(f"{len(table)} rows")
