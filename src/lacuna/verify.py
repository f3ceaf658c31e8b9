"""Is a results tree whole? Every checksum, every mask, every number of a table against the file that it came from.

lacuna verify [results]     lists what is damaged, missing or stale; ends with 1 if there is anything
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lacuna.artifacts import content_of, mark_of, read_json, read_npz, read_tensors, unpack_bits
from lacuna.errors import LacunaError
from lacuna.provenance import facts_of
from lacuna.records import unlike_experiment

# What a job leaves beside its model; a cell has predictions too, and in `metrics` a file for each experiment.
MODEL_FILES = ("model.safetensors", "mask.npz", "history.csv", "job.json")
CELL_FILES = (*MODEL_FILES, "predictions.npz")
# files of a cell whose checksums stand in provenance.csv
CHECKED = {"model": "model.safetensors", "predictions": "predictions.npz"}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. kind: damaged, missing, stale or left behind; path: the file; why: a sentence."""

    kind: str
    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}: {self.why}"


def verify(results: str | Path) -> Iterator[Finding]:
    """Everything that is wrong in a results tree, folder by folder.

    damaged: a file that does not hold what its checksum says, or a masked weight that is not exactly 0.
    missing: a file that its neighbours or a table tell of. stale: made from an input that is another one now, or a
    number or an origin in a table that the cell does not have. left behind: what a killed job did not take away.

    Raises LacunaError if there is no such folder.
    """
    results = Path(results)
    if not results.is_dir():
        raise LacunaError(f"{results}: no such folder; allowed: a results folder of lacuna")
    for path in sorted(p for p in results.rglob("*") if p.is_file()):
        if path.name.endswith((".tmp.safetensors", ".tmp.npz", ".tmp.json", ".tmp.csv")):
            yield Finding("left behind", path, "a killed job was writing it; it can be deleted")
        elif path.name.startswith((".checkpoint", ".shadow")) or _of_unfinished_search(path):
            yield Finding("left behind", path, "the job was stopped before its end; the same command continues from it")
        else:
            yield from _content(path)
    for folder in sorted({p.parent for name in CELL_FILES for p in results.rglob(name)}):
        yield from _model(folder, results)
    # jobs of shadow models, the scores that hard forget sets are chosen by, and searches for hyper-parameters
    for pattern in ("**/[0-9]*-[0-9]*.json", "**/scores.json", "tuning/**/[!.]*.json"):
        for told in sorted(results.glob(pattern)):
            yield from _inputs(told, results)
    for name in ("cells.csv", "probes.csv"):
        for table in sorted(results.glob(f"tables/*/{name}")):
            yield from _table(table, results)
    for table in sorted(results.glob("tables/*/provenance.csv")):
        yield from _provenance(table, results)
        yield from _experiment(table, results)


def _of_unfinished_search(path: Path) -> bool:
    """A finished one keeps its trials beside the study, for a search with more of them."""
    return path.name.startswith(".trials.") and not path.with_name(path.name.removeprefix(".trials.")).exists()


def _content(path: Path) -> Iterator[Finding]:
    try:
        if path.suffix == ".safetensors":
            kind = mark_of(path)[0]
            read_tensors(path, kind, mapped=kind == "images")
        elif path.suffix == ".npz":
            read_npz(path, mark_of(path)[0])
        elif path.suffix == ".json":
            read_json(path)
    except LacunaError as error:
        yield Finding("damaged", path, str(error).removeprefix(f"{path}: "))


def _model(folder: Path, results: Path) -> Iterator[Finding]:
    expected = CELL_FILES if folder.relative_to(results).parts[0] == "cells" else MODEL_FILES
    there = {name for name in expected if (folder / name).exists()}
    for name in expected:
        if name not in there:
            yield Finding("missing", folder / name, "the same command makes it")
    if {"model.safetensors", "mask.npz"} <= there:
        yield from _mask(folder / "model.safetensors", folder / "mask.npz")
    evaluated = sorted(folder.glob("metrics/*.json"))
    if expected is CELL_FILES and not evaluated:
        yield Finding("missing", folder / "metrics", "no experiment evaluated this cell; the same command does")
    others = (
        *(folder / name for name in ("job.json", "relearn.json", "population.json")),
        *folder.glob("probe/*.json"),
    )
    for told in (*sorted(others), *evaluated):
        if told.exists():
            yield from _inputs(told, results)


