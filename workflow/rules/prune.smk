# A sparse model for each pruner and sparsity: one for every scenario and unlearner. The rounds of an iterative pruner
# ("imp-round03") are models too, and serve every sparsity beyond them.


rule prune:
    input:
        **IMAGES,
        split=at("splits", "split.npz"),
        model=INPUTS.from_previous("models", "{previous}/model.safetensors"),
        mask=INPUTS.from_previous("models", "{previous}/mask.npz"),
        rewind=at("models", "dense/rewind.safetensors"),
        initial=at("models", "dense/initial.safetensors"),
    output:
        model=at("models", "{pruner}-{sparsity}/model.safetensors"),
        mask=at("models", "{pruner}-{sparsity}/mask.npz"),
        history=at("models", "{pruner}-{sparsity}/history.csv"),
        job=at("models", "{pruner}-{sparsity}/job.json"),
    log:
        log_of("prune"),
    benchmark:
        benchmark_of("prune")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        pruner=entry_of("pruners", "pruner"),
        code=code_of("prune"),
    message:
        "prune {wildcards.model} to {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/prune.py"
