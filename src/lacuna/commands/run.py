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

    Example: lacuna run
    lacuna run config/experiments/mine.yaml
    lacuna run tables --cores 2 --configfile config/experiments/mine.yaml
    """

    verbatim = True

    def run(self, options: argparse.Namespace) -> int:
        from lacuna.commands.launch import VIEW, own_words, snakemake_command

        command = snakemake_command(options.words)
        if not own_words(options.words):
            os.environ[VIEW] = "lines"
        sys.stdout.flush()
        # in this process's place: signals and the exit status are Snakemake's
        os.execv(command[0], command)
