# A sparse model for each pruner and sparsity: one for every scenario and unlearner.


rule prune:
    input:
        images=DATA + "images.safetensors",
        meta=DATA + "meta.json",
        split=SPLITS + "split.npz",
        model=TRAINED + "dense/model.safetensors",
        rewind=TRAINED + "dense/rewind.safetensors",
    output:
        model=TRAINED + "{pruner}-{sparsity}/model.safetensors",
        mask=TRAINED + "{pruner}-{sparsity}/mask.npz",
        history=TRAINED + "{pruner}-{sparsity}/history.csv",
        job=TRAINED + "{pruner}-{sparsity}/job.json",
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        pruner=entry_of("pruners", "pruner"),
        code=code_of("prune.py", models="model", pruners="pruner"),
    log:
        beside(TRAINED + "{pruner}-{sparsity}", "log"),
    benchmark:
        beside(TRAINED + "{pruner}-{sparsity}", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=720,
        gpu=GPU,
    conda:
        ENVIRONMENT
    message:
        "prune {wildcards.model} to {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/prune.py"
