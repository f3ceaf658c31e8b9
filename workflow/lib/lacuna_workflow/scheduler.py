"""Snakemake looks for ready jobs as often as there is reason to, and no more often.

Where submissions are rated, as they are by default (100 a second), Snakemake looks for ready jobs again after each
look, and once more for every job that has ended: after some hundred jobs it does nothing else, on a core of its own
(bench/wakes.py). Here one such look at a time is ahead, as early as the first would have been.
"""

from __future__ import annotations

import threading
from typing import Any

from lacuna_workflow.internals import Patch

from snakemake.scheduling.job_scheduler import JobScheduler

# its name in Snakemake, misspelt there
_NAME = "_schedule_reevalutation"


def look_again(scheduler: Any, delay: float) -> None:
    """Let the scheduler look for ready jobs after `delay` seconds, if no earlier call still has to."""

    def look() -> None:
        scheduler._lacuna_waits = False
        scheduler._open_jobs.release()

    if not getattr(scheduler, "_lacuna_waits", False):
        scheduler._lacuna_waits = True
        timer = threading.Timer(delay, look)
        timer.daemon = True  # the end of a run does not wait for it
        timer.start()


SCHEDULER = Patch(
    "scheduler",
    ((JobScheduler, _NAME),),
    lambda: setattr(JobScheduler, _NAME, look_again),
    "https://github.com/snakemake/snakemake/pull/3744",
)
