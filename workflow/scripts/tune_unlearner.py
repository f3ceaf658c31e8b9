"""Original models of other seeds, retain, forget and validation samples → every value tried for one method, scored."""

import hashlib
import itertools
import json
from pathlib import Path

from job import commit, inputs_of, job, without_method
from model_job import use_device

import numpy as np
import torch

from lacuna.artifacts import read_json, read_npz, read_tensors, write_json
from lacuna.data import SCENARIOS
from lacuna.data.batches import UnlearningData
from lacuna.data.scenarios.base import Known
from lacuna.fields import build
from lacuna.randomness import derive
from lacuna.store import load_into, load_mask, new_model
from lacuna.training import RECIPES
from lacuna.tuning import VISIBLE, Start, Tuning, tune

with job(snakemake) as say:
    w, given, params = snakemake.wildcards, snakemake.input, snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    settings = build(Tuning, params.tuning)
    arrays, meta = read_tensors(given.images, "images")[0], read_json(given.meta)
    known = Known(arrays["y"], meta["classes"], arrays.get("fine"))
    starts = []
    # in the order of the inputs
    places = itertools.product(settings.seeds, params.scenarios, params.states)
    for (number, label, state), split, model, mask in zip(places, given.splits, given.models, given.masks, strict=True):
        parts = {part: index for part, index in read_npz(split, "split").items() if part in VISIBLE}
        entry = params.scenarios[label]
        scenario = build(SCENARIOS[entry["method"]], without_method(entry))
        gone = np.isin(parts["val"], scenario.gone(parts["val"], known))
        judged = "gone" if gone.any() else "poisoned" if "poisoned" in scenario.needs else "like val"
        start = Start(
            {"seed": number, "scenario": label, "state": state},
            load_into(new_model(params.model, meta, device), model),
            UnlearningData.from_arrays(arrays, meta, parts, device=device, augment=recipe.augment),
            judged,
            gone,
            {"mask": load_mask(mask), "compact": params.states[state]},
            derive(number, "tune", w.dataset, w.model, w.recipe, label, state, w.unlearner),
        )
        starts.append(start)
    inputs = inputs_of(snakemake)
    kept = Path(snakemake.output.study).with_name(f".trials.{w.unlearner}.json")
    cell = dict(w.items())
    # another number of trials continues the search
    decides = {k: v for k, v in params.items() if k != "tuning"} | params.tuning | {"trials": None}
    found = tune(
        params.unlearner["method"],
        without_method(params.unlearner),
        starts,
        settings,
        seed=derive("tune", w.dataset, w.model, w.recipe, w.unlearner),
        kept=kept,
        fingerprint=hashlib.sha256(
            json.dumps([decides, inputs, torch.__version__], sort_keys=True).encode()
        ).hexdigest(),
        log=say,
    )
    about = {"cell": cell, "parameters": dict(params.items()), "inputs": inputs, "commit": commit()}
    write_json(snakemake.output.study, about | found)
    kept.unlink(missing_ok=True)
