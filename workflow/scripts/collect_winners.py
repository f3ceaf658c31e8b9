"""The studies of an experiment's methods → the experiment with the winning values."""

from pathlib import Path

from lacuna_workflow.job import job

from lacuna.artifacts.forms import read_form
from lacuna.artifacts.writing import atomic
from lacuna.experiment.overlay import as_yaml, with_winning_values

with job(snakemake) as log:
    w = snakemake.wildcards
    studies = {Path(path).stem: read_form(path, "study") for path in snakemake.input.studies}
    winners = {}
    for label, study in studies.items():
        best, grids = study["trials"][study["best"]], study["trials"][0]
        winners[label] = {k: v for k, v in best["values"].items() if v != grids["values"][k]}
        log(f"{label}: {winners[label] or 'the values of the grid'}, {best['score']:.3f} against {grids['score']:.3f}")
    settings = next(iter(studies.values()))["parameters"]["tuning"]
    head = (
        f"{w.experiment} with values found by `snakemake tune`: of {settings['trials']} tried for each method,\n"
        f"the best on the validation split of seeds {', '.join(map(str, settings['seeds']))}.\n"
        f"Every value tried: {Path(snakemake.output.overlay).parent}/*.json"
    )
    with atomic(snakemake.output.overlay) as temporary:
        experiment = with_winning_values(snakemake.params.config, dict(w.items()), winners)
        temporary.write_text(as_yaml(experiment, head), encoding="utf-8")
