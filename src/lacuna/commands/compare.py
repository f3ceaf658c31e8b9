"""lacuna compare: our table against a published one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from lacuna.artifacts.writing import atomic
from lacuna.commands.base import Command
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
        parser.add_argument("tables", type=Path, metavar="TABLES", help="a folder results/tables/<experiment>")
        parser.add_argument("published", type=Path, metavar="PUBLISHED", help="a file published/<table>.csv")
        parser.add_argument("--csv", type=Path, metavar="FILE", help="also write every row and column as CSV")
        parser.add_argument("--json", type=Path, metavar="FILE", help="also write every row and column as JSON")

    def run(self, options: argparse.Namespace) -> int:
        # pandas, which the help does without
        from lacuna.reporting.published.compare import as_text, compare

        table = compare(options.tables, options.published)
        if options.csv:
            _write(options.csv, table.to_csv(index=False))
        if options.json:
            rows = json.loads(table.to_json(orient="records", double_precision=15))
            _write(options.json, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        print(as_text(table), end="")
        return 0


def _write(path: Path, text: str) -> None:
    try:
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LacunaError(f"{path}: cannot be written ({error.strerror}); allowed: a file that can be made") from None
