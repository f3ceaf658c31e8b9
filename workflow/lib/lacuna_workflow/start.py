"""The first thing that happens when the workflow is read: is this a Snakemake and a folder that it can work with?"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from lacuna_workflow import ROOT, internals

from lacuna.artifacts.processes import announce_run
from lacuna.errors import LacunaError


def patches_of(is_main_process: bool) -> list[internals.Patch]:
    """All that is changed in Snakemake; in a job's own process, which plans and begins nothing, Python's path alone."""
    # once the version is known to have what they change
    from lacuna_workflow.memory import MEMORY
    from lacuna_workflow.quoting import QUOTING
    from lacuna_workflow.scheduler import SCHEDULER
    from lacuna_workflow.stale_runs import STALE_RUNS

    return [STALE_RUNS, SCHEDULER, MEMORY, QUOTING] if is_main_process else [QUOTING]


def start(workflow: Any, config: Mapping[str, Any]) -> None:
    """Check version and folders and change Snakemake as the workflow needs it; ends with a sentence if it cannot be."""
    try:
        internals.require()
        if {"{", "}"} & set(f"{ROOT}{os.getcwd()}"):
            raise LacunaError(f"{os.getcwd()}: Snakemake takes braces for wildcards; allowed: a path without {{ and }}")
        # how to run is said by profile, command line and files; in an importing workflow by its module statement too
        told = workflow.config_settings.overwrite_config.get(internals.KEY, config.get(internals.KEY))
        on = internals.chosen({internals.KEY: told}, [patch.name for patch in patches_of(True)])
        internals.apply(patch for patch in patches_of(workflow.is_main_process) if patch.name in on)
    except LacunaError as error:
        sys.exit(f"lacuna: {error}")
    if workflow.is_main_process:
        announce_run()
    else:
        # a warning before the end of an allocation is meant for the script, which makes a checkpoint
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
