"""Whether an experiment is too large for one plan; if it is, `lacuna run` goes on in batches."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from lacuna_workflow.study import Study

from lacuna.commands.batches import TARGETS, digest_of

# settings of Snakemake's by which it chooses among jobs: what they ask for is not the same of each batch
_CHOICES = ("batch", "forceall", "forcetargets", "forcerun", "until", "omit_from", "target_jobs", "allowed_rules")


@functools.cache  # once, whatever number of targets
def _say(note: str) -> None:
    print(note, file=sys.stderr)


def in_batches(workflow: Any, study: Study, jobs: Callable[[], int]) -> None:
    """Let this process become the one that runs a large experiment in batches, if `lacuna run` or `lacuna plan` began
    it, and it is a run or a dry run of the usual targets. Returns where one plan has room for all. jobs: counts all."""
    request, experiment = study.request, study.experiment
    # --summary, --lint and the like have no executor
    if request is None or workflow.executor_plugin is None or workflow.touch:
        return
    settings = workflow.dag_settings
    if not set(settings.targets) <= set(TARGETS) or any(getattr(settings, name) for name in _CHOICES):
        if request.cells is not None:
            _say("note: --batch-size has no effect on a run that chooses among the jobs; all of it is planned at once")
        return
    cells = sum(1 for _ in experiment.cells())
    size = request.size(cells, jobs())
    if size is not None:
        results, refuses = study.paths.there, experiment.missing == "refuse"
        digest = digest_of(experiment.config)
        request.become(experiment.name, results, cells, size, workflow.dryrun, refuses, digest)
