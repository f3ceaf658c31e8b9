# Where submissions are rated, as they are by default (100 a second), Snakemake looks for ready jobs again after each look,
# and once more for every job that has ended: after some hundred jobs it does nothing else, on a core of its own
# (snakemake/snakemake#3744, bench/wakes.py). Here one such look at a time is ahead, as early as the first would have been.
import threading

from snakemake.scheduling.job_scheduler import JobScheduler


def look_again(scheduler, delay):
    """Let the scheduler look for ready jobs after `delay` seconds, if no earlier call still has to."""

    def look():
        scheduler._lacuna_waits = False
        scheduler._open_jobs.release()

    if not getattr(scheduler, "_lacuna_waits", False):
        scheduler._lacuna_waits = True
        timer = threading.Timer(delay, look)
        timer.daemon = True  # the end of a run does not wait for it
        timer.start()


# under its name in Snakemake, misspelt there; a Snakemake that has it no more is left as it is
if hasattr(JobScheduler, "_schedule_reevalutation"):
    JobScheduler._schedule_reevalutation = look_again
