"""What a run says last: what it made, or what failed and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lacuna.artifacts.logs import last_line
from lacuna.errors import LacunaError

# how many failed jobs are listed one by one
LISTED = 10


def reason_in(log: str | Path) -> str:
    """Why a job failed, in one line: the sentence at the end of its log, or how the log ends without one."""
    last = last_line(log)
    if last is None:
        return "ended before its first line: it was killed, or could not start"
    if last.startswith("lacuna: "):
        # "lacuna: unlearn dataset=digits ...: diverged": the job is named already
        return last.removeprefix("lacuna: ").partition(": ")[2] or last
    return f"ended without a reason (killed? out of memory?); its log ends: {last}" if last else "its log is empty"


def told_to_stop(log: str | Path) -> bool:
    """Whether a job ended because somebody ended it, by its log."""
    reason = reason_in(log)
    return "stopped by SIG" in reason or reason == "interrupted"


def failures(
    failed: Sequence[tuple[str, str]],
    waiting: int,
    missing_refused: bool,
    results: str = "results",
    finished: int = 0,
    seconds: float | None = None,
) -> str:
    """The end of a run with failed jobs, given as (name, log): each with its reason, then what to do.

    waiting: how many jobs could not start without them. missing_refused: tables wait too, being made of complete grids
    only.
    finished, seconds: how many jobs the run did, and its time.
    """
    them = "it" if len(failed) == 1 else "them"
    waited = f", {_count(waiting, 'job')} waited for {them}" if waiting else ""
    lines = [done(finished, seconds)] if finished else []
    lines.append(f"{_count(len(failed), 'job')} failed{waited}:")
    for name, log in failed[:LISTED]:
        lines.append(f"  {name}: {reason_in(log)} (log: {log})")
    if len(failed) > LISTED:
        lines.append(f"  and {len(failed) - LISTED} more: each has its log in {results}/logs")
    lines.append(f"run the same command to try {them} again and to continue")
    if missing_refused:
        lines.append("for tables and figures of the other cells, add to the command: --config missing=allow")
    return "\n".join(lines)


def done(finished: int, seconds: float | None = None) -> str:
    """How much a run did; seconds: in which time, if that is known."""
    return f"{_count(finished, 'job')} done{f' in {duration(seconds)}' if seconds is not None else ''}"


def stopped(finished: int, left: int, seconds: float | None = None) -> str:
    """The end of a run that was told to stop."""
    return f"stopped; {done(finished, seconds)}, {left} to do; run the same command to continue"


def stopped_in(place: str, finished: int, seconds: float) -> str:
    """The end of a run in batches that was told to stop in one of them."""
    return f"stopped in {place}; {done(finished, seconds)}; run the same command to continue"


def made(name: str, folders: set[str], overlays: Sequence[str], missing: int, results: str = "results") -> str:
    """The end of a run without failures: where its results are, and what they answer.

    folders: those of `FOLDERS` that the jobs of the run wrote to. overlays: the files with winning values. missing:
    cells that are not in the tables.
    """
    lines = []
    if "tables" in folders:
        lines.append(f"tables: {results}/tables/{name}/")
        if missing:
            lines.append(f"cells that are not in them: {missing}, see missing.csv")
    if "figures" in folders:
        lines.append(f"figures: {results}/figures/{name}/")
    if "report" in folders and (report := Path(results, "report", f"{name}.html")).exists():
        lines.append(f"report: {report}")
    if "tables" in folders:
        lines += answer(Path(results, "tables", name))
    for path in overlays:
        lines.append(f"values found: {path}")
        lines.append(
            f"to run with them: snakemake --profile profiles/local --cores all --configfile {shlex.quote(path)}"
        )
    return "\n".join(lines)


def answer(tables: Path) -> list[str]:
    """What an experiment's tables answer, in sentences; nothing where they carry none."""
    from lacuna.reporting.answer import answer_of  # loads pandas, which most runs' ends do without

    try:
        return list(answer_of(tables).sentences)
    except LacunaError:
        return []


def duration(seconds: float) -> str:
    """Seconds in words: "8 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
