"""The jobs of a dry run and Snakemake's reasons for them, in the experiment's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lacuna_workflow.progress import at_once_of, with_files
from lacuna_workflow.study import Study

from lacuna.artifacts.journal import journal_at, journals_in, read_run
from lacuna.artifacts.origin import record_in
from lacuna.artifacts.records import differences
from lacuna.commands.planned import CHANGED, FOLLOWS, FORCED, NEW, UNFINISHED, Plan, Planned, warnings_of
from lacuna.commands.standing import Estimate, Grid, Listing, stage_of
from lacuna.experiment.jobs import Job

# of more jobs only those are compared with their records of which Snakemake says that their values changed
_LOOKED_AT = 5000
# what is other where a table is made of other cells
_ENTRIES = "the experiment's entries"
# the part of a job's params → the wildcard whose label the experiment's file has for it
_LABELS = {"unlearner": "unlearner", "unprune": "unlearner", "recipe": "recipe", "model": "model", "pruner": "pruner"}


def plan_of(workflow: Any, study: Study, grid: Grid) -> Plan:
    """What Snakemake would run of an experiment."""
    experiment, paths = study.experiment, study.paths
    grid.learn(read_run(journal_at(paths.there, experiment.name)))
    jobs, planned = _jobs_of(workflow, grid, closely=True)
    cores, gpus = at_once_of(workflow)
    rest = {each.job: 0.0 for each in planned}
    left = grid.left(rest, grid.expected(), cores or workflow.nodes or 1, gpus)
    return Plan(experiment.name, jobs, planned, left, grid.results)


def later_jobs(grid: Grid) -> dict[Job, bool]:
    """The jobs that wait for all batches, with whether each has made its files before."""
    last = (job for job in grid.reads if stage_of(job.rule) in ("tables", "figures", "report"))
    return {job: (grid.results / grid.traces[job].made).exists() for job in last}


def overwritten_by(workflow: Any, grid: Grid) -> list[str]:
    """Warnings of the files of other experiments that a run, which is about to begin, overwrites."""
    own = grid.experiment.name
    tables = (grid.results / "tables").glob("*/provenance.csv")
    if {path.parent.name for path in tables} | {path.stem for path in journals_in(grid.results)} <= {own}:
        return []  # as most often: nothing to look for
    jobs, planned = _jobs_of(workflow, grid, closely=False)
    return list(warnings_of(Plan(own, jobs, planned, Estimate(0.0, 0.0, 1, {}), grid.results)))


def _jobs_of(workflow: Any, grid: Grid, closely: bool) -> tuple[list[Job], list[Planned]]:
    """The experiment's jobs among Snakemake's, and those of them that would run. closely: as of `_planned`."""
    dag, root = workflow.dag, f"{grid.results}/"
    ours = {
        job: grid.by_log[log]
        for job in with_files(dag.jobs)
        if job.log and (log := str(job.log[0]).removeprefix(root)) in grid.by_log
    }
    run = [job for job in with_files(dag.needrun_jobs(exclude_finished=False)) if job in ours]
    closely, files = closely and len(run) <= _LOOKED_AT, Listing(grid.results)
    planned = []
    for job in run:
        there = [path.removeprefix(root) in files for path in job.output]
        planned.append(_planned(ours[job], job, dag.reason(job), there, closely))
    return list(ours.values()), planned


def _planned(job: Job, its: Any, reason: Any, there: Sequence[bool], closely: bool) -> Planned:
    """there: of each file that the job makes. closely: look at the values of a job too that runs anyway because what it
    reads is made anew."""
    if reason.forced:
        return Planned(job, FORCED, overwrites=all(there))
    if reason._incomplete_output:
        return Planned(job, UNFINISHED)
    if reason._missing_output and not all(there):
        return Planned(job, NEW if not any(there) else UNFINISHED)
    why = tuple(dict.fromkeys(_differences(job, its, reason, closely)))
    return Planned(job, CHANGED if why else FOLLOWS, why, overwrites=True)


def _differences(job: Job, its: Any, reason: Any, closely: bool) -> Iterator[str]:
    """What is other than when a job's files were made, in words; nothing where only what it reads is made anew."""
    # Snakemake does not ask for the values of a job that has another reason
    told = list(_of_values(job, its)) if closely or reason.params_changed else []
    listing = stage_of(job.rule) == "tables"
    yield from told or ([_ENTRIES if listing else "its values"] if reason.params_changed else [])
    if reason.code_changed:
        yield "code"
    if reason.software_stack_changed:
        yield "software environment"
    if reason.input_changed:
        yield _ENTRIES if listing else "set of input files"
    newer = sorted(map(str, reason._updated_input or ()))
    if newer:
        yield f"{newer[0]}{f' and {len(newer) - 1} more' if newer[1:] else ''} newer than what was made of it"


def _of_values(job: Job, its: Any) -> Iterator[str]:
    record = record_in(its.output)
    if record is None:
        return
    made, now = dict(record["parameters"]), dict(its.params.items())
    if made.pop("code", None) != now.pop("code", None):
        yield "code"
    place = dict(job.wildcards)
    for key, before, after in differences(_plain(made), _plain(now)):
        part, _, rest = key.partition(".")
        label = place.get(_LABELS.get(part, ""), place.get("dataset" if job.rule == "ingest" else "scenario", part))
        yield f"{'.'.join(filter(None, (label if part in {*_LABELS, 'entry'} else part, rest)))} {before} → {after}"


def _plain(value: Any) -> Any:
    """A value as JSON has it: params hold tuples, records lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
