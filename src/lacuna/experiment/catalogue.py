"""What exists: every registry entry with the JSON Schema of its options and the facts a plan needs.

Planning a grid must not load torch (seconds, and 0.8 GB), yet the schemas come from classes that do. So the
catalogue is made once by a child process, and kept under a digest of lacuna's sources.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from lacuna.artifacts.cache import read_cache, write_cache
from lacuna.errors import LacunaError
from lacuna.experiment.docstrings import docstring_of, meanings

Catalogue = dict[str, dict[str, Any]]

_SOURCES = Path(__file__).parents[1]

# what a plan needs to know of a metric, with what holds if it does not say
_OF_METRICS: dict[str, Any] = {"better": "none", "needs": (), "default": True}
# what a figure needs, see `lacuna.reporting.figures`; it must say what it reads
_OF_FIGURES: dict[str, Any] = {"reads": None, "metrics": (), "one_of": (), "judged": 0, "methods": 0, "acting": 0}
_OF_FIGURES |= {"sparse": False, "oracle": None, "unlearner": None, "masks": False}

# what a table reads and needs, see `lacuna.reporting.tables`
_OF_TABLES: dict[str, Any] = {"reads": None, "after": (), "needs": (), "metrics": (), "one_of": ()}


def registries() -> dict[str, Any]:
    """The public registries by the config key of their axis."""
    from lacuna.data import DATASETS, SCENARIOS
    from lacuna.evaluation import METRICS
    from lacuna.evaluation.population import POPULATION_METRICS
    from lacuna.models import MODELS
    from lacuna.pruning import PRUNERS
    from lacuna.reporting import FIGURES, TABLES
    from lacuna.training.recipes import RECIPES
    from lacuna.unlearning import UNLEARNERS

    return {
        "datasets": DATASETS,
        "scenarios": SCENARIOS,
        "models": MODELS,
        "recipes": RECIPES,
        "pruners": PRUNERS,
        "unlearners": UNLEARNERS,
        "metrics": METRICS,
        "population": POPULATION_METRICS,
        "tables": TABLES,
        "figures": FIGURES,
    }


def settings() -> dict[str, Any]:
    """The dataclasses of the config's own sections, by key."""
    from lacuna.measurement.linear_probe import Probing
    from lacuna.measurement.relearning import Relearning
    from lacuna.procedures.tuning import Tuning
    from lacuna.procedures.unpruning import Unpruning

    return {"relearning": Relearning, "transfer.probe": Probing, "tuning": Tuning, "unprune": Unpruning}


def describe() -> Catalogue:
    """The catalogue, by importing everything."""
    import inspect

    from lacuna.experiment.shadow_plan import Shadows
    from lacuna.fields import schema_of
    from lacuna.unlearning.base import Unlearner

    catalogue: Catalogue = {}
    for axis, registry in registries().items():
        catalogue[axis] = {}
        for name, entry in registry.items():
            facts: dict[str, Any] = {"module": registry.module(name), "doc": told(entry)}
            if dataclasses.is_dataclass(entry):
                facts["schema"] = schema_of(entry)
            if axis == "unlearners":
                facts |= {
                    "oracle": entry.oracle,
                    "own": entry.own,
                    "scenarios": entry.scenarios,
                    "checks": entry.check is not Unlearner.check,
                    "capped": entry.capped,
                }
            elif axis in ("metrics", "population"):
                facts |= {key: entry.about.get(key, default) for key, default in _OF_METRICS.items()}
            elif axis == "tables":
                facts |= {key: entry.about.get(key, default) for key, default in _OF_TABLES.items()}
                facts["asks"] = [*inspect.signature(entry).parameters]
            elif axis == "figures":
                facts |= {key: entry.about.get(key, default) for key, default in _OF_FIGURES.items()}
            catalogue[axis][name] = facts
    sections = settings() | {"grid.shadows": Shadows}
    catalogue["settings"] = {key: {"schema": schema_of(cls), "doc": told(cls)} for key, cls in sections.items()}
    return catalogue


