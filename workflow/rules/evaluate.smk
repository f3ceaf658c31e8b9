# Metrics from stored predictions: no GPU, no torch. What only some metrics need is made only for them.


# a job in a queue starts Snakemake twice, which takes longer than the metrics
rule evaluate:
    input:
        **INPUTS.evaluated(),
    output:
        metrics=at("cells", "{state}/{unlearner}/metrics/{experiment}.json"),
    log:
        log_of("evaluate"),
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        # numbers, and no benchmark: half the jobs of a grid are this rule's, and each function or file counts in every plan
        mem_mb=2000,
        runtime=60,
        gpu=0,
    params:
        oracles=EXPERIMENT.oracles,
        metrics=EXPERIMENT.metrics,
        needs=INPUTS.needed(),
        code=code_of("evaluate"),
    message:
        "evaluate {wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate.py"


# What a network that learnt nothing predicts, for the metrics that compare with it.
rule random_init:
    input:
        **IMAGES,
        split=at("splits", "split.npz"),
    output:
        predictions=at("models", "random_init.npz"),
    log:
        log_of("random_init"),
    benchmark:
        benchmark_of("random_init")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        model=entry_of("models", "model"),
        code=code_of("random_init"),
    message:
        "predict with an untrained {wildcards.model} on {wildcards.dataset}, {wildcards.recipe}, seed {wildcards.seed}"
    script:
        "../scripts/random_init.py"


# How fast a cell's model learns the forget set again, for the metrics that ask.
rule relearn:
    input:
        **IMAGES,
        split=at("splits", "forget/{scenario}.npz"),
        original=at("models", "{state}/model.safetensors"),
        model=at("cells", "{state}/{unlearner}/model.safetensors"),
        mask=at("cells", "{state}/{unlearner}/mask.npz"),
    output:
        relearn=at("cells", "{state}/{unlearner}/relearn.json"),
    log:
        log_of("relearn"),
    benchmark:
        benchmark_of("relearn")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        relearning=EXPERIMENT.relearning,
        code=code_of("relearn"),
    message:
        "relearn after {wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/relearn.py"


# How far a model went from its initialisation and how strongly its loss bends, for the bound of gradient ascent.
rule curvature:
    input:
        **IMAGES,
        split=at("splits", "split.npz"),
        model=at("models", "{state}/model.safetensors"),
        mask=at("models", "{state}/mask.npz"),
        initial=at("models", "dense/initial.safetensors"),
        job=at("models", "{state}/job.json"),
        dense_job=at("models", "dense/job.json"),
    output:
        curvature=at("models", "{state}/curvature.json"),
    log:
        log_of("curvature"),
    benchmark:
        benchmark_of("curvature")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        code=code_of("curvature"),
    message:
        "curvature of {wildcards.model} at {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/curvature.py"
