"""Images and split → the score of every training sample, 1 − p_y, by a model that was trained without its fold."""

import hashlib
import json

from lacuna_workflow.job import job, without_method
from lacuna_workflow.model_job import OF_MANY, load_data, use_device, write_job

import numpy as np
import torch

from lacuna.artifacts.files import Arrays, write_npz
from lacuna.artifacts.layout import checkpoint_beside
from lacuna.fields import build
from lacuna.measurement.difficulty import folds_of, held_out
from lacuna.models.files import new_model
from lacuna.procedures.shadows import make_resumably, remove_parts
from lacuna.randomness import derive
from lacuna.training.checkpoints import Checkpoint
from lacuna.training.recipes import RECIPES
from lacuna.training.state import TrainingResult

with job(snakemake) as log:
    w, params, output = snakemake.wildcards, snakemake.params, snakemake.output
    device = use_device(snakemake.config["device"], snakemake.threads)
    recipe = build(RECIPES[params.recipe["method"]], without_method(params.recipe))
    data, meta = load_data(snakemake, device, recipe, dense=True)
    train = data.parts["retain"].cpu().numpy()
    fold = folds_of(train, int(w.folds), int(w.seed), w.dataset)
    seeds = {k: derive(int(w.seed), "held out", k, w.folds, w.dataset, w.model, w.recipe) for k in range(int(w.folds))}

    def make(k: int) -> Arrays:
        out = torch.from_numpy(train[fold == k]).to(device)
        scores, run = held_out(
            new_model(params.model, meta, device),
            recipe,
            data,
            out,
            seeds[k],
            checkpoint=Checkpoint(checkpoint_beside(output.scores, k)),
            log=log,
            name=f"without fold {k + 1} of {w.folds}",
        )
        return {"score": scores, "seconds": np.array(run.seconds)}

    what = [dict(params.items()), seeds, data.fingerprint()]
    fingerprint = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    by_fold = make_resumably(seeds, make, output.scores, fingerprint)
    score = np.empty(len(train))
    for k, arrays in by_fold.items():
        score[fold == k] = arrays["score"]
    write_npz(output.scores, "scores", {"index": train, "score": score, "fold": fold})
    seconds = sum(float(arrays["seconds"]) for arrays in by_fold.values())
    write_job(snakemake, output.job, TrainingResult(seconds=seconds), device, seeds[0], random_streams=seeds, **OF_MANY)
    remove_parts(by_fold, output.scores)
    log(f"1 - p_y of {len(train)} samples: mean {score.mean():.4f}, {(score > 0.5).mean():.1%} above 0.5")
