"""All tables of an experiment, and the files of its cells → one HTML page."""

from lacuna_workflow.job import job

from lacuna.artifacts.drawings import seal
from lacuna.artifacts.files import place_of
from lacuna.artifacts.writing import atomic
from lacuna.reporting.report.page import page
from lacuna.reporting.report.study import Study

# of many thousand cells each tells runs apart: the tables were checked against them
with job(snakemake, origins=False) as log:
    study = Study.read(snakemake.input.tables, snakemake.config["results"])
    html, path = page(study), snakemake.output.page
    with atomic(path) as temporary:
        temporary.write_text(html, encoding="utf-8")
        seal(temporary, place_of(path), "html")
    log(f"{len(study.tables['provenance'])} cells, {len(html.encode()) / 1e6:.1f} MB")
