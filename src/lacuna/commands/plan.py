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
    from finished jobs of the same kind. A large experiment is planned in batches, as lacuna run does it.

    Example: lacuna plan
    lacuna plan config/experiments/mine.yaml
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        add_files(parser)
        parser.add_argument("--json", action="store_true", help="print every job that would run as JSON")
        parser.add_argument("--cores", metavar="N", default="all", help="jobs at the same time; by default all cores")
        parser.add_argument("--batch-size", metavar="N", help="cells of a batch, as of lacuna run")

    def run(self, options: argparse.Namespace) -> int:
        from lacuna.commands.batches import Request, batch_size
        from lacuna.commands.launch import JSON, VIEW, snakemake_command

        _, size = batch_size(["--batch-size", options.batch_size] if options.batch_size is not None else [])
        words = ["--dry-run", "--cores", options.cores, "--quiet", "rules", "progress"]
        words += ["--configfile", *map(str, files)] if (files := files_of(options)) else []
        os.environ[VIEW] = JSON if options.json else "plan"
        command = snakemake_command(words)
        Request(command, os.getcwd(), size).leave()
        sys.stdout.flush()
        # in this process's place: signals and the exit status are Snakemake's
        os.execv(command[0], command)