def _mask(model: Path, mask: Path) -> Iterator[Finding]:
    try:
        weights, masks = read_tensors(model, "model")[0], unpack_bits(read_npz(mask, "mask"))
    except (LacunaError, KeyError):
        return  # said already
    for name, kept in masks.items():
        if name not in weights or weights[name].shape != kept.shape:
            yield Finding("damaged", mask, f"its '{name}' {kept.shape} does not fit the model beside it")
        elif (leaked := weights[name][~kept]).any():
            yield Finding("damaged", model, f"mask violated: '{name}' has {(leaked != 0).sum()} masked weights not 0")


def _inputs(told: Path, results: Path) -> Iterator[Finding]:
    """What a job says that it read, against what lies there now."""
    try:
        inputs = read_json(told).get("inputs", {})
    except LacunaError:
        return  # said already
    for name, content in inputs.items():
        # told as results/..., wherever the tree lies now
        path = results.joinpath(*Path(name).parts[1:])
        if not path.exists():
            yield Finding("missing", path, f"{told} was made from it")
            continue
        try:
            now = content_of(path)
        except LacunaError:
            continue  # said already
        if now != content:
            yield Finding("stale", told, f"it was made from another {path} than the present one")


def _cell(row: Mapping[str, str], results: Path) -> Path:
    """The folder of the cell that a row of a table is of."""
    state = row["pruner"] if row["pruner"] == "dense" else f"{row['pruner']}-{row['sparsity']}"
    place = ("cells", row["dataset"], row["model"], row["recipe"], f"seed{row['seed']}", row["scenario"], state)
    return results.joinpath(*place, row["unlearner"])


def _provenance(path: Path, results: Path) -> Iterator[Finding]:
    """Each row against the job that made the cell and the files that lie there now."""
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cell = _cell(row, results)
            told = cell / "job.json"
            try:
                facts = facts_of(read_json(told))
                now = {name: "" if value is None else str(value) for name, value in facts.items()}
                now |= {f"{name}_sha256": content_of(cell / made) for name, made in CHECKED.items()}
            except LacunaError:
                if not told.exists():
                    yield Finding("missing", told, f"{path} tells of it")
                continue  # damage is said already
            for name, value in now.items():
                if row[name] != value:
                    yield Finding("stale", path, f"{name} of {cell} is {row[name] or 'empty'}, now {value or 'none'}")


def _experiment(path: Path, results: Path) -> Iterator[Finding]:
    """The options of an experiment against those that its cells were made with."""
    plan = path.with_name("experiment.json")
    try:
        experiment = read_json(plan)
        with open(path, encoding="utf-8", newline="") as file:
            for made, why in unlike_experiment(experiment, csv.DictReader(file), results):
                yield Finding("stale", plan, f"{made} is not of this experiment: {why}")
    except (LacunaError, OSError, KeyError, TypeError, AttributeError):
        return  # damage is said already


def _table(path: Path, results: Path) -> Iterator[Finding]:
    metrics: dict[Path, dict[str, float]] = {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            cell = _cell(row, results)
            told = f"probe/{row['target']}" if "target" in row else f"metrics/{path.parent.name}"
            source = cell / f"{told}.json"
            if source not in metrics:
                population = cell / "population.json"
                files = [source, population] if population.exists() and "target" not in row else [source]
                try:
                    metrics[source] = {k: v for file in files for k, v in read_json(file)["metrics"].items()}
                except LacunaError:
                    metrics[source] = {}
                    if not source.exists():
                        yield Finding("missing", source, f"{path} has numbers of it")
            if metrics[source] and metrics[source].get(row["metric"]) != float(row["value"]):
                now = metrics[source].get(row["metric"], "nothing")
                yield Finding("stale", path, f"{row['metric']} is {row['value']}, but {source} holds {now}")
