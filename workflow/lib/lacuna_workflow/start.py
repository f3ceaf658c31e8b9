"""The first thing that happens when the workflow is read: is this a Snakemake and a folder that it can work with?"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Collection, Mapping
from typing import Any

from lacuna_workflow import ROOT, internals
from lacuna_workflow.study import default_file

from lacuna.artifacts.processes import announce_run
from lacuna.commands.batches import Batch
from lacuna.errors import LacunaError
from lacuna.experiment.yaml_files import read_yaml

# what is changed in Snakemake, by name: the module, imported once the version is known, and the patch in it
PATCHES = {
    "stale_runs": ("stale_runs", "STALE_RUNS"),
    "scheduler": ("scheduler", "SCHEDULER"),
    "records": ("memory", "MEMORY"),
    "python_path": ("quoting", "QUOTING"),
    "warm_jobs": ("warm_patch", "WARM"),
    "gpu_workers": ("warm_patch", "WORKERS"),
}
# a job's own process plans and begins nothing
_OF_JOBS = ("python_path",)


def patches_of(is_main_process: bool, on: Collection[str] = tuple(PATCHES)) -> list[internals.Patch]:
    """Of the patches that stay on those of this process; one whose modules of Snakemake are gone is left out, and says
    so."""
    patches = []
    for name in PATCHES if is_main_process else _OF_JOBS:
        if name in on:
            module, constant = PATCHES[name]
            try:
                patches.append(getattr(importlib.import_module(f"lacuna_workflow.{module}"), constant))
            except ImportError as error:
                internals.leave(name, str(error))
    return patches


def results_in(folder: str, batch: Batch | None = None) -> None:
    """Tell the patch that takes away what a killed run left where results lie, and of which batch another run's lock
    is no end, where Snakemake can be patched so."""
    try:
        from lacuna_workflow import stale_runs
    except ImportError:
        return  # `start` said so
    stale_runs.results_in(folder, None if batch is None else batch.locked)


def start(workflow: Any, config: Mapping[str, Any]) -> None:
    """Check version and folders and change Snakemake as the workflow needs it; ends with a sentence if it cannot be."""
    try:
        internals.require()
        for folder in (str(ROOT), os.getcwd()):
            if {"{", "}"} & set(folder):
                raise LacunaError(f"{folder}: Snakemake takes braces for wildcards; allowed: a path without {{ and }}")
        # how to run is said by profile, command line and files; in an importing workflow by its module statement too
        overwritten = workflow.config_settings.overwrite_config
        on = internals.chosen(read_yaml(default_file(workflow)) | dict(config) | dict(overwritten), list(PATCHES))
        internals.apply(patches_of(workflow.is_main_process, on))
    except LacunaError as error:
        sys.exit(f"lacuna: {error}")
    if workflow.is_main_process:
        announce_run()
    else:
        # a warning before the end of an allocation is meant for the script, which makes a checkpoint
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
