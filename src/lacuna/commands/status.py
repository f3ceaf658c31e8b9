"""lacuna status: how far is an experiment, and how long will it take?"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lacuna.artifacts.journal import Run, journal_at, journals_in, read_run
from lacuna.commands.base import Command
from lacuna.errors import LacunaError
from lacuna.registry import register

if TYPE_CHECKING:
    from lacuna.commands.standing import Grid, Standing

_BAR = 24
# jobs that are listed one by one
_LISTED = 10
# how much of a job's last line is shown
_SHOWN = 160
# seconds between two looks
_PACE = 2.0
# by state, what a bar shows of it
_SIGNS = {"done": "#", "running": "+", "failed": "!", "held up": "-", "to do": "."}
_WORDS = {"running": "running", "failed": "failed", "held up": "wait for a failed job", "to do": "to do"}


@register("status", group="run")
class Status(Command):
    """Show how far an experiment is: cells and jobs done, running, failed and to do, and the time left.

    Reads files alone, so that it can be asked while a run is on, on any machine that sees the files, and after a run
    was killed. Of a folder of results it shows every experiment that was run there; of an experiment's file that one.
    The time left is estimated from finished jobs of the same kind.

    Example: lacuna status
    lacuna status config/experiments/mine.yaml --watch
    lacuna status results --json
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "where",
            nargs="?",
            type=Path,
            metavar="RESULTS|FILE",
            help="a folder of results, or an experiment's file; by default the results that config/config.yaml names",
        )
        parser.add_argument("--json", action="store_true", help="print everything as JSON")
        parser.add_argument(
            "--watch", action="store_true", help="look again every two seconds, until the run has ended; Ctrl-C stops"
        )

    def run(self, options: argparse.Namespace) -> int:
        grids, others = grids_of(options.where)
        if options.json:
            from lacuna.commands.standing import as_json

            print(json.dumps([as_json(*_look(grid)) for grid in grids], indent=1, ensure_ascii=False))
            return 0
        if options.watch:
            return _watch(grids)
        blocks = ["\n".join(lines_of(*_look(grid))) for grid in grids]
        print("\n\n".join([*blocks, *others]))
        return 0


def _look(grid: Grid) -> tuple[Standing, Grid]:
    from lacuna.commands.standing import standing_of

    run = read_run(journal_at(grid.results, grid.experiment.name))
    grid.learn(run)
    return standing_of(grid, run), grid


def _watch(grids: Sequence[Grid]) -> int:
    """Show the grids again and again until nothing runs; on a terminal in place, elsewhere a line for each change."""
    shown: dict[str, str] = {}
    while True:
        looks = [_look(grid) for grid in grids]
        if sys.stdout.isatty():
            print("\033[H\033[J" + "\n\n".join("\n".join(lines_of(*look)) for look in looks), flush=True)
        else:
            for standing, _ in looks:
                line = headline(standing)
                if shown.get(standing.name) != line:
                    print(line, flush=True)
                shown[standing.name] = line
        if all(standing.alive is False for standing, _ in looks):
            return 0
        time.sleep(_PACE)


# ---- which experiments -----------------------------------------------------------------------------------------------


def grids_of(where: Path | None) -> tuple[list[Grid], list[str]]:
    """The experiments that a folder of results or a file stands for, and a line for each that has tables alone.

    Raises LacunaError for a folder that holds no run's results, and for a file that is no experiment.
    """
    from lacuna.commands.launch import experiment_file, experiment_of
    from lacuna.commands.standing import Grid

    if where is not None and where.is_dir():
        return _of_folder(where)
    grid = Grid(*experiment_of([] if where is None else [experiment_file(where)], write=False))
    if where is None and journals_in(grid.results):
        return _of_folder(grid.results)
    return [grid], []


def _of_folder(results: Path) -> tuple[list[Grid], list[str]]:
    from lacuna.commands.launch import CACHE, SCHEMA
    from lacuna.commands.standing import Grid
    from lacuna.experiment import catalogue
    from lacuna.experiment.config import load

    # what a run found out lies where it ran, seldom elsewhere than next to its results
    cache = next((folder for folder in (Path(CACHE), results.absolute().parent / CACHE) if folder.is_dir()), CACHE)
    known = catalogue.load(cache, write=False)
    grids, others = [], []
    for path in journals_in(results):
        name, run = path.stem, read_run(path)
        if run is None:
            others.append(f"{name}: {path} cannot be read; the next run writes it anew")
            continue
        try:
            grids.append(Grid(load([], run.config, SCHEMA, known, cache=cache), known, results))
        except LacunaError as error:
            others.append(f"{name}: it is none of this version's experiments ({error})")
    seen = {grid.experiment.name for grid in grids}
    others += [line for line in _tables_alone(results) if line.partition(":")[0] not in seen]
    if not grids and not others:
        if not any((results / folder).is_dir() for folder in ("logs", "data", "cells", "tables")):
            raise LacunaError(f"{results}: not a results tree; allowed: the folder of a run's results, or a file")
        others.append(f"{results}: no run has left word of its jobs here; lacuna status FILE looks for an experiment's")
    return grids, others


