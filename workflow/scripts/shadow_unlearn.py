"""Shadow originals and forget split → the answers of the same models after unlearning. Serves the oracles too."""

from pathlib import Path

from job import job, without_method
from shadow_job import Shadow, ShadowJob, state_under, under

import numpy as np

from lacuna.artifacts import Arrays, read_tensors, sha256_of_arrays, write_npz
from lacuna.fields import build
from lacuna.pruning import PRUNERS
from lacuna.pruning.mask import Mask
from lacuna.shadows.train import answers, pool_arrays
from lacuna.training import load_tensors
from lacuna.unlearning import unlearn

with job(snakemake) as say:
    w, params, given = snakemake.wildcards, snakemake.params, dict(snakemake.input.items())
    shadows = ShadowJob(snakemake, say, dense=False)
    # .../{state}/{unlearner}/shadows/0-3.npz, whichever wildcards the rule makes the state of
    state = Path(snakemake.output.answers).parts[-4]
    originals: Arrays = {}
    if "originals" in given:
        originals, _ = read_tensors(given["originals"], "shadow originals")

    def make(shadow: Shadow, seed: int) -> Arrays:
        options = without_method(params.unlearner) | shadow.rest
        if originals:
            load_tensors(shadow.network, state_under(originals, f"{shadow.number}/final/"))
            mask = under(originals, f"{shadow.number}/mask/")
            options["mask"] = Mask.unpack(mask) if mask else Mask.full(shadow.network)
        if "pruner" in dict(params.items()):  # an exact oracle that finds its own mask
            options["pruner"] = build(PRUNERS[params.pruner["method"]], without_method(params.pruner))
            options["sparsity"] = w.sparsity
        outcome = unlearn(params.unlearner["method"], shadow.network, shadow.data, seed=seed, **options)
        said = answers(outcome.model, shadows.data, f"shadow model {shadow.number}")
        return said | {"seconds": np.array(outcome.fit.seconds)}

    made = shadows.each(("unlearn", w.scenario, state, w.unlearner), sha256_of_arrays(originals), make)
    parts = {part: index.cpu().numpy() for part, index in shadows.data.parts.items()}
    write_npz(snakemake.output.answers, "shadows", pool_arrays(made, shadows.halves, parts, shadows.meta["sha256"]))
    shadows.close(made)
