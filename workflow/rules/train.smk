# The dense model of a seed: one for every pruner, scenario and unlearner.


rule train:
    input:
        **IMAGES,
        split=at("splits", "split.npz"),
    output:
        model=at("models", "dense/model.safetensors"),
        rewind=at("models", "dense/rewind.safetensors"),
        initial=at("models", "dense/initial.safetensors"),
        mask=at("models", "dense/mask.npz"),
        history=at("models", "dense/history.csv"),
        job=at("models", "dense/job.json"),
    log:
        log_of("train"),
    benchmark:
        benchmark_of("train")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        code=code_of("train"),
    message:
        "train {wildcards.model} on {wildcards.dataset}, {wildcards.recipe}, seed {wildcards.seed}"
    script:
        "../scripts/train.py"
