# Shadow models, several in a job, and what attackers who have them can tell.


# Dense originals, each of its half of the training data: one set for every pruner, scenario and unlearner.
rule shadow_train:
    input:
        **IMAGES,
        split=at("splits", "split.npz"),
    output:
        originals=at("shadows", "dense/{shadows}.safetensors"),
        job=at("shadows", "dense/{shadows}.json"),
    log:
        log_of("shadow_train"),
    benchmark:
        benchmark_of("shadow_train")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        code=code_of("shadow_train"),
    message:
        "train shadow models {wildcards.shadows}: {wildcards.model} on {wildcards.dataset}, {wildcards.recipe}, seed {wildcards.seed}"
    script:
        "../scripts/shadow_train.py"


# The same models pruned.
rule shadow_prune:
    input:
        **IMAGES,
        split=at("splits", "split.npz"),
        originals=at("shadows", "dense/{shadows}.safetensors"),
    output:
        originals=at("shadows", "{pruner}-{sparsity}/{shadows}.safetensors"),
        job=at("shadows", "{pruner}-{sparsity}/{shadows}.json"),
    log:
        log_of("shadow_prune"),
    benchmark:
        benchmark_of("shadow_prune")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        pruner=entry_of("pruners", "pruner"),
        code=code_of("shadow_prune"),
    message:
        "prune shadow models {wildcards.shadows} to {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/shadow_prune.py"


# Each forgets what its half has of D_f; a retrained oracle takes its mask, and where its own original started.
rule shadow_unlearn:
    input:
        **IMAGES,
        split=at("splits", "forget/{scenario}.npz"),
        originals=at("shadows", "{state}/{shadows}.safetensors"),
        rewound=INPUTS.started_from(rewind=at("shadows", "dense/{shadows}.safetensors")),
    output:
        answers=at("cells", "{state}/{unlearner}/shadows/{shadows}.npz"),
        job=at("cells", "{state}/{unlearner}/shadows/{shadows}.json"),
    log:
        log_of("shadow_unlearn"),
    benchmark:
        benchmark_of("shadow_unlearn")
    wildcard_constraints:
        unlearner=one_of([*PARAMS.unlearners_by(None), *PARAMS.unlearners_by("retrain")]),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        **NETWORK,
        unlearner=PARAMS.unlearner_entry,
        code=code_of("shadow_unlearn"),
    message:
        "{wildcards.unlearner} of shadow models {wildcards.shadows}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/shadow_unlearn.py"


# From nothing, on its half without D_f.
use rule shadow_unlearn as shadow_retrain_exact_dense with:
    input:
        **IMAGES,
        split=at("splits", "forget/{scenario}.npz"),
    output:
        answers=at("cells", "dense/{unlearner}/shadows/{shadows}.npz"),
        job=at("cells", "dense/{unlearner}/shadows/{shadows}.json"),
    log:
        log_of("shadow_retrain_exact_dense"),
    benchmark:
        benchmark_of("shadow_retrain_exact_dense")
    wildcard_constraints:
        unlearner=one_of(PARAMS.unlearners_by("retrain_exact")),
    message:
        "{wildcards.unlearner} of shadow models {wildcards.shadows}: {wildcards.scenario}, dense, {wildcards.dataset}, seed {wildcards.seed}"


# The same, then pruned on it; no state of a dense one is kept to start from.
use rule shadow_retrain_exact_dense as shadow_retrain_exact with:
    output:
        answers=at("cells", "{pruner}-{sparsity}/{unlearner}/shadows/{shadows}.npz"),
        job=at("cells", "{pruner}-{sparsity}/{unlearner}/shadows/{shadows}.json"),
    log:
        log_of("shadow_retrain_exact"),
    benchmark:
        benchmark_of("shadow_retrain_exact")
    params:
        pruner=entry_of("pruners", "pruner"),
        code=code_of("shadow_retrain_exact"),
    message:
        "{wildcards.unlearner} of shadow models {wildcards.shadows}: {wildcards.scenario}, {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"


# U-LiRA, RMIA, KLOM and the ε-score from what was answered: no GPU, no torch.
rule population:
    input:
        own=INPUTS.shadow_files(),
        oracles=INPUTS.shadow_files(*EXPERIMENT.oracles),
    output:
        population=at("cells", "{state}/{unlearner}/population.json"),
    log:
        log_of("population"),
    benchmark:
        benchmark_of("population")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(megabytes=4000, minutes=240),
    params:
        oracles=EXPERIMENT.oracles,
        code=code_of("population"),
    message:
        "population metrics of {wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/population.py"
