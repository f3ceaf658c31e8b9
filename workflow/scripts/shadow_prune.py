"""Dense shadow originals → the same models pruned, each trained under its mask on its half."""

from lacuna_workflow.job import job, without_method
from lacuna_workflow.shadow_job import Shadow, ShadowJob, as_arrays, packed, state_under

import numpy as np

from lacuna.artifacts.files import Arrays, read_tensors, sha256_of_arrays, write_tensors
from lacuna.fields import build
from lacuna.models.inference import state_of
from lacuna.procedures.shadows import pruned
from lacuna.pruning import PRUNERS

with job(snakemake) as log:
    w, entry = snakemake.wildcards, snakemake.params.pruner
    shadows = ShadowJob(snakemake, log, dense=True)
    pruner = build(PRUNERS[entry["method"]], without_method(entry))
    dense, _ = read_tensors(snakemake.input.originals, "shadow originals")

    def make(shadow: Shadow, seed: int) -> Arrays:
        states = [state_under(dense, f"{shadow.number}/{name}/") for name in ("final", "rewind")]
        seeds = (shadows.stream(shadow.number, "train"), seed)
        mask, run = pruned(
            shadow.network, states, pruner, w.sparsity, shadows.recipe, shadow.data, seeds, **shadow.rest
        )
        packed_mask = {f"mask/{k}": v for k, v in mask.pack().items()}
        return as_arrays("final/", state_of(shadow.network)) | packed_mask | {"seconds": np.array(run.seconds)}

    models = shadows.each(("prune", w.pruner, w.sparsity), sha256_of_arrays(dense), make)
    write_tensors(snakemake.output.originals, "shadow originals", packed(models))
    shadows.close(models)
