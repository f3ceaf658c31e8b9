"""Choose the default experiment's unlearning hyper-parameters on the validation split, blind to oracles and test set.

Original models of seeds that no experiment uses (100, 101), dense and omp-0.90, both scenarios. Scores, in points:
  class:  mean of val accuracy on the kept classes and val error on the forgotten class;
  random: 100 − |accuracy(D_f) − val accuracy| − what val accuracy lost against the original.
A value's score is the mean over seeds, states and scenarios. Prints JSON: every value tried, best first.

    python bench/tune_digits.py > tuning.json     (about 30 minutes on one core)
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any

import numpy as np
import torch

from lacuna.config import read_yaml
from lacuna.data import DATASETS, SCENARIOS
from lacuna.data.batches import UnlearningData
from lacuna.data.splits import forget_split, split
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS
from lacuna.training import RECIPES, accuracy, copy_of, fit, logits
from lacuna.unlearning import unlearn

SEEDS = (100, 101)
SPARSITY = "0.90"
SEARCH: dict[str, dict[str, list[Any]]] = {
    "ft": {"schedule": ["constant", "cosine"], "lr": [0.01, 0.1, 0.2, 0.3], "epochs": [5, 10]},
    "ga": {"momentum": [0.0, 0.9], "lr": [1e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2], "epochs": [5, 10, 20]},
    "rl": {"schedule": ["constant", "cosine"], "lr": [0.01, 0.013, 0.03, 0.1], "epochs": [5, 10]},
    "l1_sparse": {"schedule": ["constant", "cosine"], "lr": [0.01, 0.1, 0.2], "penalty": [1e-4, 2e-4, 5e-4, 1e-3]},
}


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
    grid = read_yaml("config/config.yaml")["grid"]
    recipe = build(RECIPES["sgd"], grid["recipes"]["short"])
    images = build(DATASETS["digits"], {}).load()
    arrays, meta = {"x": images.x, "y": images.y}, images.meta()
    starts = []
    for seed in SEEDS:
        base = split(images.y, images.train, seed, "digits")
        everything = UnlearningData.from_arrays(
            arrays, meta, {"retain": base["train"], "val": base["val"]}, augment=recipe.augment
        )
        dense = build(MODELS["resnet8"], {}).build(10, 1)
        reinitialise(dense, seed)
        run = fit(dense, recipe, everything, seed=seed, snapshot_epoch=recipe.rewind_epoch)
        sparse = copy_of(dense)
        mask, _ = build(PRUNERS["omp"], {}).prune(sparse, run.snapshot, SPARSITY, recipe, everything, seed=seed)
        for label, options in grid["scenarios"].items():
            scenario = build(SCENARIOS[label], options)
            parts = forget_split(base, images.y, scenario, seed, "digits", label)
            data = UnlearningData.from_arrays(arrays, meta, parts, augment=recipe.augment)
            for model, keep in ((dense, None), (sparse, mask)):
                starts.append((model, keep, data, label, seed, accuracy(model, data, "val")))
    forgotten = grid["scenarios"]["class"]["forget_class"]
    found: dict[str, list[dict[str, Any]]] = {}
    for method, axes in SEARCH.items():
        tried = []
        for values in itertools.product(*axes.values()):
            hyper = dict(zip(axes, values, strict=True))
            by_scenario: dict[str, list[float]] = {}
            for model, keep, data, label, seed, before in starts:
                try:
                    done = unlearn(method, model, data, mask=keep, seed=seed, batch_size=64, **hyper).model
                    value = score(done, data, label, forgotten, before)
                except Exception as error:  # a diverged value is the worst value
                    print(f"{method} {hyper}: {error}", file=sys.stderr)
                    value = 0.0
                by_scenario.setdefault(label, []).append(value)
            means = {k: round(float(np.mean(v)), 3) for k, v in by_scenario.items()}
            tried.append({"values": hyper, **means, "score": round(float(np.mean(list(means.values()))), 3)})
            print(method, tried[-1], file=sys.stderr, flush=True)
        found[method] = sorted(tried, key=lambda t: -t["score"])
    json.dump({"seeds": SEEDS, "sparsity": SPARSITY, "found": found}, sys.stdout)


if __name__ == "__main__":
    main()
