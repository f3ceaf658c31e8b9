# Images come in, and are split once per seed.


rule ingest:
    output:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
    log:
        log_of("ingest"),
    benchmark:
        benchmark_of("ingest")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(megabytes=2000, minutes=240),
    params:
        entry=entry_of("datasets", "dataset"),
        content=PARAMS.user_files("datasets", "dataset"),
        code=code_of("ingest"),
    message:
        "ingest {wildcards.dataset}"
    script:
        "../scripts/ingest.py"


rule split:
    input:
        **IMAGES,
    output:
        split=at("splits", "split.npz"),
    log:
        log_of("split"),
    benchmark:
        benchmark_of("split")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(),
    params:
        code=code_of("split"),
    message:
        "split {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/split.py"


rule choose_forget_set:
    input:
        **IMAGES,
        split=at("splits", "split.npz"),
        scores=INPUTS.score_files,
    output:
        split=at("splits", "forget/{scenario}.npz"),
    log:
        log_of("choose_forget_set"),
    benchmark:
        benchmark_of("choose_forget_set")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(),
    params:
        entry=entry_of("scenarios", "scenario"),
        content=PARAMS.user_files("scenarios", "scenario"),
        code=code_of("choose_forget_set"),
    message:
        "choose the forget set: {wildcards.scenario} of {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/choose_forget_set.py"
