# Unlearners and oracles: one script, four ways to start.


# From the original model of the state, under its mask.
rule unlearn:
    input:
        **IMAGES,
        split=at("splits", "forget/{scenario}.npz"),
        model=at("models", "{state}/model.safetensors"),
        mask=at("models", "{state}/mask.npz"),
    output:
        **PATHS.cell_at("{state}/{unlearner}"),
    log:
        log_of("unlearn"),
    benchmark:
        benchmark_of("unlearn")
    wildcard_constraints:
        unlearner=one_of(PARAMS.unlearners_by(None)),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        unlearner=PARAMS.unlearner_entry,
        compact=PARAMS.compacted(),
        code=code_of("unlearn"),
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unlearn.py"


# Under the mask that was found on all of the data, from the original's own initialisation; a dense one from nothing.
use rule unlearn as retrain with:
    input:
        **IMAGES,
        split=at("splits", "forget/{scenario}.npz"),
        mask=at("models", "{state}/mask.npz"),
        start=INPUTS.started_from(
            theta0=at("models", "dense/initial.safetensors"),
            rewind=at("models", "dense/rewind.safetensors"),
        ),
    wildcard_constraints:
        unlearner=one_of(PARAMS.unlearners_by("retrain")),


# From nothing, without a mask; its states serve every sparse exact oracle.
use rule unlearn as retrain_exact_dense with:
    input:
        **IMAGES,
        split=at("splits", "forget/{scenario}.npz"),
    output:
        **PATHS.cell_at("dense/{unlearner}"),
        rewind=at("cells", "dense/{unlearner}/rewind.safetensors"),
        initial=at("cells", "dense/{unlearner}/initial.safetensors"),
    log:
        log_of("retrain_exact_dense"),
    benchmark:
        benchmark_of("retrain_exact_dense")
    wildcard_constraints:
        unlearner=one_of(PARAMS.unlearners_by("retrain_exact")),
    params:
        compact=False,
        code=code_of("retrain_exact_dense"),
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, dense, {wildcards.dataset}, seed {wildcards.seed}"


# From the dense exact oracle or an earlier round of it, pruned on the retained data.
use rule retrain_exact_dense as retrain_exact with:
    input:
        **IMAGES,
        split=at("splits", "forget/{scenario}.npz"),
        previous=INPUTS.from_previous("cells", "{previous}/{unlearner}/model.safetensors"),
        previous_mask=INPUTS.from_previous("cells", "{previous}/{unlearner}/mask.npz"),
        previous_job=INPUTS.from_previous("cells", "{previous}/{unlearner}/job.json"),
        rewind=at("cells", "dense/{unlearner}/rewind.safetensors"),
        initial=at("cells", "dense/{unlearner}/initial.safetensors"),
    output:
        **PATHS.cell_at("{pruner}-{sparsity}/{unlearner}"),
    log:
        log_of("retrain_exact"),
    benchmark:
        benchmark_of("retrain_exact")
    params:
        pruner=entry_of("pruners", "pruner"),
        code=code_of("retrain_exact"),
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
