"""The words of `lacuna verify`, from what a tree's files say alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lacuna.commands.verify import _inputs

CELL = "cells/d/m/r/seed0/s/omp-0.90/ft"
NAMES = ("job.json", "mask.npz", "model.safetensors", "predictions.npz")


def test_a_cell_that_was_overwritten_is_one_line(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / CELL).mkdir(parents=True, exist_ok=True)
        (tmp_path / CELL / name).touch()
    places = [f"{CELL}/{name}" for name in NAMES]
    tree: Any = SimpleNamespace(
        root=tmp_path,
        content=dict.fromkeys(places, "now"),
        made_from={f"{CELL}/metrics/x.json": {f"results/{place}": "then" for place in places}},
        kind_of=lambda path: "job",
    )
    (finding,) = _inputs(cast("Any", tree), f"{CELL}/metrics/x.json")
    assert finding.kind == "stale" and finding.path == tmp_path / CELL / "metrics/x.json"
    assert f"{finding}".endswith(f"it was built from older job.json, mask, model, predictions of {tmp_path / CELL}")
