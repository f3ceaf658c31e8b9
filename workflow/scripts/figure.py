"""The tables that a figure reads → the figure, in every format that is asked for."""

from lacuna_workflow.job import job

from lacuna.artifacts.meta import read_meta
from lacuna.reporting import FIGURES
from lacuna.reporting.palette import Palette
from lacuna.reporting.style import save
from lacuna.reporting.tables.files import read_table

with job(snakemake) as log:
    files, params = dict(snakemake.input.items()), snakemake.params
    metas = files.pop("metas")
    names = {
        dataset: read_meta(path).get("class_names", []) for dataset, path in zip(params.datasets, metas, strict=True)
    }
    tables = {name: read_table(path) for name, path in files.items()}
    draw = FIGURES[snakemake.wildcards.figure]
    judges = {"judges": params.judges} if params.judges else {}
    save(draw(**tables, palette=Palette.of(params.drawn, names), **judges), *snakemake.output)
    log(f"{snakemake.wildcards.figure} from {', '.join(f'{len(t)} rows of {name}' for name, t in tables.items())}")
