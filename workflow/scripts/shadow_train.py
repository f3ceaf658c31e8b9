"""Images and split → several dense shadow originals, each trained on its half, and their states at the rewind epoch."""

from lacuna_workflow.job import job
from lacuna_workflow.shadow_job import Shadow, ShadowJob, as_arrays, packed

import numpy as np

from lacuna.artifacts.files import Arrays, write_tensors
from lacuna.models.inference import state_of
from lacuna.procedures.shadows import trained

with job(snakemake) as log:
    shadows = ShadowJob(snakemake, log, dense=True)

    def make(shadow: Shadow, seed: int) -> Arrays:
        run = trained(shadow.network, shadows.recipe, shadow.data, seed, **shadow.rest)
        states = as_arrays("final/", state_of(shadow.network)) | as_arrays("rewind/", run.snapshot)
        return states | {"seconds": np.array(run.seconds)}

    models = shadows.each(("train",), "", make)
    write_tensors(snakemake.output.originals, "shadow originals", packed(models))
    shadows.close(models)
