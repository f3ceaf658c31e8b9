"""lacuna run: Snakemake, once the experiment's files are looked at."""

from __future__ import annotations

import argparse
import os
import sys

from lacuna.commands.base import Command
from lacuna.registry import register


@register("run", group="run")
class Run(Command):
    """Run an experiment with Snakemake.

    Takes an experiment's file, or its name in config/experiments, looks at it, and starts Snakemake with the arguments
    given. Without a profile it adds --profile profiles/local, without a number of cores --cores all. Behind
    --configfile, which takes every word up to the next option, files lie over each other in their order. All options
    are Snakemake's: snakemake --help.

    Prints a line for each finished job, with the jobs done and the time left; with --verbose, --quiet or
    --printshellcmds Snakemake's own output. lacuna status shows more.

    An experiment of more than 10,000 jobs is planned and run in batches of cells, one after the other, then its tables:
    a plan of 100,000 cells at once would take 7 GB. --batch-size N puts N cells into a batch. A batch with a failed job
    does not keep the next one from running; the same command continues where a run was stopped or killed. Options by
    which Snakemake chooses jobs (--until, --forceall, ...) and targets other than all, tables and report plan all of it
    at once.

    Example: lacuna run
    lacuna run config/experiments/mine.yaml
    lacuna run tables --cores 2 --configfile config/experiments/mine.yaml
    """

    verbatim = True

    def run(self, options: argparse.Namespace) -> int:
        from lacuna.commands.batches import Request, batch_size
        from lacuna.commands.launch import VIEW, own_words, snakemake_command

        words, size = batch_size(options.words)
        command = snakemake_command(words)
        if not own_words(words):
            os.environ[VIEW] = "lines"
        Request(command, os.getcwd(), size).leave()
        sys.stdout.flush()
        # in this process's place: signals and the exit status are Snakemake's
        os.execv(command[0], command)
