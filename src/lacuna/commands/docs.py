"""The generated pages: docs/methods.md, docs/pruners.md and docs/metrics.md, from what the code says of itself.

python -m lacuna.commands.docs [--check]     write the pages, or only say whether they are up to date
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import itertools
import math
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from lacuna.artifacts.writing import atomic
from lacuna.evaluation import METRICS
from lacuna.evaluation.population import POPULATION_METRICS
from lacuna.experiment.catalogue import blame, settings
from lacuna.fields import describe, schema_of
from lacuna.pruning import PRUNERS
from lacuna.pruning.base import Pruner, TrainedPruner
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.base import EditUnlearner, LossUnlearner

PAGES = Path(__file__).resolve().parents[3] / "docs"
_COMMON = {f.name for f in dataclasses.fields(LossUnlearner)}
_NOTES = ("Published values", "Cost", "Source")


def parts_of(cls: Any, needed: tuple[str, ...] = ("Cost", "Source")) -> dict[str, Any]:
    """A docstring taken apart: title, formula, text, what each field means, and the closing notes.

    A field that a base class explains need not be explained again.
    Raises ValueError if the docstring lacks a formula, a needed note or a line for one of the class's own fields.
    """
    found = _taken_apart(cls, set(_field_names(cls))) | {"fields": meanings(cls)}
    missing = [n for n in own_fields(cls) if n not in found["fields"] and n not in _COMMON]
    missing += [n for n in needed if n not in found["notes"]] + ([] if found["formula"] else ["a formula"])
    if missing:
        raise ValueError(f"{cls.__name__}: its docstring does not say {', '.join(missing)}")
    return found


def meanings(cls: Any) -> dict[str, str]:
    """What each field means, by the docstrings of the class and its bases; the nearest one counts."""
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            said |= _taken_apart(base, set(_field_names(base)))["fields"]
    return said


def _taken_apart(cls: Any, fields: set[str]) -> dict[str, Any]:
    first, _, rest = inspect.cleandoc(vars(cls).get("__doc__") or "").partition("\n\n")
    title, _, formula = first.replace("\n", " ").partition(": ")
    found: dict[str, Any] = {"title": title, "formula": formula.rstrip("."), "text": [], "fields": {}, "notes": {}}
    into: tuple[dict[str, str] | None, str] = (None, "")
    for line in rest.splitlines():
        # "a: meaning. b: meaning." is one line for two fields, "a, b: meaning" one meaning for both
        starts = [m for m in re.finditer(r"(?:^|(?<=\. ))([a-z_0-9, ]+): ", line) if _names(m) <= fields]
        note = next((n for n in _NOTES if line.startswith(n)), None)
        if starts and starts[0].start() == 0:
            for i, start in enumerate(starts):
                end = starts[i + 1].start() if i + 1 < len(starts) else len(line)
                for name in _names(start):
                    found["fields"][name] = line[start.end() : end].strip()
                    into = (found["fields"], name)
        elif note:
            found["notes"][note] = line if note == "Published values" else line.partition(": ")[2]
            into = (found["notes"], note)
        elif into[0] is not None and line:
            into[0][into[1]] += " " + line.strip()
        else:
            into = (None, "")  # a blank line ends what a field means
            found["text"].append(line.strip())
    return found


def _names(match: re.Match[str]) -> set[str]:
    return {name.strip() for name in match.group(1).split(",")}


def own_fields(cls: Any) -> list[str]:
    """The fields a class adds to its kind, or gives another default; an oracle follows the recipe and names its own."""
    if getattr(cls, "oracle", False):
        return list(cls.own)
    kind = next(kind for kind in (LossUnlearner, EditUnlearner, TrainedPruner, Pruner) if issubclass(cls, kind))
    before = {f.name: f.default for f in dataclasses.fields(kind)}
    return [f.name for f in dataclasses.fields(cls) if before.get(f.name, ...) != f.default]


_PUBLISHED = re.compile(r"([^.]+(?:\.\d[^.]*)*)\.(?= |$)")
_HERE = re.compile(r" Here ([^:]+): ")


def published_values(cls: Any) -> dict[str, tuple[str, bool]]:
    """The published value of each field that the note `Published values` names, and whether the default is another.

    The note reads "Published values (of what): field value, field value. Here field value, field value: why. Text."
    A value is one word, "a or b", or "a to b" for every number between; the second sentence, if there is one, names
    each field whose default is not published, with that default. "none" instead of fields: nothing is published.
    Raises ValueError if it reads otherwise, names no field of the class, or says of a default what does not hold.
    """
    note = parts_of(cls)["notes"].get("Published values", "")
    listed = re.sub(r" \([^)]*\)", "", note.partition(": ")[2])  # a remark in parentheses is no value
    found, here = _PUBLISHED.match(listed), _HERE.search(listed)
    if found is None:
        raise ValueError(f"{cls.__name__}: 'Published values' does not list fields with values: {note!r}")
    if found.group(1).startswith("none"):
        return {}
    defaults = {f.name: f.default for f in dataclasses.fields(cls)}
    published = dict(map(_named, found.group(1).split(", ")))
    others = dict(map(_named, here.group(1).split(", "))) if here else {}
    if unknown := [name for name in (*published, *others) if name not in defaults]:
        raise ValueError(f"{cls.__name__}: 'Published values' names {', '.join(unknown)}, which is no field")
    for name, value in published.items():
        as_published, said = _is(defaults[name], value), name in others
        if as_published == said or (said and not _is(defaults[name], others[name])):
            raise ValueError(
                f"{cls.__name__}.{name}: the default is {defaults[name]}, published is {value}, and the docstring says "
                + (f"'Here {name} {others[name]}'" if said else "nothing of a difference")
            )
    if idle := set(others) - set(published):
        raise ValueError(f"{cls.__name__}: 'Here' names {', '.join(idle)}, of which no published value is listed")
    return {name: (value, name in others) for name, value in published.items()}


def _named(item: str) -> tuple[str, str]:
    name, _, value = item.strip().partition(" ")
    return name, value


def _is(default: Any, value: str) -> bool:
    """Whether a default is a value of a docstring."""
    words = {"true": True, "false": False, "null": None}
    low, to, high = value.replace("−", "-").partition(" to ")
    if to:
        return isinstance(default, int | float) and float(low) <= default <= float(high)
    for choice in low.split(" or "):
        try:
            meant: Any = words[choice] if choice in words else float(choice)
        except ValueError:
            meant = choice
        if type(meant) in (bool, type(None), str) or type(default) in (bool, type(None), str):
            if meant == default and type(meant) is type(default):
                return True
        elif math.isclose(meant, default, rel_tol=1e-12):
            return True
    return False


def methods_page() -> str:
    """docs/methods.md."""
    lines = [
        "# Methods",
        "",
        "Generated from the dataclasses in `src/lacuna/unlearning/methods/` by `make docs`; edit those.",
        "",
        "θ_o is the original model, D_f the data to forget, D_r the retained data, ℓ mean cross-entropy, m the mask.",
        "Every method keeps masked weights at exactly 0. Defaults are the published values (of a range, one in it),",
        "except where a method's line `Published values` gives its own default after the word Here. An experiment in",
        "`config/` that uses other values says so, and how they were found.",
        "",
        "| name | reads | works with | own hyper-parameters |",
        "|---|---|---|---|",
    ]
    entries = dict(UNLEARNERS.items())
    for name, cls in entries.items():
        shown = ", ".join(f"`{f}`" for f in own_fields(cls)) or "none"
        if cls.oracle:
            shown = ", ".join(filter(None, ["those of the recipe", *(f"`{f}`" for f in cls.own)]))
        lines.append(f"| [`{name}`](#{name}) | {reads(cls)} | {works_with(cls)} | {shown} |")
    lines += ["", "## Shared hyper-parameters", ""]
    lines += ["Every method that takes gradient steps has these; a method's own default is in its table.", ""]
    lines += table(LossUnlearner, _field_names(LossUnlearner))
    for name, cls in entries.items():
        parts = parts_of(cls)
        lines += ["", f"## {name}", "", f"**{parts['title']}.** {parts['formula']}.", ""]
        if parts["text"]:
            lines += [" ".join(parts["text"]).strip(), ""]
        lines += [f"Reads {reads(cls)}; works with {works_with(cls)}. Cost: {parts['notes']['Cost']}", ""]
        if own_fields(cls):
            lines += [*table(cls, own_fields(cls)), ""]
        if "Published values" in parts["notes"]:
            published_values(cls)
            lines += [parts["notes"]["Published values"], ""]
        lines += [f"Source: {parts['notes']['Source']}"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def pruners_page() -> str:
    """docs/pruners.md."""
    lines = [
        "# Pruners",
        "",
        "Generated from the dataclasses in `src/lacuna/pruning/` by `make docs`; edit those.",
        "",
        "A pruner makes one sparse state of each number in `sparsities`: `omp-0.90`. The sparsity s is the share of",
        "prunable weights that are removed, met to the weight, by a pruner of filters to the filter. Every",
        "convolution is prunable, in a transformer every Linear layer but the classifier too; a bias or batch norm",
        "only goes with its filter.",
        "",
        "θ_0 is the initialisation, θ_k the weights at the recipe's `rewind_epoch`, θ_T those at the end, m the mask,",
        "ℓ mean cross-entropy. What is removed stays exactly 0 in every later stage. A layer of which nothing is left",
        "is warned of in the job's log and counted by the metric `collapsed_layers`.",
        "",
        "| name | when it scores | own hyper-parameters |",
        "|---|---|---|",
    ]
    entries = dict(PRUNERS.items())
    for name, cls in entries.items():
        shown = ", ".join(f"`{f}`" for f in own_fields(cls)) or "none"
        lines.append(f"| [`{name}`](#{name}) | {scores_when(cls)} | {shown} |")
    lines += ["", "## Shared hyper-parameters", "", "Every pruner has these.", "", *table(Pruner, _field_names(Pruner))]
    added = [f for f in _field_names(TrainedPruner) if f not in _field_names(Pruner)]
    lines += ["", "Those that score trained weights have this one too.", "", *table(TrainedPruner, added)]
    for name, cls in entries.items():
        parts = parts_of(cls, needed=("Source",))
        lines += ["", f"## {name}", "", f"**{parts['title']}**: {parts['formula']}.", ""]
        if parts["text"]:
            lines += [" ".join(parts["text"]).strip(), ""]
        if own_fields(cls):
            lines += [*table(cls, own_fields(cls)), ""]
        if "Cost" in parts["notes"]:
            lines += [f"Cost of the scores: {parts['notes']['Cost']}", ""]
        lines += [f"Source: {parts['notes']['Source']}"]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def scores_when(cls: Any) -> str:
    """When a pruner looks at the weights, in words."""
    if cls.before_training:
        return "before training"
    return "in rounds, after each training" if "rate" in _field_names(cls) else "once, after training"


def reads(cls: Any) -> str:
    """The data streams of a method, in words."""
    return getattr(cls, "reads", None) or " and ".join(cls.streams)


def works_with(cls: Any) -> str:
    """The scenarios of a method, in words."""
    return "any scenario" if cls.scenarios is None else ", ".join(cls.scenarios)


def table(cls: type, names: list[str]) -> list[str]:
    """A Markdown table of fields: name, default, allowed values, meaning."""
    properties, said = schema_of(cls)["properties"], meanings(cls)
    rows = ["| name | default | allowed | meaning |", "|---|---|---|---|"]
    for name in names:
        schema = properties[name]
        default = schema.get("default", "must be given")
        allowed = describe({k: v for k, v in schema.items() if k != "default"}).replace("|", "\\|")
        rows.append(f"| `{name}` | `{default}` | {allowed} | {said[name].strip()} |")
    return rows


_METRICS_HEAD = """\
# Metrics

