"""What every script shares: its log, errors in one sentence, the commit. Imports no torch."""

import contextlib
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# The workflow's own library, installed or not; so every script imports this module first.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from lacuna.artifacts import content_of
from lacuna.errors import LacunaError


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[Callable[[str], None]]:
    """Gives `say(line)`, which writes to the job's log; a LacunaError ends the job with one sentence, no traceback."""
    name = " ".join([snakemake.rule, *(f"{k}={v}" for k, v in snakemake.wildcards.items())])
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", buffering=1) as log:
        try:
            yield lambda line: print(line, file=log)
        except LacunaError as error:
            sentence = f"lacuna: {name}: {error}"
            print(sentence, file=log)
            sys.exit(f"{sentence} (log: {path})")
        except Exception:
            traceback.print_exc(file=log)
            raise
        except KeyboardInterrupt:
            print(f"lacuna: {name}: interrupted", file=log)
            sys.exit(130)


def inputs_of(snakemake: Any) -> dict[str, str]:
    """The content of every input: `lacuna verify` compares it with what is there."""
    return {path: content_of(path) for path in map(str, snakemake.input)}


def commit() -> str:
    """The git commit of the workflow, with -dirty if files were changed; unknown outside a repository."""
    try:
        told = subprocess.run(
            ["git", "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git on this machine
        return "unknown"
    return told.stdout.strip() or "unknown"


def coordinates(wildcards: Any) -> dict[str, Any]:
    """The place of a cell in the tables: its wildcards, with the state taken apart ("omp-0.90" → omp, 0.90)."""
    pruner, _, sparsity = wildcards.state.rpartition("-")
    place = {k: v for k, v in wildcards.items() if k not in ("state", "experiment")} | {"seed": int(wildcards.seed)}
    return place | {"pruner": pruner or wildcards.state, "sparsity": sparsity if pruner else "0.00"}


def without_method(entry: dict[str, Any]) -> dict[str, Any]:
    """The options of a grid entry."""
    return {k: v for k, v in entry.items() if k != "method"}
