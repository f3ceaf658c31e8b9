# What a run says last.
import sys

from lacuna.commands import closing


def leaves(jobs):
    """The jobs, those of groups one by one."""
    return [leaf for job in jobs for leaf in (job.jobs if job.is_group() else [job])]


def with_files(jobs):
    """The jobs that make files: targets are none."""
    return [job for job in leaves(jobs) if job.output]


onsuccess:
    ran = [job for job in workflow.dag.jobs if workflow.dag.finished(job)]
    overlays = [str(job.output.overlay) for job in ran if job.rule.name == "collect_winners"]
    told = closing.made(
        EXPERIMENT.name, {job.rule.name for job in ran}, overlays, len(TARGETS.missing), PATHS.there
    )
    if told:
        print(told, file=sys.stderr)


onerror:
    scheduler = workflow.scheduler
    failed = sorted((job.format_wildcards(job.rule.message), job.log[0]) for job in with_files(scheduler.failed))
    left = with_files(workflow.dag.needrun_jobs())
    # jobs that end with a run which is told to stop did not fail
    if not getattr(scheduler, "_user_kill", None) and any(not closing.told_to_stop(log) for _, log in failed):
        told = closing.failures(failed, len(left) - len(failed), EXPERIMENT.missing == "refuse", PATHS.there)
    elif getattr(scheduler, "_executor_error", None):
        return  # the queue refused: Snakemake says why
    else:
        planned = with_files(workflow.dag.needrun_jobs(exclude_finished=False))
        told = closing.stopped(len(planned) - len(left), len(left))
    workflow.logger_manager.logfile_hint()
    print(told, file=sys.stderr)
    # nothing more to say: Snakemake would end with a WorkflowError that names no job
    sys.exit(1)
