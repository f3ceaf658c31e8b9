"""Shadow originals and forget split → the answers of the same models after unlearning. Serves the oracles too."""

from pathlib import Path

from lacuna_workflow.job import job, without_method
from lacuna_workflow.shadow_job import Shadow, ShadowJob, state_under, under

import numpy as np

from lacuna.artifacts.files import Arrays, read_tensors, sha256_of_arrays, write_npz
from lacuna.fields import build
from lacuna.models.inference import load_tensors, state_of
from lacuna.procedures.shadows import answers, initialise, pool_arrays
from lacuna.pruning import PRUNERS
from lacuna.sparsity.mask import Mask
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning import unlearn

with job(snakemake) as log:
    w, params, inputs = snakemake.wildcards, snakemake.params, dict(snakemake.input.items())
    shadows = ShadowJob(snakemake, log, dense=False)
    # .../{state}/{unlearner}/shadows/0-3.npz, whichever wildcards the rule makes the state of
    state = Path(snakemake.output.answers).parts[-4]
    originals: Arrays = {}
    if "originals" in inputs:
        originals, _ = read_tensors(inputs["originals"], "shadow originals")
    rewound: Arrays = {}
    for path in inputs.get("rewound", []):
        rewound, _ = read_tensors(path, "shadow originals")

    def make(shadow: Shadow, seed: int) -> Arrays:
        options = without_method(params.unlearner) | shadow.rest
        if options.get("start") == "theta0":
            # of the empty network, as its original's was: a buffer that training moved is not drawn anew
            initialise(shadow.network, shadows.stream(shadow.number, "train"))
            options["origin"] = StartingPoint(initial=state_of(shadow.network))
        if originals:
            load_tensors(shadow.network, state_under(originals, f"{shadow.number}/final/"))
            mask = under(originals, f"{shadow.number}/mask/")
            options["mask"] = Mask.unpack(mask) if mask else Mask.full(shadow.network)
        if options.get("start") == "rewind":
            options["origin"] = StartingPoint(rewind=state_under(rewound, f"{shadow.number}/rewind/"))
        if "pruner" in dict(params.items()):  # an exact oracle that finds its own mask
            options["pruner"] = build(PRUNERS[params.pruner["method"]], without_method(params.pruner))
            options["sparsity"] = w.sparsity
        outcome = unlearn(params.unlearner["method"], shadow.network, shadow.data, seed=seed, **options)
        arrays = answers(outcome.model, shadows.data, f"shadow model {shadow.number}")
        return arrays | {"seconds": np.array(outcome.fit.seconds)}

    made_from = sha256_of_arrays(originals | {f"dense/{name}": array for name, array in rewound.items()})
    models = shadows.each(("unlearn", w.scenario, state, w.unlearner), made_from, make)
    parts = {part: index.cpu().numpy() for part, index in shadows.data.parts.items()}
    write_npz(snakemake.output.answers, "shadows", pool_arrays(models, shadows.halves, parts, shadows.meta["sha256"]))
    shadows.close(models)
