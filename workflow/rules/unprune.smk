# Un-pruning around an unlearner of the grid: a cell beside it, on every sparse state.


rule unprune:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "forget/{scenario}.npz"),
        model=at("models", "{pruner}-{sparsity}/model.safetensors"),
        mask=at("models", "{pruner}-{sparsity}/mask.npz"),
        initial=at("models", "dense/initial.safetensors"),
    output:
        model=at("cells", "{pruner}-{sparsity}/{unlearner}/model.safetensors"),
        mask=at("cells", "{pruner}-{sparsity}/{unlearner}/mask.npz"),
        predictions=at("cells", "{pruner}-{sparsity}/{unlearner}/predictions.npz"),
        history=at("cells", "{pruner}-{sparsity}/{unlearner}/history.csv"),
        job=at("cells", "{pruner}-{sparsity}/{unlearner}/job.json"),
    log:
        log_at("cells", "{pruner}-{sparsity}/{unlearner}"),
    benchmark:
        benchmark_at("cells", "{pruner}-{sparsity}/{unlearner}")
    wildcard_constraints:
        unlearner=one_of(EXPERIMENT.axes["unprune"]),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=model_memory,
        runtime=model_runtime,
        gpu=GPU,
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        pruner=entry_of("pruners", "pruner"),
        unlearner=unpruned_entry,
        unprune=entry_of("unprune", "unlearner"),
        code=code_of("unprune.py", models="model", pruners="pruner", unlearners=unpruned),
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unprune.py"
