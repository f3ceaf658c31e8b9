"""Everything about single cells: what a reader opens one by one. Read from the cells' own files, and kept small."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lacuna.artifacts.files import Arrays, read_json, read_npz
from lacuna.artifacts.layout import cell_at
from lacuna.errors import LacunaError
from lacuna.evaluation.cell import Part
from lacuna.reporting.columns import COORDINATES
from lacuna.reporting.report.study import Study
from lacuna.reporting.words import records

# bins of a confidence in the label, from 0 to 1
BINS = 20
# with more classes a confusion matrix is no longer read: the commonest confusions are listed
MOST_CLASSES, _CONFUSIONS = 20, 40
# epochs of a training curve, and characters and lines of a log's end
_EPOCHS, _LOG_LINES, _LINE = 60, 6, 300
# the tail of a log that is read, in bytes
_TAIL = 8192
_PARTS = ("retain", "forget", "test")
_CURVES = ("loss", "val_accuracy", "lr")
# facts of a job, by the field of job.json, in the order of the page
_FACTS = {
    "seconds": "seconds of the method",
    "steps": "steps",
    "samples": "samples",
    "forwards": "forward passes",
    "backwards": "backward passes",
    "peak_memory_mb": "peak memory (MiB)",
    "peak_gpu_memory_mb": "peak GPU memory (MiB)",
    "energy_j": "energy (J)",
    "device": "device",
    "arithmetic": "arithmetic",
    "execution": "execution",
    "threads": "threads",
    "slurm_job": "SLURM job",
    "random_stream": "random stream",
    "commit": "commit",
}


def cells_of(study: Study) -> Iterator[dict[str, Any]]:
    """One object for each row of provenance.csv: its place, and what its files hold; `gaps` says which could not be
    read."""
    metrics = _metrics_of(study.tables["cells"])
    for row in records(study.tables["provenance"]):
        place = {name: row[name] for name in COORDINATES}
        yield {
            **_files_of(study.results, cell_at(row)),
            "place": list(place.values()),
            "config": row["config_hash"],
            "metrics": metrics.get(tuple(place.values()), {}),
        }


def _metrics_of(cells: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, float]]:
    """The values of each cell by metric."""
    found: dict[tuple[Any, ...], dict[str, float]] = {}
    columns = [cells[name].to_list() for name in (*COORDINATES, "metric", "value")]
    for *place, metric, value in zip(*columns, strict=True):
        found.setdefault(tuple(place), {})[metric] = value
    return found


def _files_of(results: Path, place: str) -> dict[str, Any]:
    folder, gaps = results / place, []
    cell: dict[str, Any] = {}
    for name, read in (("job.json", _job), ("history.csv", _history), ("predictions.npz", _predictions)):
        try:
            cell |= read(folder / name, f"{place}/{name}")
        except (LacunaError, OSError, ValueError, KeyError) as error:
            # the tables stand without it: the page says what it could not show
            gaps.append(f"{name}: {' '.join(str(error).split())}")
    log = log_tail(results / "logs" / f"{place}.log")
    if log is None:
        gaps.append("log: no such file")
    return cell | {"log": log or [], "gaps": gaps}


# ---- job.json -------------------------------------------------------------------------------------------------------


def _job(path: Path, place: str) -> dict[str, Any]:
    job = read_json(path, place)
    parameters: Mapping[str, Any] = job.get("parameters", {})
    options = {
        # texts: of a hyper-parameter every digit counts
        name: {key: value if isinstance(value, str) else json.dumps(value) for key, value in sorted(of.items())}
        for name in ("unlearner", "unprune", "recipe", "model", "pruner")
        if isinstance(of := parameters.get(name), Mapping)
    }
    facts = {title: job[name] for name, title in _FACTS.items() if job.get(name) not in (None, "")}
    facts |= {name: value for name, value in (job.get("facts") or {}).items() if isinstance(value, int | float | str)}
    facts |= {f"network: {name}": value for name, value in (job.get("network") or {}).items()}
    return {"options": options, "facts": facts, "versions": job.get("versions", {})}


# ---- history.csv ----------------------------------------------------------------------------------------------------


def _history(path: Path, place: str) -> dict[str, Any]:
    del place  # the job.json next to it vouches for it
    with open(path, encoding="utf-8", newline="") as file:
        heading, *rows = list(csv.reader(file)) or [[]]
    chosen = thinned(len(rows), _EPOCHS)
    columns = {name: [float(rows[i][k]) for i in chosen] for k, name in enumerate(heading)}
    curves = {name: columns[name] for name in _CURVES if name in columns}
    return {"history": {"epoch": columns.get("epoch", [i + 1 for i in chosen]), **curves}} if rows else {}


def thinned(count: int, most: int) -> Sequence[int]:
    """At most so many positions of a series, its ends among them."""
    if count <= most:
        return range(count)
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


# ---- predictions.npz ------------------------------------------------------------------------------------------------


def _predictions(path: Path, place: str) -> dict[str, Any]:
    arrays = read_npz(path, "predictions", place)
    parts = {name: _part(arrays, name) for name in _PARTS if f"logits/{name}" in arrays}
    found: dict[str, Any] = {"confidence": {name: _histogram(part) for name, part in parts.items()}}
    found["samples"] = {name: len(part.labels) for name, part in parts.items()}
    if "test" in parts:
        found |= _confusion(parts["test"])
    return found


def _part(arrays: Arrays, name: str) -> Part:
    return Part(arrays[f"logits/{name}"], arrays[f"labels/{name}"], name=name)


def _histogram(part: Part) -> list[float]:
    """Percent of the samples by the confidence in their label, in `BINS` equal bins from 0 to 1."""
    shifted = part.logits - part.logits.max(1, keepdims=True)
    odds = np.exp(shifted, dtype=np.float32)
    own = odds[np.arange(len(odds)), part.labels] / odds.sum(1)
    counts = np.bincount(np.minimum((own * BINS).astype(int), BINS - 1), minlength=BINS)
    return [round(100 * float(count) / len(own), 2) for count in counts]


def _confusion(part: Part) -> dict[str, Any]:
    """Counts of the test set by label and prediction; of more classes than fit the commonest confusions."""
    classes = part.logits.shape[1]
    pairs = np.bincount(part.labels * classes + part.logits.argmax(1), minlength=classes**2)
    square = pairs.reshape(classes, classes)
    if classes <= MOST_CLASSES:
        return {"confusion": square.tolist()}
    wrong = square - np.diag(np.diag(square))
    order = np.argsort(-wrong, axis=None, kind="stable")[:_CONFUSIONS]
    listed = [[int(i // classes), int(i % classes), int(wrong.flat[i])] for i in order if wrong.flat[i]]
    return {"confusions": listed, "classes": classes}


# ---- the log --------------------------------------------------------------------------------------------------------


def log_tail(path: Path) -> list[str] | None:
    """The last lines of a log, each shortened; None if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    return [shortened(line) for line in text.splitlines() if line.strip()][-_LOG_LINES:]


def shortened(line: str) -> str:
    """A line of a log, cut where it is long."""
    return line if len(line) <= _LINE else f"{line[: _LINE - 1]}…"


def class_names(study: Study) -> dict[str, list[str]]:
    """The names of the classes of the datasets that have them, in the order of the labels."""
    found = {}
    for dataset in study.grid["datasets"]:
        try:
            meta = read_json(study.results / "data" / dataset / "meta.json", f"data/{dataset}/meta.json")
        except LacunaError:
            continue
        if meta.get("class_names"):
            found[dataset] = [str(name) for name in meta["class_names"]]
    return found
