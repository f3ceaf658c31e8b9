"""lacuna plan: what would a run do?"""

from __future__ import annotations

import argparse
import os
import sys

from lacuna.commands.base import Command
from lacuna.commands.experiments import add_files, files_of
from lacuna.registry import register


@register("plan", group="run")
class PlanRun(Command):
    """Show what a run would do: jobs of each stage, why they would run, and how long they would take.

    Asks Snakemake, and starts no job. Names the differences that make jobs run again, with other experiments whose
    tables were made from the same files, and warns of what the tables will not be able to show. The time is estimated
    from finished jobs of the same kind.

    Example: lacuna plan
    lacuna plan config/experiments/mine.yaml
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        add_files(parser)
        parser.add_argument("--json", action="store_true", help="print every job that would run as JSON")
        parser.add_argument("--cores", metavar="N", default="all", help="jobs at the same time; by default all cores")

    def run(self, options: argparse.Namespace) -> int:
        from lacuna.commands.launch import JSON, VIEW, snakemake_command

        words = ["--dry-run", "--cores", options.cores, "--quiet", "rules", "progress"]
        words += ["--configfile", *map(str, files)] if (files := files_of(options)) else []
        os.environ[VIEW] = JSON if options.json else "plan"
        command = snakemake_command(words)
        sys.stdout.flush()
        # in this process's place: signals and the exit status are Snakemake's
        os.execv(command[0], command)
