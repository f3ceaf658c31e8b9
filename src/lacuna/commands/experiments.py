"""Which folder of tables a word of the command line means: a folder, an experiment's name, or its file."""

from __future__ import annotations

import argparse
from pathlib import Path

from lacuna.commands.launch import FILE, default_config, experiment_file
from lacuna.errors import LacunaError, unknown
from lacuna.experiment.config import results_of
from lacuna.experiment.yaml_files import read_yaml, shown

_FILES = (".yaml", ".yml", ".json")
EXPERIMENT = "an experiment's name, its file, or a folder of tables"


def add_files(parser: argparse.ArgumentParser) -> None:
    """The arguments that name an experiment's files: words, or as `lacuna run` has it, words behind --configfile."""
    parser.add_argument("files", nargs="*", metavar="FILE", help=f"{FILE}, in YAML")
    parser.add_argument("--configfile", nargs="+", default=[], metavar="FILE", help="the same, as for lacuna run")


def files_of(options: argparse.Namespace) -> list[Path]:
    """The files that `add_files` was given. Raises LacunaError for one that is not there."""
    return [experiment_file(word) for word in (*options.files, *options.configfile)]


def _is_meant(folder: Path) -> bool:
    """Whether a folder is one of tables, or there are no tables of its name."""
    results = Path(results_of([default_config()], {}) or "results")
    return (folder / "summary.csv").exists() or not (results / "tables" / folder).is_dir()


def tables_folder(word: str) -> Path:
    """The folder results/tables/<name> that a word means.

    Raises LacunaError for a name that has no tables, with the nearest that has and the folder that was looked in.
    """
    path, files = Path(word), [default_config()]
    if (path.is_dir() and _is_meant(path)) or (len(path.parts) > 1 and path.suffix not in _FILES):
        return path  # whoever reads it says what it lacks
    if path.suffix in _FILES or path.is_file():
        name = read_yaml(path).get("name")
        if not isinstance(name, str):
            raise LacunaError(f"{shown(path)}: no name; allowed: an experiment's file, which has `name: <text>`")
        files.append(path)
    else:
        name = word
    folder = Path(results_of(files, {}) or "results") / "tables"
    if (folder / name / "summary.csv").exists():
        return folder / name  # whoever reads it says what it lacks
    try:
        file = experiment_file(word)
    except LacunaError:
        file = path
    if path.suffix not in _FILES and file != path:  # a file whose `name` is another
        return tables_folder(str(file))
    made = sorted(each.parent.name for each in folder.glob("*/summary.csv"))
    if not made:
        raise LacunaError(f"no tables of '{name}' in {folder}: nothing has been run there to its end; run it first")
    raise LacunaError(f"no tables of '{name}' in {folder}{unknown(name, made)}")
