"""lacuna table: the main tables of an experiment, for a paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from lacuna.commands.answer import add_filters, filters_of
from lacuna.commands.base import Command, columns
from lacuna.commands.experiments import EXPERIMENT, tables_folder
from lacuna.errors import LacunaError
from lacuna.registry import register


@register("table", group="results")
class TableCommand(Command):
    """Print the main tables of an experiment for a paper.

    Prints one table for each dataset, model, recipe and scenario: methods by metrics, mean over the seeds and half its
    95 % interval. The caption says what bold, daggers and arrows mean. LaTeX needs the package booktabs.

    Example: lacuna table digits --latex
    lacuna table digits --markdown --metrics UA,RA,TA,MIA,avg_gap
    lacuna table jia2023_table3 --latex --published published/jia2023_table3.csv
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("experiment", metavar="EXPERIMENT", help=EXPERIMENT)
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--latex", action="store_true", help="print LaTeX")
        form.add_argument("--markdown", action="store_true", help="print Markdown")
        parser.add_argument(
            "--metrics",
            type=lambda text: [name.strip() for name in text.split(",") if name.strip()],
            default=[],
            metavar="A,B",
            help="the columns, by default UA,RA,TA,MIA,avg_gap",
        )
        parser.add_argument(
            "--published",
            type=Path,
            metavar="FILE",
            help="a file published/<table>.csv, with numbers to set behind ours",
        )
        add_filters(parser)

    def run(self, options: argparse.Namespace) -> int:
        # pandas, which the help does without
        from lacuna.reporting.paper import paper_tables
        from lacuna.reporting.typeset import latex, markdown, plain

        tables = paper_tables(
            tables_folder(options.experiment), options.metrics, options.published, filters_of(options)
        )
        if not tables:
            lack = "its tables have none of UA, RA, TA, MIA and avg_gap, and no distance from an oracle"
            raise LacunaError(f"{options.experiment}: {lack}; choose other columns with --metrics")
        width = columns()
        for position, table in enumerate(tables):
            print(end="\n" if position else "")
            if options.latex:
                print(latex(table.block, table.caption, table.label), end="")
            elif options.markdown:
                print(markdown(table.block, table.caption), end="")
            else:
                print(plain(table.block, width, table.caption), end="")
        return 0
