"""The patterns of rules: where files lie below the folder of results says `lacuna.artifacts.layout`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lacuna.artifacts.layout import CELL_FILES, FOLDERS
from lacuna.experiment.config import results_folder
from lacuna.experiment.jobs import patterns_of


@dataclass(frozen=True)
class Paths:
    """The patterns of all files. A helper takes a folder and a file's name inside it.

    root: the folder of all results, as rules write it. there: the same as the file system has it, which is below the
    prefix of a workflow that imports this one with one.
    """

    root: str = "results"
    there: str = "results"

    @classmethod
    def below(cls, root: str, prefixed: Callable[[str], str] = str) -> Paths:
        """The paths below a folder. prefixed: what the importing workflow makes of a path.

        Raises LacunaError as `results_folder`, for the one as for the other.
        """
        root = results_folder(root or "")
        results_folder(prefixed(root))
        return cls(root, os.path.dirname(prefixed(f"{root}/data")))

    def at(self, folder: str, name: str) -> str:
        """The pattern of a file: at("cells", "{state}/{unlearner}/model.safetensors")."""
        return f"{self.root}/{FOLDERS[folder]}/{name}"

    def of_target(self, folder: str, name: str) -> str:
        """The same of the dataset that a cell is probed on."""
        return self.at(folder, name).replace("{dataset}", "{target}")

    def cell_at(self, folder: str) -> dict[str, str]:
        """The files of an unlearned model or an oracle, by their names: cell_at("{state}/{unlearner}")."""
        return {Path(name).stem: self.at("cells", f"{folder}/{name}") for name in CELL_FILES}

    def log_at(self, folder: str, name: str) -> str:
        """The log of the job that makes something there: the same path below logs."""
        return f"{self.root}/logs/{FOLDERS[folder]}/{name}.log"

    def log_of(self, rule: str) -> str:
        """The pattern of the log of a rule's jobs."""
        return f"{self.root}/{patterns_of(rule).log}"

    def benchmark_of(self, rule: str) -> str:
        """The pattern of the benchmark of a rule's jobs."""
        return f"{self.root}/{patterns_of(rule).benchmark}"

    def lying(self, path: str) -> str:
        """Where a file lies that rules write as `path`."""
        return path if self.root == self.there else self.there + path[len(self.root) :]

    def written(self, path: str) -> str:
        """How rules write a file that lies at `path`."""
        return path if self.root == self.there else self.root + path[len(self.there) :]
