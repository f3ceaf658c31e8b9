"""The experiment: YAML files → a checked grid. Every mistake ends here, before a job starts, in one sentence."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lacuna.errors import LacunaError
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.checks import (
    SIZES,
    check_channels,
    check_class_sizes,
    check_dataset,
    check_labels,
    check_meaning,
    check_models,
    keep_sizes,
    kept_sizes,
    meta_of,
    named,
    small_sets,
    unselective,
)
from lacuna.experiment.class_names import numbered
from lacuna.experiment.coordinates import AXES
from lacuna.experiment.entries import chosen_of, entries_of, oracles_of, states_of, targets_of, tuning_of, unprunings_of
from lacuna.experiment.figures import figures_of
from lacuna.experiment.grid import Experiment
from lacuna.experiment.shadow_plan import Shadows
from lacuna.experiment.tables import tables_of
from lacuna.experiment.yaml_files import read_yaml, retyped, shown
from lacuna.fields import build, check, resolve


def results_of(files: Sequence[str | Path], overrides: Mapping[str, Any]) -> str | None:
    """The folder of results that the files of an experiment, or the command line, name; None if they name none.

    Where results lie is no part of an experiment: no model and no cell is made again because they moved, tables and
    figures are. Raises LacunaError for a value that is no text, and as `results_folder`.
    """
    folder: Any = None
    for held in (*(read_yaml(file) for file in files), overrides):
        folder = held.get("results", folder)
    if folder is not None and not (isinstance(folder, str) and folder):
        raise LacunaError(f"results: {folder!r} is not allowed; allowed: the path of a folder")
    return None if folder is None else results_folder(folder)


def results_folder(named: str) -> str:
    """The folder of results that a value names: in its shortest form, with the home of a user in place of `~`.

    Raises LacunaError for one that Snakemake could not tell from a pattern, for one that holds the working directory,
    and so other things too, for the home of nobody, and for a file in its place.
    """
    folder = os.path.normpath(os.path.expanduser(named)) if named.strip() else ""
    odd = not folder or folder.startswith("~") or re.search(r"[{}<>\x00-\x1f]", folder)
    if odd or Path.cwd().is_relative_to(os.path.realpath(folder)):
        raise LacunaError(
            f"results: {folder!r} is not allowed; allowed: the path of a folder of its own, without {{ }} < >"
        )
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise LacunaError(f"results: {folder!r} is not allowed, it is no folder; allowed: the path of a folder")
    return folder


def load(
    files: Sequence[str | Path],
    overrides: Mapping[str, Any],
    schema: str | Path,
    catalogue: Catalogue,
    data_folder: str | Path | None = None,
    cache: str | Path | None = None,
    ingested: str | Path | None = None,
) -> Experiment:
    """Read, merge and check the files of an experiment.

    files: the default first, then overlays; a later file replaces whole top-level keys of an earlier one, so
    no method of the default grid leaks into an experiment. overrides: top-level values from the command line.
    data_folder: where ingested datasets lie; with it, the user's data files are checked too, unless
    they were ingested as they are. cache: where `feasibility` keeps its answers; with both, every model is tried
    on every dataset, every pruner asked whether it can bring it to every sparsity, every unlearner whether it can work
    on it; with cache alone, only what the models cost is read. ingested: where ingested datasets lie, of which a class
    that the config names is the number; by default `data_folder`.

    Raises LacunaError naming the key, the value and what is allowed.
    """
    merged = _merged(files, overrides)
    check(merged, read_yaml(schema), "")
    check_labels(merged)
    experiment = numbered(_planned(merged, catalogue), data_folder if ingested is None else ingested)
    check_meaning(experiment, catalogue)
    experiment = dataclasses.replace(experiment, tables=tables_of(experiment, catalogue))
    figures, left_out = figures_of(merged, experiment, catalogue)
    experiment = dataclasses.replace(experiment, figures=figures, left_out=left_out)
    if data_folder is not None:
        metas = _check_data(experiment, catalogue, Path(data_folder))
        if cache is not None:
            experiment.sizes.update(check_models(experiment, catalogue, metas, cache))
            keep_sizes(experiment, Path(cache) / SIZES)
    elif cache is not None:
        experiment.sizes.update(kept_sizes(Path(cache) / SIZES))
    return experiment


def _merged(files: Sequence[str | Path], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping of all files and overrides. Raises LacunaError for overlays that take the default's name."""
    merged: dict[str, Any] = {}
    named_by = ""
    for file in files:
        held = read_yaml(file)
        merged |= held
        named_by = str(file) if "name" in held else named_by
    overlays = [str(file) for file in files[1:]]
    if overlays and named_by not in overlays and "name" not in overrides:
        raise LacunaError(
            f"{shown(overlays[-1])}: missing key 'name', and the tables of '{merged.get('name')}' are those of another "
            f"file; it must be given, such as name: {_label_from(overlays[-1])}"
        )
    return merged | {key: retyped(value) for key, value in overrides.items()}


def _planned(merged: Mapping[str, Any], catalogue: Catalogue) -> Experiment:
    """The experiment of merged files that fit the schema, each entry checked against the fields of its method."""
    grid = merged["grid"]
    axes = {axis: entries_of(axis, grid[axis] or {}, catalogue) for axis in AXES.values()}
    states = states_of(grid["sparsities"], axes["pruners"])
    axes["unprune"] = unprunings_of(grid.get("unprune") or [], axes["unlearners"], states, catalogue)
    transfer = merged.get("transfer") or {}
    axes["targets"] = targets_of(transfer.get("targets", {}), axes["datasets"], catalogue)
    metrics = chosen_of("metrics", merged, catalogue)
    oracles, twins = oracles_of(axes["unlearners"], catalogue)
    shadows = build(Shadows, grid["shadows"] or {}, "grid.shadows") if "shadows" in grid else None
    return Experiment(
        name=merged["name"],
        device=merged["device"],
        images=merged.get("images", "auto"),
        seeds=tuple(int(s) for s in grid["seeds"]),
        states=states,
        axes=axes,
        oracles=oracles,
        twins=twins,
        metrics=metrics,
        figures=(),
        figure_formats=tuple(merged.get("figure_formats", ("svg", "pdf", "png"))),
        relearning=resolve(catalogue["settings"]["relearning"]["schema"], merged.get("relearning") or {}, "relearning"),
        probe=resolve(catalogue["settings"]["transfer.probe"]["schema"], transfer.get("probe") or {}, "transfer.probe"),
        missing=merged.get("missing", "refuse"),
        shadows=shadows,
        tuning=tuning_of(merged, axes["scenarios"], catalogue),
        config=merged,
    )


def _check_data(experiment: Experiment, catalogue: Catalogue, folder: Path) -> dict[str, dict[str, Any]]:
    """The facts of the grid's datasets, once they and those of the targets are checked against the experiment."""
    facts = {}
    for label, entry in experiment.datasets.items():
        where = f"{'grid.datasets' if label in experiment.axes['datasets'] else 'transfer.targets'}.{label}"
        with named(where, entry):
            facts[label] = meta_of(label, entry, folder)
            check_class_sizes(entry)
    metas = {label: facts[label] for label in experiment.axes["datasets"]}
    check_channels(experiment, facts)
    for label, meta in metas.items():
        check_dataset(label, meta, experiment.axes)
    experiment.warnings.extend(unselective(experiment.axes, metas, catalogue))
    experiment.warnings.extend(small_sets(experiment.axes, metas))
    return metas


def _label_from(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", Path(path).stem).lstrip("_.")[:64] or "mine"
