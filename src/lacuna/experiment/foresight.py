"""What the result of an experiment will not be able to show, said before it is made."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

from lacuna.artifacts.cache import read_cache, write_cache
from lacuna.experiment.code_digest import code_digest
from lacuna.experiment.coordinates import DENSE
from lacuna.experiment.grid import Experiment


def limits_of(experiment: Experiment, cache: str | Path | None = None) -> list[str]:
    """One sentence for each thing that the experiment's tables will lack or cannot tell, and what it takes.

    cache: a folder that keeps them for the next plan of the same values by the same code: to find them out loads scipy,
    a tenth of a second.
    """
    if cache is None:
        return [*_of_seeds_and_twins(experiment), *_of_the_grid(experiment)]
    path = Path(cache) / "limits.json"
    # neither what networks cost nor what the data is
    asked = f"{dataclasses.replace(experiment, sizes={}, warnings=[])!r} {dict(experiment.config)!r}"
    made_from = f"{code_digest(__file__)} {hashlib.sha256(asked.encode()).hexdigest()}"
    kept = read_cache(path, made_from)
    if kept is None:
        kept = {"sentences": limits_of(experiment)}
        with contextlib.suppress(OSError):  # a read-only working directory only costs the next start its time
            write_cache(path, made_from, kept)
    sentences: list[str] = kept["sentences"]
    return sentences


def _of_seeds_and_twins(experiment: Experiment) -> Iterator[str]:
    from lacuna.evaluation.statistics import MIN_SEEDS, least_effect

    n, alone = len(experiment.seeds), [o for o in experiment.oracles if o not in experiment.twins.values()]
    lacking = [f"no second {oracle}" for oracle in alone]
    needs = [_twin(experiment, oracle) for oracle in alone]
    if n < MIN_SEEDS:
        free = [seed for seed in range(n + MIN_SEEDS) if seed not in experiment.seeds]
        seeds = sorted([*experiment.seeds, *free[: MIN_SEEDS - n]])
        lacking, needs = [f"{n} seed{'s' if n > 1 else ''}", *lacking], [f"seeds: {seeds}", *needs]
        missed = "no interval, no test, no verdict"
    else:
        missed = "no noise floor, no verdict"
    if lacking:
        yield f"{', '.join(lacking)}: {missed} will be made; needs {' and '.join(needs)}"
    methods = [u for u in experiment.axes["unlearners"] if u not in {*experiment.oracles, *experiment.twins}]
    tests = len(methods) + len(experiment.axes["unprune"])
    if n >= MIN_SEEDS and tests:
        among = f"{n} seeds, {tests} method{'s' if tests > 1 else ''}"
        least = f"{least_effect(n, tests):.1f} standard deviations over the seeds"
        yield f"{among}: differences below {least} cannot be shown (80 % power, Holm's first step)"


def _of_the_grid(experiment: Experiment) -> Iterator[str]:
    from lacuna.evaluation.population.distance import FEW_MODELS

    if DENSE not in experiment.states:
        yield f"no dense model: sparsity.csv will be empty; needs {DENSE} in sparsities"
    if experiment.left_out:
        figures = "; ".join(f"{figure} needs {lack}" for figure, lack in experiment.left_out.items())
        yield f"figures that have nothing to show are left out: {figures}"
    if experiment.shadows is not None and experiment.shadows.models < 2 * FEW_MODELS:
        models = experiment.shadows.models
        yield (
            f"{models} shadow models, {models // 2} a side: klom will be mostly bias; "
            f"needs shadows: {{models: {2 * FEW_MODELS}}}"
        )


def _twin(experiment: Experiment, oracle: str) -> str:
    """The entry that would repeat an oracle, under a label that is free."""
    labels = (f"{oracle}_{letter}" for letter in "bcdefghijklmnopqrstuvwxyz")
    free = next(label for label in labels if label not in experiment.axes["unlearners"])
    # options as the file has them: without its `start` the repetition would be one of another oracle
    options = ((experiment.config.get("grid") or {}).get("unlearners") or {}).get(oracle) or {}
    options = {"method": experiment.entry("unlearners", oracle).method} | options
    return f"{free}: {{{', '.join(f'{key}: {value}' for key, value in options.items())}}}"
