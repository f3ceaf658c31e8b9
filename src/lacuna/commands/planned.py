"""What a run would do, as a table of the grid and in words: how many jobs of each stage, why, and for how long."""

from __future__ import annotations

import collections
import csv
import dataclasses
import functools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lacuna.artifacts.coordinates import COORDINATES, DENSE, State
from lacuna.artifacts.journal import config_of, journals_in
from lacuna.commands.standing import STAGES, Estimate, stage_of
from lacuna.errors import LacunaError
from lacuna.experiment.entries import states_of
from lacuna.experiment.jobs import RULES, Job

# why a job would run, in the order of the columns: nothing of it is there; its values, code or inputs are others now; a
# killed run left it; it reads what those make; the command line asks for it
NEW, CHANGED, UNFINISHED, FOLLOWS, FORCED = "new", "changed", "unfinished", "follows", "forced"
KINDS = (NEW, CHANGED, UNFINISHED, FOLLOWS, FORCED)
# differences and experiments that are listed one by one
_LISTED = 12
# folders of files that experiments share
_SHARED = ("data", "splits", "models", "cells", "shadows")


@dataclass(frozen=True)
class Planned:
    """A job that would run. why: the differences of one that changed, as words. overwrites: it has finished before."""

    job: Job
    kind: str
    why: tuple[str, ...] = ()
    overwrites: bool = False


@dataclass(frozen=True)
class Plan:
    """What a run would do. jobs: all that it looked at. planned: those that would run. left: the time that they take.
    results: the folder of the results."""

    name: str
    jobs: Sequence[Job]
    planned: Sequence[Planned]
    left: Estimate
    results: Path

    @functools.cached_property
    def _again(self) -> list[Planned]:
        """The jobs that overwrite files which experiments share."""
        return [p for p in self.planned if p.overwrites and _is_shared(p.job)]

    @functools.cached_property
    def unfinished(self) -> dict[str, set[Planned]]:
        """The other experiments without tables, of a stopped or failed run, whose grid has files that the run would
        overwrite, with the jobs."""
        found: dict[str, set[Planned]] = {}
        for path in journals_in(self.results) if self._again else ():
            name = path.stem
            if name == self.name or (self.results / "tables" / name / "provenance.csv").exists():
                continue
            grid = config_of(path).get("grid")
            if theirs := {p for p in self._again if _in_grid(p.job, grid)}:
                found[name] = theirs
        return found

    @functools.cached_property
    def users(self) -> dict[str, set[Planned]]:
        """The other experiments whose tables were made from files that the run would overwrite, with the jobs."""
        found: dict[str, set[Planned]] = {}
        again = self._again
        for name, rows in _other_tables(self.results, self.name) if again else ():
            projections: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
            for planned in again:
                place = _coordinates_of(planned.job)
                names = tuple(place)
                if names not in projections:
                    projections[names] = {tuple(row[n] for n in names) for row in rows}
                if tuple(place.values()) in projections[names]:
                    found.setdefault(name, set()).add(planned)
        return found


def as_report(plan: Plan, later: Mapping[Job, bool]) -> dict[str, Any]:
    """The plan of a batch as JSON values, for `merged`. later: the jobs that wait for all batches, and whether each has
    its files already."""
    numbers = {job: number for number, job in enumerate(plan.jobs)}
    left = plan.left
    return {
        "jobs": [[job.rule, dict(job.wildcards)] for job in plan.jobs],
        "planned": [[numbers[p.job], p.kind, list(p.why), p.overwrites] for p in plan.planned],
        "left": [left.seconds, left.work, left.at_once, dict(left.unknown)],
        "later": [[job.rule, dict(job.wildcards), there] for job, there in later.items()],
    }


