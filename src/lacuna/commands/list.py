"""lacuna list: the names that a config can use."""

from __future__ import annotations

import argparse
import dataclasses
import json

from lacuna.commands.base import Command, hanging, one_of
from lacuna.registry import register


@register("list", group="catalogue")
class List(Command):
    """List methods, pruners, metrics, datasets and all else that a config can use.

    Without a kind, counts the names of each. With one, prints each name with a line and its source; `lacuna explain
    NAME` says more.

    Example: lacuna list
    lacuna list methods
    lacuna list metrics --json
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        from lacuna.commands.kinds import ALIASES, KINDS

        parser.add_argument(
            "kind", nargs="?", type=one_of([*KINDS, *ALIASES], "kind"), metavar="KIND", help=", ".join(KINDS)
        )
        parser.add_argument("--json", action="store_true", help="print as JSON: a list of name, text and source")

    def run(self, options: argparse.Namespace) -> int:
        from lacuna.commands.kinds import ALIASES, KINDS, rows

        kinds = [ALIASES.get(options.kind, options.kind)] if options.kind else list(KINDS)
        told = {kind: list(rows(kind)) for kind in kinds}
        if options.json:
            held = {kind: [dataclasses.asdict(row) for row in its] for kind, its in told.items()}
            print(json.dumps(held[kinds[0]] if options.kind else held, indent=1, ensure_ascii=False))
        elif options.kind:
            indent = max(len(row.name) for row in told[kinds[0]]) + 2
            for row in told[kinds[0]]:
                words = f"{row.text} [{row.source}]" if row.source else row.text
                print(hanging(row.name, words, indent))
        else:
            indent = max(map(len, KINDS)) + 2
            for kind, its in told.items():
                print(hanging(kind, f"{len(its):3}  {', '.join(row.name for row in its)}", indent, 5))
        return 0
