"""The tables that a figure reads → the figure, as SVG and PNG."""

from lacuna_workflow.job import job

from lacuna.reporting import FIGURES
from lacuna.reporting.style import save
from lacuna.reporting.tables.files import read_table

with job(snakemake) as log:
    tables = {name: read_table(path) for name, path in snakemake.input.items()}
    draw, params = FIGURES[snakemake.wildcards.figure], snakemake.params
    judges = {"judges": params.judges} if params.judges else {}
    save(draw(**tables, oracles=params.oracles, **judges), snakemake.output.svg, snakemake.output.png)
    log(f"{snakemake.wildcards.figure} from {', '.join(f'{len(t)} rows of {name}' for name, t in tables.items())}")