Generated from the functions in `src/lacuna/evaluation/metrics/` by `make docs`; edit those.

Every metric is a function of stored predictions: logits on D_r (retain), D_f (forget), validation and test set. p(x) is
the softmax of the logits, u the unlearned model, Δ a difference to an oracle. Under class forgetting the test set is
without the forgotten class. `metrics: [UA, MIA, ZRF]` in the config chooses; without it all are computed but those on
request. A metric against an oracle appears once for each, as `KL_forget/retrain`. One that has no value for a cell is
left out of the tables, and the cell's metrics file says why under `absent`.

"better" is what unlearning should make of it: lower, higher, as the oracle has it, or as near as can be to a number.
"""


_POPULATION_HEAD = """\
# Metrics of populations

Computed from shadow models, where the grid has `shadows: {models: 8, per_job: 4}`; then all of them, whatever `metrics`
chooses.
"""


def metrics_page() -> str:
    """docs/metrics.md."""
    lines = [_METRICS_HEAD]
    for registry in (METRICS, POPULATION_METRICS):
        lines += [_POPULATION_HEAD] if registry is POPULATION_METRICS else []
        for module, names in itertools.groupby(sorted(registry, key=registry.module), registry.module):
            title, _, text = inspect.cleandoc(importlib.import_module(module).__doc__ or "").partition("\n\n")
            lines += [f"## {title.rstrip('.')}", "", *([text, ""] if text else [])]
            lines += ["| name | what it is | unit | range | better | source |", "|---|---|---|---|---|---|"]
            lines += [metric_row(name, registry[name]) for name in names] + [""]
    for key, cls in settings().items():
        lines += [f"## `{key}` in the config", "", _taken_apart(cls, set(_field_names(cls)))["title"], ""]
        lines += [*table(cls, _field_names(cls)), ""]
    return "\n".join(lines).rstrip() + "\n"


def metric_row(name: str, metric: Any) -> str:
    """A metric's row of the table.

    Raises ValueError if its docstring or its registration lacks something.
    """
    about = metric.about
    lacking = [key for key in ("unit", "low", "high", "better", "oracle", "source") if key not in about]
    if lacking or not metric.__doc__:
        raise ValueError(f"metric '{name}' does not say {', '.join(lacking) or 'what it is'}")
    low, high = (f"{about[key]:.4g}" if about[key] is not None else None for key in ("low", "high"))
    words = " ".join(inspect.cleandoc(metric.__doc__).split()).replace("|", "\\|")
    needs = ", ".join(f"`{need}`" for need in about.get("needs", ()))
    words += f" Needs {needs}." if needs else ""
    words += "" if about.get("default", True) else " On request."
    shown = f"`{name}`" + (" (oracle)" if about["oracle"] else "")
    better = about["better"]
    better = {"oracle": "as the oracle", "none": ""}.get(better, better) if isinstance(better, str) else f"{better:g}"
    scale = f"{'−∞' if low is None else low} to {'∞' if high is None else high}"
    return f"| {shown} | {words} | {about['unit']} | {scale} | {better} | {about['source']} |"


def _field_names(cls: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(cls)]


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check only compare; the exit status says whether they were up to date."""
    stale = []
    pages = {"methods.md": methods_page(), "pruners.md": pruners_page(), "metrics.md": metrics_page()}
    for name, text in pages.items():
        path = PAGES / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                with atomic(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"docs/{', docs/'.join(stale)}: not what the sources say; run: make docs")
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Exception:
        sys.exit(f"lacuna: the pages cannot be written: {blame(traceback.format_exc())}")
