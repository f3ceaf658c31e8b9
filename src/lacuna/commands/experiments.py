"""Which folder of tables a word of the command line means: a folder, an experiment's name, or its file."""

from __future__ import annotations

from pathlib import Path

from lacuna.commands.launch import default_config
from lacuna.errors import LacunaError, unknown
from lacuna.experiment.config import results_of
from lacuna.experiment.yaml_files import read_yaml, shown

_FILES = (".yaml", ".yml", ".json")
EXPERIMENT = "an experiment's name, its file, or a folder of tables"


def tables_folder(word: str) -> Path:
    """The folder results/tables/<name> that a word means.

    Raises LacunaError for a name that has no tables, with the nearest that has and the folder that was looked in.
    """
    path, files = Path(word), [default_config()]
    if path.is_dir() or (len(path.parts) > 1 and path.suffix not in _FILES):
        return path  # whoever reads it says what it lacks
    if path.suffix in _FILES or path.is_file():
        name = read_yaml(path).get("name")
        if not isinstance(name, str):
            raise LacunaError(f"{shown(path)}: no name; allowed: an experiment's file, which has `name: <text>`")
        files.append(path)
    else:
        name = word
    folder = Path(results_of(files, {}) or "results") / "tables"
    if (folder / name / "summary.csv").is_file():
        return folder / name
    made = sorted(each.parent.name for each in folder.glob("*/summary.csv"))
    raise LacunaError(f"no tables of '{name}' in {folder}{unknown(name, made)}")
