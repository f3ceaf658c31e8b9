"""One cell that cannot be made does not keep the tables of the others, if the user says so."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .project import DRAWN, STATES, UNLEARNERS, Project, table_jobs

CELL = "results/cells/digits/resnet8/brief/seed0/class/dense/ga"


def test_tables_of_what_is_there(finished: Project, tmp_path: Path) -> None:
    """With missing=allow tables and figures leave out a failed cell and say why; without it the cell is tried again."""
    project = finished.copy(tmp_path / "clone")
    for name in ("predictions.npz", "model.safetensors", "metrics/tiny.json"):
        (project / CELL / name).unlink()
    (project / f"{CELL}.log".replace("results/", "results/logs/", 1)).write_text("lacuna: unlearn: the loss is nan\n")
    done = project.run("--config", "missing=allow")
    assert done.code == 0, done.output
    drawn = {f"figure {figure} of tiny" for figure in DRAWN}
    assert done.jobs == table_jobs("tiny") | drawn | {"report of tiny"}
    assert "cells that are not in them: 1, see missing.csv" in done.output
    tables = project / "results/tables/tiny"
    missing = pd.read_csv(tables / "missing.csv").to_dict("records")
    assert [(row["state"], row["unlearner"]) for row in missing] == [("dense", "ga")]
    reason = f"{CELL}/predictions.npz is missing; its log ends: lacuna: unlearn: the loss is nan"
    assert missing[0]["reason"] == reason
    cells = pd.read_csv(tables / "cells.csv").groupby(["pruner", "unlearner"]).ngroups
    assert cells == len(STATES) * len(UNLEARNERS) - 1
    ga = "ga: class, dense, digits, seed 0"
    assert {ga, f"evaluate {ga}", "tables of all cells of tiny"} <= project.plan().jobs