def merged(name: str, reports: Sequence[Mapping[str, Any]], results: Path) -> Plan:
    """The plan of an experiment from those of its batches. A job of several batches would run once; what waits for all
    batches, if anything would run."""
    jobs: dict[Job, None] = {}
    planned: dict[Job, Planned] = {}
    left, unknown = Estimate(0.0, 0.0, 1, {}), collections.Counter[str]()
    for report in reports:
        its = [_job(*each) for each in report["jobs"]]
        jobs |= dict.fromkeys(its)
        for number, kind, why, overwrites in report["planned"]:
            planned.setdefault(its[number], Planned(its[number], kind, tuple(why), overwrites))
        seconds, work, at_once, without = report["left"]
        unknown.update(without)
        left = Estimate(left.seconds + seconds, left.work + work, at_once, {})
    later = {_job(rule, place): there for rule, place, there in (reports[-1]["later"] if reports else ())}
    if planned:
        jobs |= dict.fromkeys(later)
        for job, there in later.items():
            planned.setdefault(job, Planned(job, FOLLOWS if there else NEW, overwrites=there))
    would = collections.Counter(job.rule for job in planned)
    left = dataclasses.replace(left, unknown={rule: min(n, would[rule]) for rule, n in unknown.items()})
    return Plan(name, list(jobs), list(planned.values()), left, results)


def _job(rule: str, place: Mapping[str, str]) -> Job:
    # there are many, of few values
    return Job(rule, tuple((sys.intern(name), sys.intern(value)) for name, value in place.items()))


def _is_shared(job: Job) -> bool:
    """Whether what a job makes serves every experiment; metrics lie next to a cell, but are of one."""
    at = RULES[job.rule].at
    return at.folder in _SHARED and "{experiment}" not in at.made


# the axis of a grid that has the labels of a wildcard
_AXES = {"dataset": "datasets", "model": "models", "recipe": "recipes", "seed": "seeds", "scenario": "scenarios"}


def _in_grid(job: Job, grid: Any) -> bool:
    """Whether a grid, as a file has it, has the labels of a job; their values may be others."""
    place = dict(job.wildcards)
    try:
        states = states_of(grid["sparsities"], grid.get("pruners") or {})
        methods = map(str, grid["unlearners"])
        return (
            all(place[name] in map(str, grid[axis]) for name, axis in _AXES.items() if name in place)
            and place.get("state", DENSE) in (DENSE, *states)
            # those of un-pruning are named by their options
            and (bool(grid.get("unprune")) if job.rule == "unprune" else place.get("unlearner", "") in {"", *methods})
        )
    except (LacunaError, LookupError, TypeError, ValueError, AttributeError):
        return False  # of another version


def _coordinates_of(job: Job) -> dict[str, str]:
    place = dict(job.wildcards)
    if "state" in place:
        place |= State.parse(place.pop("state"))._asdict()
    return {name: place[name] for name in COORDINATES if name in place}


