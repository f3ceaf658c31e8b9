# Un-pruning around an unlearner of the grid: a cell beside it, on every sparse state.


rule unprune:
    input:
        **IMAGES,
        split=at("splits", "forget/{scenario}.npz"),
        model=at("models", "{pruner}-{sparsity}/model.safetensors"),
        mask=at("models", "{pruner}-{sparsity}/mask.npz"),
        initial=at("models", "dense/initial.safetensors"),
    output:
        **PATHS.cell_at("{pruner}-{sparsity}/{unlearner}"),
    log:
        log_of("unprune"),
    benchmark:
        benchmark_of("unprune")
    wildcard_constraints:
        unlearner=one_of(EXPERIMENT.axes["unprune"]),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        pruner=entry_of("pruners", "pruner"),
        unlearner=PARAMS.unpruned_entry,
        unprune=entry_of("unprune", "unlearner"),
        code=code_of("unprune"),
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unprune.py"
