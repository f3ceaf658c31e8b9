# How hard each training sample is, for the scenarios that choose by it: made once per seed, model and recipe.


# 1 − p_y by models that were trained without the sample: as many trainings as there are folds.
rule difficulty_held_out:
    input:
        **IMAGES,
        split=at("splits", "split.npz"),
    output:
        scores=at("models", "held_out_{folds}/scores.npz"),
        job=at("models", "held_out_{folds}/scores.json"),
    log:
        log_of("difficulty_held_out"),
    benchmark:
        benchmark_of("difficulty_held_out")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        code=code_of("difficulty_held_out"),
    message:
        "held-out confidence in {wildcards.folds} folds: {wildcards.model} on {wildcards.dataset}, {wildcards.recipe}, seed {wildcards.seed}"
    script:
        "../scripts/difficulty_held_out.py"


# The loss of the dense model on what it was trained on.
rule difficulty_by_loss:
    input:
        **IMAGES,
        split=at("splits", "split.npz"),
        model=at("models", "dense/model.safetensors"),
    output:
        scores=at("models", "dense/scores.npz"),
        job=at("models", "dense/scores.json"),
    log:
        log_of("difficulty_by_loss"),
    benchmark:
        benchmark_of("difficulty_by_loss")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        code=code_of("difficulty_by_loss"),
    message:
        "loss of {wildcards.model} on {wildcards.dataset}, {wildcards.recipe}, seed {wildcards.seed}"
    script:
        "../scripts/difficulty_by_loss.py"
