"""Original models of other seeds, retain, forget and validation samples → every value tried for one method, scored."""

import hashlib
import itertools
import json

from lacuna_workflow.job import commit, inputs_of, job, without_method
from lacuna_workflow.model_job import load_data, use_device

import numpy as np
import torch

from lacuna.artifacts.files import read_tensors, write_json
from lacuna.artifacts.layout import trials_beside
from lacuna.data import SCENARIOS
from lacuna.data.scenarios.base import DatasetFacts
from lacuna.fields import build
from lacuna.models.files import load_into, new_model
from lacuna.procedures.tuning import VISIBLE, Start, Tuning, tune
from lacuna.randomness import derive
from lacuna.sparsity.files import load_mask
from lacuna.training.recipes import RECIPES

with job(snakemake) as log:
    w, inputs, params = snakemake.wildcards, snakemake.input, snakemake.params
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    settings = build(Tuning, params.tuning)
    arrays = read_tensors(inputs.images, "images", mapped=True)[0]
    seen = {
        path: load_data(snakemake, device, recipe, split=path, visible=VISIBLE) for path in dict.fromkeys(inputs.splits)
    }
    starts = []
    # in the order of the inputs
    places = itertools.product(settings.seeds, params.scenarios, params.states)
    for (number, label, state), split, model, mask in zip(
        places, inputs.splits, inputs.models, inputs.masks, strict=True
    ):
        data, meta = seen[split]
        entry = params.scenarios[label]
        scenario = build(SCENARIOS[entry["method"]], without_method(entry))
        val = data.parts["val"].cpu().numpy()
        facts = DatasetFacts(arrays["y"], meta["classes"], arrays.get("fine"))
        forgotten = np.isin(val, scenario.forgotten_test(val, facts))
        judged = "forgotten part" if forgotten.any() else "poisoned" if "poisoned" in scenario.needs else "like val"
        start = Start(
            {"seed": number, "scenario": label, "state": state},
            load_into(new_model(params.model, meta, device), model),
            data,
            judged,
            forgotten,
            {"mask": load_mask(mask), "compact": params.states[state]},
            derive(number, "tune", w.dataset, w.model, w.recipe, label, state, w.unlearner),
        )
        starts.append(start)
    contents = inputs_of(snakemake)
    store = trials_beside(snakemake.output.study)
    cell = dict(w.items())
    # another number of trials continues the search
    decides = {k: v for k, v in params.items() if k != "tuning"} | params.tuning | {"trials": None}
    study = tune(
        params.unlearner["method"],
        without_method(params.unlearner),
        starts,
        settings,
        seed=derive("tune", w.dataset, w.model, w.recipe, w.unlearner),
        store=store,
        fingerprint=hashlib.sha256(
            json.dumps([decides, contents, torch.__version__], sort_keys=True).encode()
        ).hexdigest(),
        log=log,
    )
    about = {"cell": cell, "parameters": dict(params.items()), "inputs": contents, "commit": commit()}
    write_json(snakemake.output.study, about | study)
