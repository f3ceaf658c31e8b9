# Hyper-parameters chosen on the validation split of other seeds, blind to oracles and test set. `snakemake tune` makes a
# study of every method and an overlay with the winning values; it is no part of `all`.


localrules:
    tune,
    tuned,


rule tune:
    input:
        tuned_files,


rule tune_unlearner:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        splits=tuning_starts("splits", "forget/{scenario}.npz"),
        models=tuning_starts("models", "{state}/model.safetensors"),
        masks=tuning_starts("models", "{state}/mask.npz"),
    output:
        study=at("tuning", "{unlearner}.json"),
    log:
        log_at("tuning", "{unlearner}"),
    benchmark:
        benchmark_at("tuning", "{unlearner}")
    wildcard_constraints:
        unlearner=one_of(TUNABLE),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=model_memory,
        runtime=model_runtime_of_search,
        gpu=GPU,
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        unlearner=entry_of("unlearners", "unlearner"),
        scenarios=OPTIONS["scenarios"],
        states={state: compacted_state(state) for state in EXPERIMENT.states},
        tuning=EXPERIMENT.tuning,
        code=code_of("tune_unlearner.py", also=tuning_code, models="model", unlearners="unlearner"),
    message:
        "tune {wildcards.unlearner} on {wildcards.dataset}, {wildcards.model}, {wildcards.recipe}"
    script:
        "../scripts/tune_unlearner.py"


rule tuned:
    input:
        studies=expand(at("tuning", "{unlearner}.json"), unlearner=TUNABLE, allow_missing=True),
    output:
        overlay=at("tuning", "tuned.yaml"),
    log:
        log_at("tuning", "tuned"),
    benchmark:
        benchmark_at("tuning", "tuned")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
        gpu=0,
    params:
        given=dict(EXPERIMENT.given),
        code=code_of("tuned.py"),
    message:
        "winning values of {wildcards.experiment} on {wildcards.dataset}, {wildcards.model}, {wildcards.recipe}"
    script:
        "../scripts/tuned.py"
