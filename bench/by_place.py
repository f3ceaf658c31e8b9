"""An experiment whose values are tuned for each place, a scenario at a sparsity, and the tables of all places together.

    python bench/by_place.py search FILE [--cores 2]            # `snakemake tune` at every place
    python bench/by_place.py run FILE --seeds 0 1 [--cores 2]   # cells and tables of these seeds at every place
    python bench/by_place.py tables FILE [--results results]    # docs/results/<name>/*.csv, figures and parts of pages

A grid has one set of values for all its scenarios and sparsities. Here FILE, an experiment with `tuning`, is run as one
experiment for each place, `<name>_class_0.90`, so that every place gets its own values. They share every model that is
the same. `search` leaves all values that were tried in docs/results/<name>/values.json; `run` takes the best from there
and calls the methods `ft_tuned`, as `snakemake tune` does. Where a place has no values yet `run` makes the untouched
model and the oracles alone. Each goes on after an interruption, and `run` needs no search where values.json is there.
`{"of": "memorising"}` in values.json means: those of that study. A FILE with neither is run with its own values.

A study may be made seed by seed, each where no results of the others are left: `tables` adds the cells of results/ to
those that docs/results/<name>/ has of other seeds, and computes everything else from all of them. It comes after each
`run`, which leaves tables of its own seeds alone. It first compares
both experiments (docs/results/<name>/experiment.json): images, recipe, values, metrics. Then it writes every part of a
page that is of this study (`bench.study.page`), and the figures; without results/ it writes them anew from what
docs/results/<name>/ has.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.study import figures, page
from bench.study.places import PAGES, ROOT, Experiment, at_place, expected_cells, is_tuned, places, read_values
from bench.study.seeds import joined
from bench.study.tables import followed
from lacuna.errors import LacunaError
from lacuna.experiment.overlay import as_yaml
from lacuna.experiment.yaml_files import read_yaml
from lacuna.reporting.tables.files import read_table, write_table


class Runs:
    """Runs of Snakemake, one after the other; a signal that ends this process ends the present one first, and its jobs.

    Of a signal to itself alone Snakemake says that it ends with its jobs; they are told too, and keep where they are.
    """

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self.child: subprocess.Popen[bytes] | None = None
        self.told = 0
        for kind in (signal.SIGTERM, signal.SIGINT):
            signal.signal(kind, self._end)

    def _end(self, kind: int, frame: object) -> None:
        self.told = kind
        # the call that waits for it cannot be waited for here
        if self.child is not None and self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGTERM)
        else:
            sys.exit(128 + kind)

    def __call__(self, made: Experiment, *arguments: str) -> bool:
        """One run; whether all of it was made."""
        folder = ROOT / "build" / "by_place"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{made['name']}.yaml"
        file.write_text(as_yaml(made, "made by bench/by_place.py"), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--profile", "profiles/local", "--cores", str(self.cores)]
        self.child = subprocess.Popen([*command, *arguments, "--configfile", str(file)], cwd=ROOT, process_group=0)
        status = self.child.wait()
        if self.told:
            sys.exit(128 + self.told)
        return status == 0


def search(experiment: Experiment, runs: Runs) -> None:
    grid = experiment["grid"]
    where = "/".join(next(iter(grid[axis])) for axis in ("datasets", "models", "recipes"))
    file = PAGES / experiment["name"] / "values.json"
    for name in places(experiment):
        found = read_values(experiment)
        if name in found or not runs(at_place(experiment, name, None, {}), "tune"):
            continue
        found[name] = {
            label: searched(json.loads((ROOT / f"results/tuning/{name}/{where}/{label}.json").read_text()))
            for label, entry in grid["unlearners"].items()
            if is_tuned(label, entry)
        }
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def searched(study: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a study: every value that was tried, with its score, its accuracies (means) and its cost."""
    trials = []
    for trial in study["trials"]:
        parts = pd.DataFrame([part.get("accuracy", {}) for part in trial["parts"]])
        trials.append(
            {
                "values": trial["values"],
                "score": round(trial["score"], 3),
                "accuracy": {name: round(value, 2) for name, value in parts.mean().dropna().items()},
                "seconds": round(sum(part["seconds"] for part in trial["parts"]), 1),
            }
        )
    return {"space": study["space"], "best": study["best"], "trials": trials}


def run(experiment: Experiment, runs: Runs, seeds: Sequence[int]) -> None:
    for name in places(experiment):
        made = at_place(experiment, name, seeds, read_values(experiment))
        if not runs(made):
            # a method that diverges is a finding: tables of the others
            runs(made, "tables", "--config", "missing=allow")


def tables(experiment: Experiment, results: Path, pages: Path = PAGES) -> None:
    """Write the tables of all seeds, the figures and every part of a page that is of this study.

    Nothing is written where seeds do not add up, or where a page asks for a part that is not known. Then the same for
    each study that draws this one next to itself.
    """
    folder = pages / experiment["name"]
    whole, made = joined(experiment, results, folder)
    made |= followed(made["cells"], made["provenance"], whole, len(experiment["grid"]["seeds"]))
    study = study_of(experiment, made, pages)
    drawn = figures.drawn(study, whole, base_of(folder, pages))
    texts = page.filled(pages, study, figures.links(study, drawn))
    folder.mkdir(exist_ok=True)
    for table, rows in made.items():
        # a question that the study does not ask has no file
        if len(rows) or table not in page.ASKED:
            write_table(folder / f"{table}.csv", rows)
    (folder / "experiment.json").write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for part, figure in drawn.items():
        figures.save(figure, folder / f"{part}.svg")
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")
    print(f"{study.name}: {' '.join(page.state(study))}")
    for other in sorted(pages.glob("*/cells.csv")):
        if base_name(other.parent) == study.name:
            tables(read_yaml(ROOT / f"config/experiments/{other.parent.name}.yaml"), results, pages)


def study_of(experiment: Experiment, made: Mapping[str, pd.DataFrame], pages: Path = PAGES) -> page.Study:
    """What pages are told of an experiment with these tables."""
    values = read_values(experiment, pages)
    searches = {} if base_name(pages / experiment["name"]) else values
    needed = len(experiment["grid"]["seeds"])
    return page.Study(experiment["name"], made, needed, expected_cells(experiment, values), searches)


def base_name(folder: Path) -> str:
    """The study whose values this one takes, and which it is compared with; nothing where it has its own."""
    file = folder / "values.json"
    return str(json.loads(file.read_text(encoding="utf-8")).get("of", "")) if file.exists() else ""


def base_of(folder: Path, pages: Path) -> page.Study | None:
    name = base_name(folder)
    summary = pages / name / "summary.csv"
    return page.Study(name, {"summary": read_table(summary)}, 0, {}) if name and summary.exists() else None


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["search", "run", "tables"])
    arguments.add_argument("file", type=Path)
    arguments.add_argument("--seeds", type=int, nargs="+", help="default: those of FILE")
    arguments.add_argument("--cores", type=int, default=1)
    arguments.add_argument("--results", type=Path, default=ROOT / "results", help="of `tables`: where a run left them")
    chosen = arguments.parse_args()
    experiment = read_yaml(chosen.file)
    if chosen.what == "tables":
        try:
            tables(experiment, chosen.results)
        except (LacunaError, json.JSONDecodeError) as error:
            sys.exit(f"by_place.py: {error}")
    elif chosen.what == "search":
        search(experiment, Runs(chosen.cores))
    else:
        run(experiment, Runs(chosen.cores), chosen.seeds or experiment["grid"]["seeds"])


if __name__ == "__main__":
    main()