def _tables_alone(results: Path) -> Iterator[str]:
    for folder in sorted((results / "tables").glob("*/")):
        if (folder / "experiment.json").exists():
            yield f"{folder.name}: its tables are in {folder}; no run has left word of its jobs here"


# ---- words -----------------------------------------------------------------------------------------------------------


def headline(standing: Standing) -> str:
    """One line: cells by state, the share of the work, and the time left."""
    cells = sum(standing.cells.values())
    told = [f"{standing.cells.get('done', 0)} of {cells} cells done"]
    told += [f"{standing.cells[state]} {words}" for state, words in _WORDS.items() if standing.cells.get(state)]
    jobs = collections.Counter(standing.states.values())
    line = f"{standing.name}: {', '.join(told)}; {jobs['done']} of {len(standing.states)} jobs"
    if jobs["done"] < len(standing.states):
        line += f", {percent(standing.share)} of the work"
    if standing.left is not None:
        line += f"; {standing.left.words()}"
        if not standing.alive:
            line += ", one job at a time" if standing.left.seconds else ""
    return line


def cut(said: str) -> str:
    """The part of a log's line that a line of a run or of `lacuna status` has room for."""
    return said if len(said) <= _SHOWN else f"{said[: _SHOWN - 3]}..."


def percent(share: float) -> str:
    """A share in whole percents: 100 % when nothing is left, and 0 % when nothing is done."""
    return f"{100 if share >= 1 else min(max(round(100 * share), 1 if share > 0 else 0), 99)} %"


def lines_of(standing: Standing, grid: Grid) -> Iterator[str]:
    """What `lacuna status` prints of an experiment."""
    from lacuna.commands.closing import duration
    from lacuna.commands.standing import name_of

    yield headline(standing)
    yield from _of_run(standing.run, standing.alive)
    stages = standing.stages()
    width = max(map(len, stages), default=0)
    for stage, states in stages.items():
        total = sum(states.values())
        rest = [f"{states[state]} {words}" for state, words in _WORDS.items() if states[state] and state != "to do"]
        yield f"  {stage.ljust(width)}  [{bar(states)}]  " + ", ".join([f"{states['done']} of {total}", *rest])
    if standing.running:
        yield "running:"
        for job, seconds, says in standing.running[:_LISTED]:
            yield f"  {name_of(job)}, for {duration(seconds)}{f': {cut(says)}' if says else ''}"
        yield from _more(len(standing.running))
    if standing.failed:
        yield "failed:"
        for trouble in standing.failed[:_LISTED]:
            yield f"  {name_of(trouble.job)}: {trouble.reason} (log: {trouble.log})"
        yield from _more(len(standing.failed))
        if not standing.alive:
            yield "the same command tries them again and continues"


def _more(number: int) -> Iterator[str]:
    if number > _LISTED:
        yield f"  and {number - _LISTED} more"


def _of_run(run: Run | None, alive: bool | None) -> Iterator[str]:
    if run is None:
        return
    began = time.strftime("%d %b %H:%M", time.localtime(run.began))
    if alive:
        place = f", batch {run.batch[0]} of {run.batch[1]}" if run.batch is not None else ""
        yield f"a run is on since {began} (process {run.process}){place}"
    elif alive is None:
        last = time.strftime("%d %b %H:%M", time.localtime(run.last))
        yield f"a run began {began} on {run.node} (process {run.process}), whose last word is of {last}"
    elif run.end is None:
        yield f"the run of {began} was killed; the same command continues"
    elif run.end == "stopped":
        yield f"the run of {began} was stopped; the same command continues"
    elif run.end == "failed":
        yield f"the run of {began} ended with failed jobs"


def bar(states: Mapping[str, int]) -> str:
    """The states of a stage's jobs as a bar; what there is of a state is never invisible."""
    total = sum(states.values())
    present = [(sign, states[state]) for state, sign in _SIGNS.items() if states.get(state)]
    widths = [max(1, int(_BAR * number / total)) for _, number in present]
    # what rounding left, or took, is the largest part's
    widths[max(range(len(widths)), key=widths.__getitem__)] += _BAR - sum(widths)
    return "".join(sign * width for (sign, _), width in zip(present, widths, strict=True))
