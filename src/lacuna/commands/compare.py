"""lacuna compare: our table against a published one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lacuna.artifacts.writing import atomic
from lacuna.commands.base import Command
from lacuna.commands.experiments import EXPERIMENT, tables_folder
from lacuna.errors import LacunaError
from lacuna.registry import register


@register("compare", group="results")
class Compare(Command):
    """Compare a table with a published one, cell by cell.

    Prints for each cell: ours and its interval, the published mean and deviation, their difference, and whether noise
    explains it. docs/compare.md explains every column and verdict.

    Example: lacuna compare results/tables/jia2023_table3 published/jia2023_table3.csv
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("tables", metavar="EXPERIMENT", help=EXPERIMENT)
        parser.add_argument("published", type=Path, metavar="PUBLISHED", help="a file published/<table>.csv")
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--markdown", action="store_true", help="print Markdown")
        form.add_argument("--latex", action="store_true", help="print LaTeX, which needs the package booktabs")
        parser.add_argument("--csv", type=Path, metavar="FILE", help="also write every row and column as CSV")
        parser.add_argument("--json", type=Path, metavar="FILE", help="also write every row and column as JSON")

    def run(self, options: argparse.Namespace) -> int:
        # pandas, which the help does without
        from lacuna.reporting.published.blocks import compared_blocks
        from lacuna.reporting.published.compare import as_text, compare
        from lacuna.reporting.tables.files import as_text as as_csv
        from lacuna.reporting.typeset import latex, markdown

        table = compare(tables_folder(options.tables), options.published)
        if options.csv:
            _write(options.csv, as_csv(table))
        if options.json:
            rows = json.loads(table.to_json(orient="records", double_precision=15))
            _write(options.json, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        blocks = [*compared_blocks(table)] if options.markdown or options.latex else []
        if not blocks:
            print(as_text(table), end="")
        for number, (block, caption) in enumerate(blocks):
            label = f"tab:{options.published.stem}-{number + 1}"
            told = latex(block, f"{block.title}. {caption}", label) if options.latex else markdown(block, caption)
            print(told, end="\n" if number + 1 < len(blocks) else "")
        return 0


def _write(path: Path, text: str) -> None:
    try:
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LacunaError(f"{path}: cannot be written ({error.strerror}); allowed: a file that can be made") from None
