"""CPU seconds of the default experiment at two commits, back to back, and whether their tables agree.

    python -m bench.default_job 9eb56cf HEAD --turns 3

Each commit lies in a folder of its own, with the packages of this environment. They take turns: all results are
removed, and `snakemake --profile profiles/local --cores 2`, which is what `lacuna run` starts, makes them anew. Before
the first turn the modules are compiled. Prints JSON: for each commit CPU seconds (Snakemake, its jobs and all that they
start) and seconds by the clock; the ratios of the CPU seconds, second to first, turn by turn; and the metrics of
cells.csv with values that differ: those of time and memory always do, the others where a commit between them says so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from bench.measure import machine, spread

ROOT = Path(__file__).resolve().parents[1]
# the columns of cells.csv that name a value
KEY = ["dataset", "model", "recipe", "seed", "scenario", "pruner", "sparsity", "unlearner", "metric"]
CELLS = Path("results/tables/digits/cells.csv")


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit; Python keeps its compiled files in it."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "lacuna"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(place), commit], cwd=ROOT, check=True)
        try:
            yield place
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(place)], cwd=ROOT, check=True)


def python(folder: Path, *arguments: str) -> None:
    """Python with the lacuna of a folder, which no setting of this process's threads and modules reaches."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPATH"] = os.pathsep.join(str(folder / part) for part in ("src", "workflow/lib"))
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"bench: default_job: {' '.join(arguments)} in {folder} fails: {done.stderr[-1000:]}")


def run(folder: Path) -> dict[str, float]:
    """CPU seconds and seconds by the clock of the default experiment, with nothing made before."""
    for made in ("results", ".snakemake"):
        shutil.rmtree(folder / made, ignore_errors=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    python(folder, "-m", "snakemake", "--profile", "profiles/local", "--cores", "2")
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, "wall": wall}


def different(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, int]:
    """How many values of each metric differ in any digit between two tables of cells, or are missing in one."""
    one, other = (table.set_index(KEY)["value"] for table in (first, second))
    both = pd.concat([one, other], axis=1, keys=["one", "other"])
    unlike = both[both["one"] != both["other"]]
    return {str(name): int(n) for name, n in unlike.groupby(level="metric").size().items()}


def compare(commits: list[str], turns: int) -> dict[str, Any]:
    """The two commits, turn by turn."""
    with contextlib.ExitStack() as folders:
        places = {commit: folders.enter_context(checkout(commit)) for commit in commits}
        for place in places.values():
            python(place, "-m", "compileall", "-q", "src", "workflow/lib")
        taken: dict[str, list[dict[str, float]]] = {commit: [] for commit in commits}
        for turn in range(turns):
            for commit, place in places.items():
                taken[commit].append(run(place))
                told = {name: round(value, 1) for name, value in taken[commit][-1].items()}
                print(f"bench: default_job: turn {turn + 1}, {commit}: {told}", file=sys.stderr)
        first, second = (pd.read_csv(place / CELLS, dtype=str) for place in places.values())
    result: dict[str, Any] = {
        commit: {f"{kind}_s": spread([one[kind] for one in of]) for kind in ("cpu", "wall")}
        for commit, of in taken.items()
    }
    ratios = [b["cpu"] / a["cpu"] for a, b in zip(*taken.values(), strict=True)]
    return result | {"ratio": spread(ratios), "values": len(first), "different": different(first, second)} | machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*", default=["9eb56cf", "HEAD"], help="two of them; 9eb56cf HEAD by default")
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    if len(set(chosen.commits)) != 2 or chosen.turns < 1:
        parser.error("it compares two different commits, in one turn or more")
    print(json.dumps(compare(chosen.commits, chosen.turns), indent=1))


if __name__ == "__main__":
    main()
