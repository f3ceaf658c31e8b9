# Hyper-parameters chosen on the validation split of other seeds, blind to oracles and test set. `snakemake tune` makes a
# study of every method and an overlay with the winning values; it is no part of `all`.


rule tune:
    input:
        TARGETS.tuned_files,
    localrule: True


rule tune_unlearner:
    input:
        **IMAGES,
        splits=INPUTS.tuning_starts("splits", "forget/{scenario}.npz"),
        models=INPUTS.tuning_starts("models", "{state}/model.safetensors"),
        masks=INPUTS.tuning_starts("models", "{state}/mask.npz"),
    output:
        study=at("tuning", "{unlearner}.json"),
    log:
        log_of("tune_unlearner"),
    benchmark:
        benchmark_of("tune_unlearner")
    wildcard_constraints:
        unlearner=one_of(PARAMS.tunable),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_search,
    params:
        **NETWORK,
        unlearner=entry_of("unlearners", "unlearner"),
        scenarios=PARAMS.options["scenarios"],
        states={state: PARAMS.code.compacts(state) for state in EXPERIMENT.states},
        tuning=EXPERIMENT.tuning,
        code=code_of("tune_unlearner"),
    message:
        "tune {wildcards.unlearner} on {wildcards.dataset}, {wildcards.model}, {wildcards.recipe}"
    script:
        "../scripts/tune_unlearner.py"


rule collect_winners:
    input:
        studies=expand(at("tuning", "{unlearner}.json"), unlearner=PARAMS.tunable, allow_missing=True),
    output:
        overlay=at("tuning", "tuned.yaml"),
    log:
        log_of("collect_winners"),
    benchmark:
        benchmark_of("collect_winners")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(),
    params:
        config=PARAMS.config,
        code=code_of("collect_winners"),
    message:
        "winning values of {wildcards.experiment} on {wildcards.dataset}, {wildcards.model}, {wildcards.recipe}"
    script:
        "../scripts/collect_winners.py"
