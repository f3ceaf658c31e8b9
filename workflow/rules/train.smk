# The dense model of a seed: one for every pruner, scenario and unlearner.


rule train:
    input:
        images=DATA + "images.safetensors",
        meta=DATA + "meta.json",
        split=SPLITS + "split.npz",
    output:
        model=TRAINED + "dense/model.safetensors",
        rewind=TRAINED + "dense/rewind.safetensors",
        mask=TRAINED + "dense/mask.npz",
        history=TRAINED + "dense/history.csv",
        job=TRAINED + "dense/job.json",
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        code=code_of("train.py", models="model"),
    log:
        beside(TRAINED + "dense", "log"),
    benchmark:
        beside(TRAINED + "dense", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=720,
        gpu=GPU,
    conda:
        ENVIRONMENT
    message:
        "train {wildcards.model} on {wildcards.dataset}, {wildcards.recipe}, seed {wildcards.seed}"
    script:
        "../scripts/train.py"