def _other_tables(results: Path, own: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The cells of the tables of other experiments; tables that cannot be read, or hold none, are left out."""
    for path in sorted((results / "tables").glob("*/provenance.csv")):
        if path.parent.name == own:
            continue
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if all(row.get(name) for name in COORDINATES)]
        except (OSError, ValueError, csv.Error):
            continue
        if rows:
            yield path.parent.name, rows


def lines_of(plan: Plan) -> Iterator[str]:
    """What `lacuna plan` prints, and a dry run last."""
    cells = [job for job in plan.jobs if job.rule == "evaluate"]
    again = {planned.job for planned in plan.planned}
    ready = sum(1 for cell in cells if cell not in again)
    of_cells = f"{ready} of {len(cells)} cells are finished; " if cells else ""
    yield f"{plan.name}: {of_cells}{_of_jobs(len(plan.planned), len(plan.jobs))}"
    if not plan.planned:
        return
    yield from _table(plan)
    yield f"time: {_time(plan)}" + (
        f", {plan.left.at_once} at a time" if plan.left.seconds and plan.left.at_once > 1 else ""
    )
    yield from _changes(plan)


def _time(plan: Plan) -> str:
    """The time that the jobs take, where finished ones tell that of most of the work: the whole trainings, and at
    least half of the jobs."""
    unknown = plan.left.unknown
    trained = any(stage_of(rule) in ("train", "oracle") for rule in unknown)
    if not trained and 2 * sum(unknown.values()) <= len(plan.planned):
        return plan.left.words("")
    rules = ", ".join(f"{number} {rule}" for rule, number in plan.left.unknown.items())
    return f"no estimate yet: no job of the kinds that are left has finished ({rules})"


def _of_jobs(planned: int, jobs: int) -> str:
    return f"{planned} of {jobs} jobs would run" if planned else f"nothing would run, all {jobs} jobs are finished"


def _table(plan: Plan) -> Iterator[str]:
    kinds = [kind for kind in KINDS if any(planned.kind == kind for planned in plan.planned)]
    looked = collections.Counter(stage_of(job.rule) for job in plan.jobs)
    would = collections.Counter((stage_of(planned.job.rule), planned.kind) for planned in plan.planned)
    rows = [["", "finished", "would run", *kinds]]
    for stage in (stage for stage in STAGES if looked[stage]):
        counts = [would[stage, kind] for kind in kinds]
        rows.append(
            [stage, *map(str, (looked[stage] - sum(counts), sum(counts))), *(str(n) if n else "" for n in counts)]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for stage, *numbers in rows:
        cells = (number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join(("", stage.ljust(widths[0]), *cells)).rstrip()


def _changes(plan: Plan) -> Iterator[str]:
    """The differences that make jobs run again, each with its jobs by stage and who else uses their files."""
    groups: dict[str, list[Planned]] = {}
    for planned in plan.planned:
        for why in planned.why:
            groups.setdefault(why, []).append(planned)
    told = sorted(groups.items(), key=lambda item: -len(item[1]))
    for why, jobs in told[:_LISTED]:
        stages = collections.Counter(stage_of(planned.job.rule) for planned in jobs)
        line = f"changed: {why}: " + ", ".join(_counted(stages[stage], stage) for stage in STAGES if stages[stage])
        users = [name for name, theirs in (plan.users | plan.unfinished).items() if not theirs.isdisjoint(jobs)]
        yield line + (f", also used by {', '.join(users)}" if users else "")
    if len(told) > _LISTED:
        yield f"changed: {len(told) - _LISTED} more differences"
    yield from warnings_of(plan)


def _counted(number: int, stage: str) -> str:
    """ "3 tables" and "1 table": stages that are called by their files have a singular."""
    return f"{number} {stage.removesuffix('s') if number == 1 and stage in ('tables', 'figures') else stage}"


def warnings_of(plan: Plan) -> Iterator[str]:
    """A line for each other experiment whose tables were made from files that the run overwrites, or will be."""
    of_tables, of_none = "the tables of '{}' were made from", "'{}' uses, which has no tables yet"
    for users, whose in ((plan.users, of_tables), (plan.unfinished, of_none)):
        for name, theirs in users.items():
            them = "1 job overwrites" if len(theirs) == 1 else f"{len(theirs)} jobs overwrite"
            yield (
                f"warning: {them} files that {whose.format(name)}; give the changed entries labels of their own to "
                "keep both"
            )


def as_json(plan: Plan) -> str:
    """All of it as JSON."""
    users: dict[Planned, list[str]] = {}
    for name, theirs in (plan.users | plan.unfinished).items():
        for planned in theirs:
            users.setdefault(planned, []).append(name)
    jobs = [
        {
            "rule": p.job.rule,
            **dict(p.job.wildcards),
            "kind": p.kind,
            "why": list(p.why),
            "overwrites": p.overwrites,
            "also_used_by": users.get(p, []),
        }
        for p in plan.planned
    ]
    left = plan.left
    time = {"seconds": round(left.seconds, 1), "at_once": left.at_once, "without_estimate": dict(left.unknown)}
    return json.dumps(
        {"experiment": plan.name, "jobs": len(plan.jobs), "would_run": jobs, "time": time}, indent=1, ensure_ascii=False
    )
