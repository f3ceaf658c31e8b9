"""A clone of the pipeline with a tiny experiment of its own, driven by the real Snakemake."""

from __future__ import annotations

import copy
import dataclasses
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from places import ROOT as ROOT

from .loaded import Loaded

PIPELINE = ("Snakefile", ".gitignore", "workflow", "src", "config", "profiles")
# An overlay replaces the whole grid, so this is all there is.
EXPERIMENT: dict[str, Any] = {
    "name": "tiny",
    "device": "cpu",
    "grid": {
        "datasets": {"digits": {}},
        "models": {"resnet8": {"width": 4}},
        "recipes": {
            "brief": {"epochs": 2, "lr": 0.1, "batch_size": 64, "schedule": "cosine", "rewind_epoch": 1, "crop": 1}
        },
        "seeds": [0],
        "scenarios": {"class": {"forget_class": 3}},
        "pruners": {"omp": {}},
        "sparsities": ["dense", 0.9],
        "unlearners": {"original": {}, "retrain": {}, "retrain_exact": {}, "ga": {"epochs": 2, "lr": 1e-3}},
    },
}
STATES = ("dense", "omp-0.90")
UNLEARNERS = tuple(EXPERIMENT["grid"]["unlearners"])
# The figures that are drawn when none are named: not those of a table that not every experiment has, of a metric on
# request, of three methods, or of masks of their own.
DRAWN = ["gap_dense_vs_sparse", "layer_sparsity", "metric_vs_sparsity", "time_vs_gap"]
# Settings of the caller's that would change a run, or make each of its processes compile all that it imports again.
NOT_PASSED_ON = ("SNAKEMAKE_PROFILE", "PYTHONDONTWRITEBYTECODE")
# A hang must end; no test looks at how long anything took.
PATIENCE = 600


def changed(**grid: Any) -> dict[str, Any]:
    """The tiny experiment with some axes of its grid replaced; a dict is merged into the axis."""
    experiment = copy.deepcopy(EXPERIMENT)
    for axis, value in grid.items():
        if isinstance(value, dict) and isinstance(experiment["grid"].get(axis), dict):
            value = experiment["grid"][axis] | value
        experiment["grid"][axis] = value
    return experiment


def table_jobs(experiment: str) -> set[str]:
    """The jobs that make the tables of an experiment, by their messages: of all cells, each further one, their record,
    and what they answer."""
    further = ("summary", "ranks", "disagreement", "sparsity", "missing")
    made = {f"tables of all cells of {experiment}", f"record of {experiment}", f"answer of {experiment}"}
    return made | {f"table {table} of {experiment}" for table in further}


def passed_on() -> dict[str, str]:
    """The environment of every command."""
    return {k: v for k, v in os.environ.items() if k not in NOT_PASSED_ON}


@functools.cache
def loaded() -> Loaded:
    """Started by the first run of this process, and ends with it."""
    return Loaded(passed_on())


def copy_tree(source: Path, target: Path) -> None:
    """Copy a file or a tree with its time stamps; caches stay behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    else:
        shutil.copy2(source, target)


@dataclasses.dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    code: int
    output: str

    @property
    def jobs(self) -> set[str]:
        """The jobs that ran or would run, by their messages."""
        return set(re.findall(r"^Job \d+: (.+)$", self.output, re.MULTILINE))

    @property
    def counts(self) -> dict[str, int]:
        """The table of job statistics: how many jobs of each rule."""
        table = re.search(r"^job +count\n[- ]+\n((?:\w+ +\d+\n)+)", self.output, re.MULTILINE)
        rows = [line.split() for line in table[1].splitlines()] if table else []
        return {rule: int(count) for rule, count in rows if rule not in ("all", "total")}

    @property
    def nothing_to_do(self) -> bool:
        return self.code == 0 and "Nothing to be done" in self.output and not self.jobs


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder with the pipeline's own files and `experiment.yaml`, and how its runs are started."""

    folder: Path
    how: tuple[str, ...] = ("--cores", "1", "--profile", "profiles/local")

    @classmethod
    def new(cls, folder: Path) -> Project:
        """A clone of the working tree: a repository with one commit, without caches or results."""
        for name in PIPELINE:
            copy_tree(ROOT / name, folder / name)
        who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        init = ["init", "--quiet", "--template="]
        for command in (init, ["add", "--all"], [*who, "commit", "--quiet", "--message", "clone"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
        project = cls(folder)
        project.choose(EXPERIMENT)
        return project

    def copy(self, folder: Path) -> Project:
        """The same tree elsewhere, Snakemake's records and every time stamp included."""
        copy_tree(self.folder, folder)
        return dataclasses.replace(self, folder=folder)

    def view(self, folder: Path) -> Project:
        """The same tree elsewhere, for dry runs: links, until something is changed by the methods of this class."""
        (folder / ".snakemake").mkdir(parents=True)
        copy_tree(self / ".snakemake/lacuna", folder / ".snakemake/lacuna")
        for name in (*PIPELINE, "experiment.yaml", "results", ".snakemake/metadata"):
            if (self / name).exists():
                (folder / name).symlink_to(self / name)
        return dataclasses.replace(self, folder=folder)

    def own(self, *names: str) -> None:
        """Make links into copies; of the pipeline's code all at once, whose parts find one another where they lie."""
        code = ("Snakefile", "workflow", "src")
        for name in dict.fromkeys(part for each in names for part in (code if each in code else (each,))):
            if (self / name).is_symlink():
                target = (self / name).readlink()
                (self / name).unlink()
                copy_tree(target, self / name)

    def __truediv__(self, path: str) -> Path:
        return self.folder / path

    def choose(self, experiment: dict[str, Any] | str) -> None:
        """Write the experiment, given as a mapping or as the text of the file."""
        text = experiment if isinstance(experiment, str) else yaml.safe_dump(experiment, sort_keys=False)
        self.own("experiment.yaml")
        (self / "experiment.yaml").write_text(text, encoding="utf-8")

    def edit(self, path: str, change: Callable[[str], str]) -> None:
        """Change a file's text; a change that changes nothing is a mistake of the test."""
        self.own(path.partition("/")[0])
        before = (self / path).read_text(encoding="utf-8")
        after = change(before)
        assert after != before, f"{path} is as it was"
        (self / path).write_text(after, encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        """Snakemake with the project's profile (that of `make run`) and experiment; targets go first."""
        return [
            *(sys.executable, "-m", "snakemake", *arguments, *self.how),
            *(() if "--configfile" in arguments else ("--configfile", "experiment.yaml")),
        ]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a run in a process group of its own."""
        return self.started(self.command(*arguments))

    def started(self, command: list[str]) -> subprocess.Popen[str]:
        """The process of a command in the project's folder, in a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=passed_on(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> Done:
        """Run to the end, forked from a process that has imported Snakemake."""
        _, _, _, *words = self.command(*arguments)
        return Done(*loaded().run(words, self.folder, passed_on(), PATIENCE))

    @staticmethod
    def ended(process: subprocess.Popen[str]) -> Done:
        """How a process ends; it does not outlive this."""
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        return Done(process.returncode, output)

    def plan(self, *arguments: str) -> Done:
        """A dry run."""
        return self.run("--dry-run", *arguments)

    def made(self, pattern: str) -> dict[str, Path]:
        """The result files that match a pattern, by their path under results/."""
        results = self / "results"
        return {str(path.relative_to(results)): path for path in sorted(results.glob(pattern)) if path.is_file()}

    def times(self) -> dict[str, int]:
        """When each result file was last written."""
        return {name: path.stat().st_mtime_ns for name, path in self.made("**/*").items()}