def told(entry: Any) -> dict[str, Any]:
    """An entry's docstring as JSON: its parts (`Docstring`), what each option means, `own`, the options that no class
    above it has with the same default, and `facts` for readers, by title."""
    if not dataclasses.is_dataclass(entry):
        about = {key: value for key, value in entry.about.items() if isinstance(value, str | int | float | None)}
        return {"text": " ".join((entry.__doc__ or "").split()), "facts": about}
    words = dataclasses.asdict(docstring_of(entry)) | {
        "fields": meanings(entry),
        "own": [name.removesuffix("_") for name in own_fields(entry)],
    }
    facts = {"reads": reads(entry), "works with": works_with(entry), "scores": scores_when(entry)}
    return words | {"facts": {title: text for title, text in facts.items() if text}}


def own_fields(cls: Any) -> list[str]:
    """The fields that a registered class adds to what all of its kind have, or gives another default; an oracle follows
    the recipe and names its own."""
    from lacuna.data.images import Dataset
    from lacuna.pruning.base import Pruner, TrainedPruner
    from lacuna.unlearning.base import EditUnlearner, LossUnlearner

    if getattr(cls, "oracle", False):
        return list(cls.own)
    kinds = (LossUnlearner, EditUnlearner, TrainedPruner, Pruner, Dataset)
    kind = next((kind for kind in kinds if issubclass(cls, kind)), None)
    before = {f.name: f.default for f in dataclasses.fields(kind)} if kind else {}
    return [f.name for f in dataclasses.fields(cls) if before.get(f.name, ...) != f.default]


def reads(cls: Any) -> str:
    """The data streams of a method, in words; empty for what is no method."""
    return getattr(cls, "reads", None) or " and ".join(getattr(cls, "streams", ()))


def works_with(cls: Any) -> str:
    """The scenarios of a method, in words; empty for what is no method."""
    if not hasattr(cls, "scenarios"):
        return ""
    return "any scenario" if cls.scenarios is None else ", ".join(cls.scenarios)


def scores_when(cls: Any) -> str:
    """When a pruner looks at the weights, in words; empty for what is no pruner."""
    if not hasattr(cls, "before_training"):
        return ""
    if cls.before_training:
        return "before training"
    rounds = any(f.name == "rate" for f in dataclasses.fields(cls))
    return "in rounds, after each training" if rounds else "once, after training"


def load(cache: str | Path, write: bool = True) -> Catalogue:
    """The catalogue of the present sources, from the folder `cache` or made anew (a few seconds, once if `write`)."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.rglob("*.py")):
        digest.update(str(path.relative_to(_SOURCES)).encode() + b"\0" + path.read_bytes())
    stored = Path(cache) / f"catalogue-{digest.hexdigest()[:16]}.json"
    if (cached := read_cache(stored, digest.hexdigest())) is not None:
        return cached
    child = in_child("lacuna.experiment.catalogue")
    if child.returncode:
        raise LacunaError(f"the methods of lacuna cannot be listed: {blame(child.stderr)}")
    catalogue: Catalogue = json.loads(child.stdout)
    if not write:
        return catalogue
    try:
        for old in stored.parent.glob("catalogue-*.json"):
            old.unlink(missing_ok=True)
        write_cache(stored, digest.hexdigest(), catalogue)
    except OSError:
        pass  # a read-only working directory only costs the next start a few seconds
    return catalogue


def blame(trace: str) -> str:
    """The last line of a traceback, behind the innermost place in lacuna's sources that it names."""
    error = trace.strip().rpartition("\n")[2].removeprefix("lacuna.errors.LacunaError: ")
    folder = str(_SOURCES)
    places = [f for f in re.findall(r'File "(.+)", line (\d+)', trace) if f[0].startswith(folder)]
    pages = (f"commands/{name}.py" for name in ("docs", "docstrings", "config_page"))
    listing = {str(_SOURCES / name) for name in ("experiment/catalogue.py", "registry.py", *pages)}
    places = [place for place in places if place[0] not in listing]
    return f"{places[-1][0]}, line {places[-1][1]}: {error}" if places else error


def in_child(module: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a module of these sources, installed or not, in a process of its own, with `given` as its input."""
    paths = [str(_SOURCES.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    # -P: the working directory is the user's, and no file there may hide a library
    return subprocess.run(
        [sys.executable, "-P", "-m", module], input=stdin, capture_output=True, text=True, check=False, env=environment
    )


if __name__ == "__main__":
    print(json.dumps(describe()))
