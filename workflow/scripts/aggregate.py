"""All metrics of an experiment → its tables, with the experiment as it was resolved."""

from job import job

from lacuna.artifacts import atomic, read_json, write_json
from lacuna.reporting.tables import (
    Contest,
    cells_table,
    disagreement_table,
    doubts_of,
    layers_table,
    missing_table,
    mixtures,
    original_of,
    provenance_table,
    ranks_table,
    sparsity_table,
    still,
    summary_table,
    with_config,
)

with job(snakemake) as say:
    params = snakemake.params
    results = [read_json(path) for path in snakemake.input.metrics]
    grid = params.experiment["grid"]
    cells = cells_table([*results, *map(read_json, snakemake.input.populations)])
    contest = Contest(cells, params.oracles, params.twins, original_of(grid))
    judged = {name: better for name, better in params.better.items() if name not in params.costs}
    tables = {
        "cells": with_config(cells, grid),
        "layers": layers_table(results),
        "summary": with_config(summary_table(contest), grid),
        "ranks": ranks_table(contest, params.better),
        "disagreement": disagreement_table(contest, judged),
        "sparsity": sparsity_table(contest, judged),
        "missing": missing_table(params.missing),
        "provenance": provenance_table(results, grid),
    }
    for name, table in tables.items():
        with atomic(snakemake.output[name]) as temporary:
            table.to_csv(temporary, index=False)
    write_json(snakemake.output.experiment, params.experiment)
    doubts = [f"{'/'.join(place)}: {said}" for place, each in doubts_of(contest).items() for said in each]
    for warning in [*mixtures(tables["provenance"]), *doubts, *still(contest)]:
        say(f"warning: {warning}")
    say(f"{len(snakemake.input.metrics)} cells, {len(cells)} values, {len(params.missing)} cells missing")
