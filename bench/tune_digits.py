"""Choose unlearning hyper-parameters on the validation split, blind to oracles and to the test set.

Original models of seeds that no experiment uses, dense and omp-0.90. Scores, in points:
  class:  mean of val accuracy on the kept classes and val error on the forgotten class;
  random: 100 − |accuracy(D_f) − val accuracy| − what val accuracy lost against the original.
A value's score is the mean over seeds, states and scenarios. Prints JSON: every value tried, best first.

    python bench/tune_digits.py > tuning.json                  default experiment: about 30 minutes on one core
    python bench/tune_digits.py --all-methods > tuning.json    every method, class scenario, equal budget
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from typing import Any

import numpy as np
import torch

from lacuna.config import read_yaml
from lacuna.data import DATASETS, SCENARIOS
from lacuna.data.batches import UnlearningData
from lacuna.data.scenarios.base import Known
from lacuna.data.splits import forget_split, split
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS
from lacuna.pruning.base import Origin
from lacuna.training import RECIPES, accuracy, copy_of, fit, logits, state_of
from lacuna.unlearning import UNLEARNERS, unlearn
from lacuna.unlearning.base import LossUnlearner

SPARSITY = "0.90"
SEARCH: dict[str, dict[str, list[Any]]] = {
    "ft": {"schedule": ["constant", "cosine"], "lr": [0.01, 0.1, 0.2, 0.3], "epochs": [5, 10]},
    "ga": {"momentum": [0.0, 0.9], "lr": [1e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2], "epochs": [5, 10, 20]},
    "rl": {"schedule": ["constant", "cosine"], "lr": [0.01, 0.013, 0.03, 0.1], "epochs": [5, 10]},
    "l1_sparse": {"schedule": ["constant", "cosine"], "lr": [0.01, 0.1, 0.2], "penalty": [1e-4, 2e-4, 5e-4, 1e-3]},
}


# Every method gets eight values: its published default and seven more, on the axis that decides how hard it acts.
_RATES = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 2e-1, 3e-1]
_STRENGTH: dict[str, tuple[str, list[float]]] = {
    "ff": ("alpha", [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2]),
    "iu": ("damping", [0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4]),
    # above n/n_f, 10 here, no importance can be: I_D holds that share of I_f
    "ssd": ("alpha", [2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]),
    "lfssd": ("alpha", [0.1, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0]),
    "ga": ("lr", [3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2]),
    "l1_sparse_ga": ("lr", [3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2]),
}


def eight_values(method: str) -> list[dict[str, Any]]:
    """The published default, and seven values of the axis that decides how hard the method acts."""
    axis, values = _STRENGTH.get(method, ("lr", _RATES))
    return [{}, *({axis: value} for value in values)]


def score(model: torch.nn.Module, data: UnlearningData, scenario: str, forgotten: int, before: float) -> float:
    labels = data.labels[data.parts["val"]].numpy()
    right = logits(model, data, "val").argmax(1).numpy() == labels
    if scenario == "class":
        gone = labels == forgotten
        return float(100 * (np.mean(right[~gone]) + 1 - np.mean(right[gone])) / 2)
    now = 100 * float(np.mean(right))
    return 100 - abs(accuracy(model, data, "forget") - now) - max(0.0, before - now)


def main() -> None:
    torch.set_num_threads(1)
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--all-methods", action="store_true", help="every method, class scenario, one seed")
    arguments.add_argument("--only", nargs="*", help="these methods alone")
    chosen = arguments.parse_args()
    grid = read_yaml("config/config.yaml")["grid"]
    if chosen.all_methods:
        seeds, scenarios = (100,), ["class"]
        search = {name: eight_values(name) for name, cls in UNLEARNERS.items() if not cls.oracle and name != "original"}
    else:
        seeds, scenarios = (100, 101), list(grid["scenarios"])
        search = {
            name: [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
            for name, axes in SEARCH.items()
        }
    if chosen.only:
        search = {name: search[name] for name in chosen.only}
    recipe = build(RECIPES["sgd"], grid["recipes"]["short"])
    images = build(DATASETS["digits"], {}).load()
    arrays, meta = {"x": images.x, "y": images.y}, images.meta()
    starts = []
    for seed in seeds:
        base = split(images.y, images.train, seed, "digits")
        everything = UnlearningData.from_arrays(
            arrays, meta, {"retain": base["train"], "val": base["val"]}, augment=recipe.augment
        )
        dense = build(MODELS["resnet8"], {}).build(10, 1)
        reinitialise(dense, seed)
        initial = state_of(dense)
        run = fit(dense, recipe, everything, seed=seed, snapshot_epoch=recipe.rewind_epoch)
        assert run.snapshot is not None
        sparse, origin = copy_of(dense), Origin(state_of(dense), run.snapshot, initial)
        mask, _ = build(PRUNERS["omp"], {}).prune(sparse, origin, SPARSITY, recipe, everything, seed=seed)
        for label in scenarios:
            scenario = build(SCENARIOS[label], grid["scenarios"][label])
            parts = forget_split(base, Known(images.y, 10), scenario, seed, "digits", label)
            data = UnlearningData.from_arrays(arrays, meta, parts, augment=recipe.augment)
            for model, keep in ((dense, None), (sparse, mask)):
                starts.append((model, keep, data, label, seed, accuracy(model, data, "val")))
    forgotten = grid["scenarios"]["class"]["forget_class"]
    found: dict[str, list[dict[str, Any]]] = {}
    for method, candidates in search.items():
        tried = []
        batch = {"batch_size": 64} if issubclass(UNLEARNERS[method], LossUnlearner) else {}
        for hyper in candidates:
            by_scenario: dict[str, list[float]] = {}
            for model, keep, data, label, seed, before in starts:
                try:
                    done = unlearn(method, model, data, mask=keep, seed=seed, **batch, **hyper).model
                    value = score(done, data, label, forgotten, before)
                except LacunaError as error:  # a diverged value is the worst value
                    print(f"{method} {hyper}: {error}", file=sys.stderr)
                    value = 0.0
                by_scenario.setdefault(label, []).append(value)
            means = {k: round(float(np.mean(v)), 3) for k, v in by_scenario.items()}
            tried.append({"values": hyper, **means, "score": round(float(np.mean(list(means.values()))), 3)})
            print(method, tried[-1], file=sys.stderr, flush=True)
        found[method] = sorted(tried, key=lambda t: -t["score"])
    json.dump({"seeds": seeds, "scenarios": scenarios, "sparsity": SPARSITY, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
