"""lacuna check: is an experiment's file in order?"""

from __future__ import annotations

import argparse
import sys

from lacuna.commands.base import Command
from lacuna.commands.experiments import add_files, files_of
from lacuna.registry import register


@register("check", group="run")
class Check(Command):
    """Check an experiment's file without starting a job.

    Checks what a run checks before its first job: the files, every value, the data, and whether each network and
    method can work with the others. The files lie over config/config.yaml in the order given; without any, that one is
    checked.

    Example: lacuna check config/experiments/mine.yaml
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        add_files(parser)

    def run(self, options: argparse.Namespace) -> int:
        from lacuna.commands.launch import check_experiment
        from lacuna.experiment.foresight import limits_of

        experiment = check_experiment(files_of(options))
        for line in [*(f"warning: {w}" for w in experiment.warnings), *(f"note: {n}" for n in limits_of(experiment))]:
            print(line, file=sys.stderr)
        print(f"{experiment.name}: in order, {sum(1 for _ in experiment.cells())} cells")
        return 0
