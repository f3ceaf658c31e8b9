"""Which figures an experiment has something to show in, and what the others lack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lacuna.errors import LacunaError
from lacuna.experiment.catalogue import Catalogue
from lacuna.experiment.coordinates import DENSE
from lacuna.experiment.entries import chosen_of
from lacuna.experiment.grid import Experiment
from lacuna.experiment.tables import is_conditional, lacking


def figures_of(
    merged: Mapping[str, Any], experiment: Experiment, catalogue: Catalogue
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The figures that are asked for, by default all that have something to show; and what others lack.

    Of the others those alone that ordinary choices leave out: not what needs a metric or a part of the grid on request.
    """
    facts = catalogue["figures"]
    lacks = {figure: _lacking(facts[figure], experiment, catalogue) for figure in facts}
    chosen = chosen_of("figures", merged, catalogue)
    if "figures" in merged:
        for position, figure in enumerate(chosen):
            if lacks[figure]:
                raise LacunaError(
                    f"figures[{position}]: '{figure}' has nothing to show; allowed with: {', '.join(lacks[figure])}"
                )
        return chosen, {}
    on_request = {name for name, of in catalogue["metrics"].items() if not of["default"]}
    tables = {name for name in catalogue["tables"] if is_conditional(name, catalogue)}
    usual = [f for f in chosen if not (on_request & {*facts[f]["metrics"]} or tables & {*facts[f]["reads"]})]
    usual = [figure for figure in usual if not facts[figure]["masks"]]
    return (
        tuple(figure for figure in chosen if not lacks[figure]),
        {figure: ", ".join(lacks[figure]) for figure in usual if lacks[figure]},
    )


def _lacking(figure: Mapping[str, Any], experiment: Experiment, catalogue: Catalogue) -> list[str]:
    """What a figure needs (see `lacuna.reporting.figures`) and the experiment has not."""
    metrics, axes = experiment.metrics, experiment.axes
    lacks = [f"metric {m}" for m in figure["metrics"] if m not in metrics]
    absent = [table for table in figure["reads"] if table not in experiment.tables]
    lacks += [" and ".join(lacking(table, experiment, catalogue)) for table in absent if not lacks]
    if figure["one_of"] and not {*figure["one_of"]} & {*metrics}:
        lacks.append(f"a metric of {', '.join(figure['one_of'])}")
    known = catalogue["metrics"]
    judged = [
        m for m in metrics if known[m]["better"] != "none" and known[m]["module"] != "lacuna.evaluation.metrics.cost"
    ]
    if len(judged) < figure["judged"]:
        lacks.append(f"at least {figure['judged']} metrics that order methods")
    retrained = {*experiment.oracles, *experiment.twins}
    methods = [entry.method for label, entry in axes["unlearners"].items() if label not in retrained]
    methods += [entry.method for entry in axes["unprune"].values()]
    acting = sum(method != "original" for method in methods)
    for needed, there, words in (
        (figure["methods"], len(methods), "in grid.unlearners that is no oracle"),
        (figure["acting"], acting, "in grid.unlearners that is neither an oracle nor original"),
    ):
        if there < needed:
            words = (
                words
                if needed == 1
                else words.replace("that is no", "that are no").replace("is neither", "are neither")
            )
            lacks.append(f"at least {needed} method{'s' if needed > 1 else ''} {words}")
    if figure["sparse"] and set(experiment.states) <= {DENSE}:
        lacks.append("a sparsity > 0 in grid.sparsities")
    oracles = [experiment.entry("unlearners", label).method for label in experiment.oracles]
    if figure["oracle"] and figure["oracle"] not in oracles:
        lacks.append(f"the oracle {figure['oracle']} in grid.unlearners")
    if figure["unlearner"] and figure["unlearner"] not in methods:
        lacks.append(f"{figure['unlearner']} in grid.unlearners")
    if figure["masks"] and not axes["unprune"]:
        lacks.append("grid.unprune, because all other methods keep the mask that they are given")
    return lacks
