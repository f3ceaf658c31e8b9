"""The generated pages and parts of pages, from what the code, the schema and the findings say of themselves.

python -m lacuna.commands.docs [--check]     write them, or only say whether they are up to date
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import sys
import traceback
from pathlib import Path
from typing import Any

from lacuna.artifacts.writing import atomic
from lacuna.commands.config_page import config_page
from lacuna.commands.docstrings import field_names, parts_of, published_values, table
from lacuna.commands.findings import as_answers, as_csv, as_table, filled, read_findings, splice
from lacuna.commands.launch import SCHEMA
from lacuna.evaluation import METRICS
from lacuna.evaluation.population import POPULATION_METRICS
from lacuna.experiment.catalogue import blame, describe, own_fields, reads, scores_when, settings, works_with
from lacuna.experiment.docstrings import docstring_of
from lacuna.experiment.editor import as_text, editor_schema
from lacuna.experiment.yaml_files import read_yaml
from lacuna.pruning import PRUNERS
from lacuna.pruning.base import Pruner, TrainedPruner
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.base import LossUnlearner

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "docs"


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
    lines += table(LossUnlearner, field_names(LossUnlearner))
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
    lines += ["", "## Shared hyper-parameters", "", "Every pruner has these.", "", *table(Pruner, field_names(Pruner))]
    added = [f for f in field_names(TrainedPruner) if f not in field_names(Pruner)]
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
        lines += [f"## `{key}` in the config", "", docstring_of(cls).title, ""]
        lines += [*table(cls, field_names(cls)), ""]
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


def pages() -> dict[Path, str]:
    """Every generated text by its path."""
    whole = {
        PAGES / "methods.md": methods_page(),
        PAGES / "pruners.md": pruners_page(),
        PAGES / "metrics.md": metrics_page(),
        PAGES / "config.md": config_page(SCHEMA),
        ROOT / "config/schema.json": as_text(editor_schema(read_yaml(SCHEMA), describe())),
    }
    file = PAGES / "results/findings.csv"
    findings = filled(read_findings(file), file.parent)
    parts = {ROOT / "README.md": as_answers(findings), file.with_name("README.md"): as_table(findings)}
    spliced = {path: splice(path.read_text(encoding="utf-8"), "findings", lines) for path, lines in parts.items()}
    return {**whole, file: as_csv(findings), **spliced}


def main(arguments: list[str]) -> int:
    """Write the pages, or with --check only compare; the exit status says whether they were up to date."""
    stale = []
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if "--check" not in arguments:
                with atomic(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"{', '.join(stale)}: not what the sources say; run: make docs")
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Exception:
        sys.exit(f"lacuna: the pages cannot be written: {blame(traceback.format_exc())}")
