"""The measurements of this folder: a list of them, and one, some or all of those that need nothing but this machine.

    python -m bench                              what there is
    python -m bench run [NAME ...] [--json F]    run them one after the other; all that are short, by default

Each is a file of its own that prints JSON, with the machine, its threads and its load where it measures time.
`--json` writes what they printed into one file, by name.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# those that end within some minutes, and need no cluster, no GPU and no study
SHORT = ("limits", "speed", "evaluation", "second_order", "compaction", "synflow", "recipes", "wakes")
# what the others import
PARTS = ("__main__", "measure", "naive")


def measurements() -> dict[str, str]:
    """The first line of each file's docstring, by name."""
    found = {}
    for path in sorted([*HERE.glob("*.py"), *HERE.glob("*/__main__.py")]):
        name = path.stem if path.parent == HERE else path.parent.name
        if name not in PARTS:
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            found[name] = text.partition("\n")[0]
    return found


def result_of(name: str) -> Any:
    """What a measurement printed; ends this process with its status where it fails or prints no JSON."""
    environment = os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    command = [sys.executable, "-m", f"bench.{name}"]
    done = subprocess.run(command, cwd=HERE.parent, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    try:
        return json.loads(done.stdout)
    except ValueError:
        sys.exit(f"bench: {name}: prints no JSON; allowed: {', '.join(SHORT)}")


def main() -> None:
    known = measurements()
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["list", "run"], default="list")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--json", type=Path, metavar="F", help="a file for all results, by name")
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            sys.exit(f"bench: unknown measurement '{name}'{hint}; allowed: {', '.join(known)}")
    if chosen.what == "list":
        for name in chosen.names or known:
            print(f"{name:<14}{'' if name in SHORT else '(long) '}{known[name]}")
        return
    results = {}
    for name in chosen.names or SHORT:
        print(f"bench: {name}: {known[name]}", file=sys.stderr)
        results[name] = result_of(name)
        if chosen.json is None:
            print(json.dumps({name: results[name]}, indent=1), flush=True)
        else:
            chosen.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
