"""The command line: lacuna verify."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lacuna.errors import LacunaError
from lacuna.verify import verify


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status: 0 in order, 1 findings, 2 bad input."""
    parser = argparse.ArgumentParser(prog="lacuna", description="Does a sparse model forget better?")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    check = commands.add_parser("verify", help="is a results tree whole?", description=verify.__doc__)
    check.add_argument("results", nargs="?", type=Path, default=Path("results"))
    given = parser.parse_args(arguments)
    try:
        count = 0
        for finding in verify(given.results):
            print(finding)
            count += 1
    except LacunaError as error:
        print(f"lacuna: {error}", file=sys.stderr)
        return 2
    print(f"{given.results}: {'in order' if not count else f'{count} findings'}", file=sys.stderr)
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
