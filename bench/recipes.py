"""Recipes on the digits: seconds and accuracy of the original model, over seeds. Prints JSON.

    python bench/recipes.py [--model resnet8] [--seeds 3] [--threads 1] [--only short fast]

Every recipe crops by 1 and mirrors nothing: the images are 8×8 digits. `cpu_seconds` are of all threads together.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch

from lacuna.data import DATASETS
from lacuna.data.batches import Augment, UnlearningData
from lacuna.data.splits import split
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.inference import accuracy
from lacuna.models.init import reinitialise
from lacuna.randomness import derive
from lacuna.training.loop import RECIPES, fit

# the default experiment's own recipe, the presets, and fast with batches that suit 1,400 images
CHOSEN: dict[str, dict[str, Any]] = {
    "short": {"method": "sgd", "epochs": 30, "batch_size": 64, "schedule": "cosine", "warmup_epochs": 2},
    "standard": {"method": "standard"},
    "fast": {"method": "fast"},
    "fast, batch 64": {"method": "fast", "batch_size": 64},
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default="resnet8")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--only", nargs="+", choices=CHOSEN, default=list(CHOSEN))
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    found: dict[str, list[dict[str, float]]] = {label: [] for label in chosen.only}
    for seed in range(chosen.seeds):
        for label in chosen.only:
            found[label].append(trained(CHOSEN[label], chosen.model, seed))
    print(json.dumps({"model": chosen.model, "torch": torch.__version__, "recipes": found}, indent=1))


def trained(options: dict[str, Any], name: str, seed: int) -> dict[str, float]:
    """One original model: its cost and its accuracy on validation and test images, in percent."""
    values = {"crop": 1, "flip": False} | {k: v for k, v in options.items() if k != "method"}
    recipe = build(RECIPES[options["method"]], values)
    data = digits(seed, recipe.augment)
    model = build(MODELS[name], {}).build(data.classes, 1)
    reinitialise(model, derive(seed, "init"))
    cpu = time.process_time()
    run = fit(model, recipe, data, seed=seed)
    seconds = time.process_time() - cpu
    told = {part: round(accuracy(model, data, part), 2) for part in ("retain", "val", "test")}
    return {"steps": run.steps, "cpu_seconds": round(seconds, 2), **told}


def digits(seed: int, augment: Augment) -> UnlearningData:
    """The split of a seed, all of it to be retained."""
    images = build(DATASETS["digits"], {}).load()
    parts = split(images.y, images.train, seed, "digits")
    return UnlearningData.from_arrays(
        {"x": images.x, "y": images.y}, images.meta(), parts | {"retain": parts["train"]}, augment=augment
    )


if __name__ == "__main__":
    main()
