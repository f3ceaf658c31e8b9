"""The words of `lacuna verify`, from what a tree's files say alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lacuna.__main__ import main
from lacuna.artifacts import writing
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


@pytest.mark.parametrize("writable", [True, False])
def test_what_cannot_be_set_aside_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    meta = tmp_path / "data/digits/meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text("{")
    if not writable:  # what root can write everywhere

        def refused(path: Path) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(writing, "set_aside", refused)
    assert main(["verify", str(tmp_path), "--set-aside"]) == 1
    told = capsys.readouterr()
    assert (f"set aside: {meta}" in told.out.splitlines()) == writable == (not meta.exists())
    line = f"not set aside: 1 file, such as {meta}, whose folder cannot be written"
    assert (line in told.err.splitlines()) == (not writable)
