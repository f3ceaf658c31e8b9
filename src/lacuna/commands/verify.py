"""lacuna verify: every file, checksum and mask of a results tree, and every number of a table against its origin."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import stat
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from lacuna.artifacts.drawings import check_page, check_pdf, check_png, check_svg, check_text
from lacuna.artifacts.files import Arrays, bits_of, content_digest, read_marked_npz, read_tensors, stored_checksum
from lacuna.artifacts.forms import FORMS, read_form
from lacuna.artifacts.layout import CELL_FILES, FOLDERS, MODEL_FILES, cell_at, is_trials, is_unfinished
from lacuna.artifacts.records import unlike_experiment
from lacuna.artifacts.writing import set_aside_with
from lacuna.commands.base import Command
from lacuna.errors import DamagedFile, LacunaError
from lacuna.registry import register
from lacuna.reporting import TABLES

if TYPE_CHECKING:
    import pandas as pd

# what others put into folders; nothing of ours
IGNORED = re.compile(
    r"\.DS_Store|\.running|\.nfs.*|\.git(ignore|keep|attributes)|\.snakemake_timestamp|README(\..*)?|.+\.damaged\d*"
)
# with more rows of cells, tables over the seeds are not computed again where their checksums hold
_RECOMPUTED = 50_000

# the folders of what the jobs of a tree say and take
_RECORDS = ("logs", "benchmarks")
_NAME, _SEED = r"[^/]+", r"seed[0-9]+"
_STATE = rf"models/{_NAME}/{_NAME}/{_NAME}/{_SEED}/{_NAME}"
_CELL = rf"cells/{_NAME}/{_NAME}/{_NAME}/{_SEED}/{_NAME}/{_NAME}/{_NAME}"
_SHADOWS = rf"shadows/{_NAME}/{_NAME}/{_NAME}/{_SEED}/{_NAME}"
# the folder of a cell, or of a state but for one of scores alone
_MODELS = re.compile(rf"{_CELL}(?=/(?!shadows/))|{_STATE}(?=/(?!scores))")
# the places of a tree: a pattern, and the kind of file that lies there
PLACES = [
    (re.compile(pattern), kind)
    for pattern, kind in (
        (rf"data/{_NAME}/images\.safetensors", "images"),
        (rf"data/{_NAME}/meta\.json", "meta"),
        (rf"splits/{_NAME}/{_SEED}/(split|forget/{_NAME})\.npz", "split"),
        (rf"models/{_NAME}/{_NAME}/{_NAME}/{_SEED}/random_init\.npz", "random_init"),
        (rf"({_STATE}|{_CELL})/(model|rewind|initial)\.safetensors", "model"),
        (rf"({_STATE}|{_CELL})/mask\.npz", "mask"),
        (rf"({_STATE}|{_CELL})/history\.csv", "history"),
        (rf"({_STATE}|{_CELL})/job\.json", "job"),
        (rf"{_STATE}/curvature\.json", "curvature"),
        (rf"{_STATE}/scores\.npz", "scores"),
        (rf"{_STATE}/scores\.json", "job"),
        (rf"{_SHADOWS}/\d+-\d+\.safetensors", "shadow originals"),
        (rf"({_SHADOWS}|{_CELL}/shadows)/\d+-\d+\.json", "job"),
        (rf"{_CELL}/shadows/\d+-\d+\.npz", "shadows"),
        (rf"{_CELL}/predictions\.npz", "predictions"),
        (rf"{_CELL}/relearn\.json", "relearn"),
        (rf"{_CELL}/population\.json", "population"),
        (rf"{_CELL}/metrics/{_NAME}\.json", "metrics"),
        (rf"{_CELL}/probe/{_NAME}\.json", "probe"),
        (rf"tuning/{_NAME}/{_NAME}/{_NAME}/{_NAME}/[^/.]{_NAME}\.json", "study"),
        (rf"tuning/{_NAME}/{_NAME}/{_NAME}/{_NAME}/tuned\.yaml", "text"),
        (rf"tables/{_NAME}/experiment\.json", "experiment"),
        (rf"tables/{_NAME}/{_NAME}\.csv", "table"),
        (rf"tables/{_NAME}/(summary\.md|tables\.tex)", "words"),
        (rf"figures/{_NAME}/{_NAME}\.png", "png"),
        (rf"report/{_NAME}\.html", "page"),
        (rf"figures/{_NAME}/{_NAME}\.svg", "svg"),
        (rf"figures/{_NAME}/{_NAME}\.pdf", "pdf"),
        (r"logs/.+\.(log|jsonl)|benchmarks/.+\.tsv", "record"),
    )
]


@register("verify", group="results")
class Verify(Command):
    """Check every file of a results tree.

    Lists what is damaged (does not hold what its checksum says, or a masked weight that is not exactly 0), missing
    (its neighbours or a table tell of it), stale (made from an input that is another one now, or a table that its
    cells do not give), unknown, and left behind by a killed job. Ends with status 1 if there is anything.

    Example: lacuna verify results
    lacuna verify results --set-aside
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "results", nargs="?", type=Path, default=Path("results"), metavar="RESULTS", help="by default results"
        )
        parser.add_argument(
            "--set-aside",
            action="store_true",
            help="rename what is damaged or stale to *.damaged, so that the experiment's command makes it anew",
        )

    def run(self, options: argparse.Namespace) -> int:
        findings = list(verify(options.results))
        for line in report(findings, options.results):
            print(line)
        if options.set_aside:
            moved = mend(findings)
            for path in moved:
                print(f"set aside: {path}")
            kept = [path for path in _to_mend(findings) if path not in moved and os.path.lexists(path)]
            if kept:
                files = f"{len(kept)} file{'s' if kept[1:] else ''}"
                print(f"not set aside: {files}, such as {kept[0]}, whose folder cannot be written", file=sys.stderr)
        print(f"{options.results}: {f'{len(findings)} findings' if findings else 'in order'}", file=sys.stderr)
        return int(bool(findings))


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: its kind (`verify` lists them), the path of the file, and why in a sentence."""

    kind: str
    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.path}: {self.why}"


def verify(results: str | Path) -> Iterator[Finding]:
    """Everything that is wrong in a results tree, folder by folder.

    damaged: a file that does not hold what its checksum says, is of another form or cell, or a masked weight that is
    not exactly 0. missing: a file that its neighbours or a table tell of. stale: made from an input that is another one
    now, or a table that is not as it was made or as its cells give it. unknown: a file that is none of a tree, or a
    link out of it. left behind: what a killed job did not take away.

    Raises LacunaError if there is no such folder, or if it is no results tree.
    """
    results = Path(results)
    if not results.is_dir():
        raise LacunaError(f"{results}: no such folder; allowed: a results folder of lacuna")
    # a folder of something else may be large
    tree = _Tree(results) if any((results / name).is_dir() for name in FOLDERS) else None
    # what lies in the place of a file of ours is none, but says that this is a tree
    ours = tree is not None and (
        set(tree.kinds.values()) - {"record"} or any(f.kind == "damaged" for f in tree.findings)
    )
    if tree is None or not ours:
        raise LacunaError(f"{results}: no results tree; allowed: the folder that holds data, models, cells and tables")
    yield from tree.findings
    for _, places in groupby(sorted(tree.kinds, key=_order), key=lambda place: _order(place)[0]):
        yield from _folder(tree, list(places))
    yield from _missing(tree)
    for place in sorted(tree.made_from):
        yield from _inputs(tree, place)
    for folder in sorted({str(PurePosixPath(place).parent) for place in tree.kinds if place.startswith("tables/")}):
        yield from _tables(tree, folder)


def _order(place: str) -> tuple[str, bool, str]:
    """By folder, masks before the models that they are compared with."""
    path = PurePosixPath(place)
    return str(path.parent), path.name != "mask.npz", path.name


@dataclass
class _Tree:
    """The files of a tree by place: the kind that each must have, and what is known of it once it was read.

    content: the digest of every sound file. made_from, made: what a JSON file says of inputs and outputs.
    """

    root: Path
    kinds: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    content: dict[str, str] = field(default_factory=dict)
    made_from: dict[str, dict[str, str]] = field(default_factory=dict)
    made: dict[str, dict[str, str]] = field(default_factory=dict)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in sorted(os.listdir(self.root)):
            # each may lie on another disk
            if entry not in (*FOLDERS, *_RECORDS) and (self.root / entry).is_dir():
                self.findings.append(Finding("unknown", self.root / entry, "no folder of a tree, and not looked into"))
            elif (self.root / entry).is_dir():
                for folder, names, files in os.walk(self.root / entry):
                    self._folder(Path(folder), names, files)
            else:
                self._file(self.root / entry)

    def _folder(self, folder: Path, names: list[str], files: list[str]) -> None:
        names.sort()
        for name in list(names):
            path = folder / name
            if path.is_symlink():
                names.remove(name)
                self.findings.append(Finding("unknown", path, "a link to a folder, which is not followed"))
            elif self.kind_of(path) not in ("", "record") or IGNORED.fullmatch(name):
                names.remove(name)
                if not IGNORED.fullmatch(name):
                    self.findings.append(Finding("damaged", path, "it is a folder; a file is to lie there"))
        for name in sorted(files):
            self._file(folder / name)

    def _file(self, path: Path) -> None:
        if IGNORED.fullmatch(path.name):
            return
        if re.search(r"\.tmp(\.[a-z0-9]+)?$", path.name):
            why = "a killed job was writing it; it can be deleted"
            self.findings.append(Finding("left behind", path, why))
        elif is_unfinished(path):
            why = "the job was stopped before its end; run the same command to continue"
            self.findings.append(Finding("left behind", path, why))
        elif is_trials(path):
            pass  # a finished search keeps its trials beside the study, for a search with more of them
        elif not (kind := self.kind_of(path)):
            self.findings.append(Finding("unknown", path, "unknown file: no job makes one there"))
        elif path.is_symlink() and not path.resolve().is_relative_to(self.root.resolve()):
            self.findings.append(Finding("unknown", path, "a link out of the tree, which is not followed"))
        elif path.exists() and not stat.S_ISREG(path.stat().st_mode):
            self.findings.append(Finding("damaged", path, "it is no regular file"))
        else:
            self.kinds[self.place_of(path)] = kind

    def place_of(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def kind_of(self, path: Path) -> str:
        """The kind of file that is to lie at a path; nothing where none is."""
        place = self.place_of(path)
        return next((kind for pattern, kind in PLACES if pattern.fullmatch(place)), "")


def _folder(tree: _Tree, places: list[str]) -> Iterator[Finding]:
    """The files of one folder, each read once."""
    mask: Arrays = {}
    for place in places:
        path, kind = tree.root / place, tree.kinds[place]
        try:
            arrays = _content(tree, place, path, kind)
        except LacunaError as error:
            yield Finding("damaged", path, str(error).removeprefix(f"{path}: "))
            continue
        if kind == "mask":
            mask = arrays
        elif path.name == "model.safetensors":
            yield from _masked(path, arrays, mask)
    yield from _outputs(tree, places)


def _missing(tree: _Tree) -> Iterator[Finding]:
    """Files that a cell or a state lacks; one of which only hidden files are left is not begun."""
    folders = {found[0] for place in tree.kinds if (found := _MODELS.match(place))}
    for name in sorted(folders):
        folder, in_cells = tree.root / name, name.startswith("cells/")
        for file in CELL_FILES if in_cells else MODEL_FILES:
            if not (folder / file).exists():
                yield Finding("missing", folder / file, "run the same command to create it")
        if in_cells and not any(folder.glob("metrics/*.json")):
            yield Finding("missing", folder / "metrics", "no experiment has evaluated this cell")


def _content(tree: _Tree, place: str, path: Path, kind: str) -> Arrays:
    """Read a file whole, keep what later checks need, and give the arrays of a model or mask. Raises LacunaError."""
    arrays: Arrays = {}
    if kind in FORMS:
        value = read_form(path, kind, place)
        tree.content[place] = content_digest(path)
        tree.made_from[place] = value.get("inputs", {})
        tree.made[place] = value.get("outputs", {})
        if kind == "experiment":
            tree.experiments[place] = value
    elif path.suffix in (".safetensors", ".npz"):
        if path.suffix == ".npz":
            arrays, mark, comment = read_marked_npz(path, kind, place)
            tree.made_from[place] = _recorded(path, comment)
            if kind == "mask":
                arrays = bits_of(path, arrays)
        else:
            arrays, mark = read_tensors(path, kind, kind == "images", place)[0], stored_checksum(path)
        tree.content[place] = mark.checksum
    elif kind == "record":
        pass
    else:
        tree.content[place] = content_digest(path)
        try:
            _LOOKS.get(kind, _LOOKS["text"])(path, place)
        except (OSError, ValueError, ElementTree.ParseError, struct.error) as error:
            raise LacunaError(f"{path}: not a usable {kind} file ({error})") from None
    return arrays


def _recorded(path: Path, comment: str) -> dict[str, str]:
    """The inputs that the comment of an npz file names (`lacuna.artifacts.origin`)."""
    try:
        record = json.loads(comment or "{}")
        inputs = record.get("inputs", {})
        FORMS["inputs"](inputs, "inputs")
        return dict(inputs)
    except (ValueError, AttributeError, RecursionError) as error:
        raise LacunaError(f"{path}: its record is none ({error})") from None


def _text(path: Path) -> None:
    if "\0" in path.read_text(encoding="utf-8"):
        raise ValueError("it holds a NUL")


def _table(path: Path) -> None:
    _text(path)
    if not path.stat().st_size:
        raise ValueError("it is empty")


def _history(path: Path) -> None:
    """A heading, and numbers below it."""
    _table(path)
    heading, *rows = path.read_text(encoding="utf-8").splitlines()
    for row in rows:
        if len(numbers := list(map(float, row.split(",")))) != len(heading.split(",")) or numbers[-1] < 0:
            raise ValueError(f"the row {row!r} is none of {heading!r}")


_LOOKS: dict[str, Callable[[Path, str], object]] = {
    "table": lambda path, place: _table(path),
    "history": lambda path, place: _history(path),
    "png": check_png,
    "page": check_page,
    "words": check_text,
    "svg": check_svg,
    "pdf": check_pdf,
    "text": lambda path, place: _text(path),
}


def _masked(path: Path, weights: Arrays, masks: Arrays) -> Iterator[Finding]:
    for name, kept in masks.items():
        if name not in weights or weights[name].shape != kept.shape:
            mask = path.with_name("mask.npz")
            yield Finding("damaged", mask, f"its '{name}' {kept.shape} does not fit the model beside it")
        elif leaked := int(np.count_nonzero(weights[name][~kept])):
            yield Finding("damaged", path, f"mask violated: '{name}' has {leaked} masked weights not 0")


def _outputs(tree: _Tree, places: list[str]) -> Iterator[Finding]:
    """The files of a folder against the content that the job which made them names."""
    for told in places:
        for name, content in tree.made.get(told, {}).items():
            # job.json: files by the name of the output; 0-3.json: the arrays of the same name
            stem = name if told.endswith("/job.json") else PurePosixPath(told).stem
            for place in places:
                path = PurePosixPath(place)
                if path.stem == stem and place != told and tree.content.get(place, content) != content:
                    why = f"it is not the one that {tree.root / told} was written for"
                    yield Finding("stale", tree.root / place, why)


def _inputs(tree: _Tree, told: str) -> Iterator[Finding]:
    """What a job says that it read, against what lies there now; all that is older in one finding."""
    older: dict[str, list[str]] = {}
    for name, content in tree.made_from[told].items():
        # told as results/..., wherever the tree lies now
        first, _, place = name.partition("/")
        if first == "results" and tree.content.get(place) == content:
            continue
        rest = place.split("/")
        if first != "results" or ".." in rest or not tree.kind_of(tree.root / place):
            yield Finding(
                "damaged", tree.root / told, f"it names {name[:100]!r} as an input, which is no file of a tree"
            )
        elif not (tree.root / place).exists():
            yield Finding(
                "missing", tree.root / place, f"{tree.root / told} was made from it; run the same command to create it"
            )
        elif tree.content.get(place, content) != content:
            path = PurePosixPath(place)
            older.setdefault(str(tree.root / path.parent), []).append(
                path.name if path.suffix == ".json" else path.stem
            )
    if older:
        files = " and ".join(f"{', '.join(sorted(names))} of {folder}" for folder, names in sorted(older.items()))
        yield Finding("stale", tree.root / told, f"it was built from older {files}")


# ---- tables ---------------------------------------------------------------------------------------------------------


def _tables(tree: _Tree, folder: str) -> Iterator[Finding]:
    """The tables of one experiment: as they were made, and as the files of the cells give them."""
    # pandas, which nothing else here needs
    from lacuna.reporting.tables.expected import expected_tables
    from lacuna.reporting.tables.files import read_table

    path, experiment = tree.root / folder, tree.experiments.get(f"{folder}/experiment.json")
    if experiment is None:
        if not (path / "experiment.json").exists():
            yield Finding("missing", path / "experiment.json", "run the same command to create it")
        return
    made = experiment["tables"]
    yield from (
        Finding("missing", path / f"{name}.csv", "run the same command to create it")
        for name in made
        if not (path / f"{name}.csv").exists()
    )
    tables: dict[str, pd.DataFrame] = {}
    for place in sorted(place for place in tree.content if place.startswith(f"{folder}/") and place.endswith(".csv")):
        try:
            tables[PurePosixPath(place).stem] = read_table(tree.root / place)
        except DamagedFile as error:
            yield Finding("damaged", error.path, error.what.removeprefix(f"{error.path}: "))
    edited = {name for name in tables if tree.content[f"{folder}/{name}.csv"] != made.get(name, "")} & made.keys()
    expected: dict[str, pd.DataFrame] = {}
    if "cells" in tables:
        results, gone = _results(tree, path.name, tables)
        yield from (Finding("missing", tree.root / place, f"{path} has numbers of it") for place in gone)
        small = len(tables["cells"]) <= _RECOMPUTED or bool(edited)
        expected = expected_tables(results, tables, experiment, tables.keys() - gone.values(), small)
    if "provenance" in tables:
        cells = [{str(k): str(v) for k, v in row.items()} for row in tables["provenance"].to_dict("records")]
        try:
            for made_so, why in unlike_experiment(experiment, cells, tree.root):
                yield Finding("stale", path / "experiment.json", f"{made_so} is not of this experiment: {why}")
        except (KeyError, TypeError, AttributeError) as error:
            yield Finding("damaged", path / "provenance.csv", f"it does not fit experiment.json ({error!r})")
    for name, table in tables.items():
        # a checksum finds what was edited, the comparison what it was and what is stale
        why = _difference(table, expected[name]) if name in expected else ""
        if name in edited:
            yield Finding("stale", path / f"{name}.csv", f"it was changed after it was made{why and '; '}{why}")
        elif why:
            yield Finding("stale", path / f"{name}.csv", f"it is not what its cells give; {why}")
        elif name not in made and name not in TABLES:
            yield Finding("unknown", path / f"{name}.csv", "unknown file: no job makes one there")


def _results(
    tree: _Tree, experiment: str, tables: Mapping[str, pd.DataFrame]
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """The results of the cells that tables speak of, by kind and in their order; none of a kind that lacks one.

    Also the places of files that are not there, each with the table that has numbers of it.
    """
    from lacuna.reporting.columns import COORDINATES

    wanted: dict[str, str] = {}
    cells = tables["cells"]
    for row in cells[list(COORDINATES)].drop_duplicates().to_dict("records"):
        wanted[f"{cell_at(row)}/metrics/{experiment}.json"] = "metrics"
    measured = set(cells["metric"])
    for row in cells[list(COORDINATES)].drop_duplicates().to_dict("records"):
        if (place := f"{cell_at(row)}/population.json") in tree.kinds:
            wanted[place] = "population"
    if "probes" in tables:
        for row in tables["probes"][[*COORDINATES, "target"]].drop_duplicates().to_dict("records"):
            wanted[f"{cell_at(row)}/probe/{row['target']}.json"] = "probe"
    results: dict[str, list[dict[str, Any]]] = {"metrics": [], "population": [], "probe": []}
    whole = dict.fromkeys(results, True)
    gone = {}
    for place, kind in wanted.items():
        if place in tree.content:
            result = read_form(tree.root / place, kind, place)
            # of an experiment without shadow models, whose cells another has attacked
            if kind != "population" or measured & result["metrics"].keys():
                results[kind].append(result)
        else:
            whole[kind] = False
            if place not in tree.kinds:
                gone[place] = "probes" if kind == "probe" else "cells"
    if not whole["population"]:
        whole["metrics"] = False
    return {kind: found if whole[kind] else [] for kind, found in results.items()}, gone


def _difference(told: pd.DataFrame, expected: pd.DataFrame) -> str:
    """The first field in which a table is not the expected one, rounding apart; nothing if there is none."""
    from lacuna.reporting.tables.files import as_text, from_file

    now = from_file(io.BytesIO(as_text(expected).encode())) if list(expected) else expected
    if (columns := list(map(str, told))) != (wanted := list(map(str, now))):
        return f"its columns are {', '.join(columns)}; now {', '.join(wanted)}"
    if len(told) != len(now):
        return f"it has {len(told)} rows, now {len(now)}"
    for column in columns:
        a, b = told[column], now[column]
        if a.dtype.kind in "iuf" and b.dtype.kind in "iuf":
            same = np.isclose(a.to_numpy(float), b.to_numpy(float), rtol=1e-9, atol=1e-12, equal_nan=True)
        else:
            same = (a.astype(object).fillna("") == b.astype(object).fillna("")).to_numpy(bool)
        if not same.all():
            row = int(np.flatnonzero(~same)[0])
            of = f" of {told['metric'].iloc[row]}" if "metric" in columns and column != "metric" else ""
            return f"{column}{of} in line {row + 2} is {a.iloc[row]}, now {b.iloc[row]}"
    return ""


# ---- the report -----------------------------------------------------------------------------------------------------


def report(findings: list[Finding], results: Path) -> Iterator[str]:
    """The findings as lines, those of one folder together, and last how to mend them."""
    ordered = sorted(enumerate(findings), key=lambda pair: (_group(pair[1], results), pair[0]))
    for group, members in groupby((finding for _, finding in ordered), key=lambda finding: _group(finding, results)):
        yield f"{group}:"
        for finding in members:
            yield f"  {finding}"
    kinds = {finding.kind for finding in findings}
    if kinds & {"damaged", "stale"}:
        yield f"to mend: lacuna verify {results} --set-aside renames what is damaged or stale to *.damaged; then"
    if kinds & {"damaged", "stale", "missing"}:
        names = sorted(path.parent.name for path in results.glob("tables/*/experiment.json"))
        known = f" ({', '.join(names)})" if names else ""
        yield f"run the command of the experiment{known} again: it makes every file of its cells, tables and figures"


def _group(finding: Finding, results: Path) -> str:
    """The folder of a cell, a state, or whatever else a finding is of."""
    try:
        parts = finding.path.relative_to(results).parts
    except ValueError:
        return str(finding.path.parent)
    depth = {"cells": 8, "models": 6, "shadows": 6, "splits": 3, "tuning": 5}.get(parts[0], 2)
    return str(results.joinpath(*parts[: min(depth, max(1, len(parts) - 1))]))


def mend(findings: Iterable[Finding]) -> list[Path]:
    """Set aside what is damaged or stale, so that the experiment's command makes it anew; what was renamed."""
    return set_aside_with(_to_mend(findings))


def _to_mend(findings: Iterable[Finding]) -> dict[Path, None]:
    return dict.fromkeys(finding.path for finding in findings if finding.kind in ("damaged", "stale"))
