# Shadow models, several in a job, and what attackers who have them can tell.


localrules:
    roc,


# Dense originals, each of its half of the training data: one set for every pruner, scenario and unlearner.
rule shadow_train:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "split.npz"),
    output:
        originals=at("shadows", "dense/{shadows}.safetensors"),
        job=at("shadows", "dense/{shadows}.json"),
    log:
        log_at("shadows", "dense/{shadows}"),
    benchmark:
        benchmark_at("shadows", "dense/{shadows}")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=model_memory,
        runtime=model_runtime,
        gpu=GPU,
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        code=code_of("shadow_train.py", models="model"),
    message:
        "train shadow models {wildcards.shadows}: {wildcards.model} on {wildcards.dataset}, {wildcards.recipe}, seed {wildcards.seed}"
    script:
        "../scripts/shadow_train.py"


# The same models pruned.
rule shadow_prune:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "split.npz"),
        originals=at("shadows", "dense/{shadows}.safetensors"),
    output:
        originals=at("shadows", "{pruner}-{sparsity}/{shadows}.safetensors"),
        job=at("shadows", "{pruner}-{sparsity}/{shadows}.json"),
    log:
        log_at("shadows", "{pruner}-{sparsity}/{shadows}"),
    benchmark:
        benchmark_at("shadows", "{pruner}-{sparsity}/{shadows}")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=model_memory,
        runtime=model_runtime,
        gpu=GPU,
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        pruner=entry_of("pruners", "pruner"),
        code=code_of("shadow_prune.py", models="model", pruners="pruner"),
    message:
        "prune shadow models {wildcards.shadows} to {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/shadow_prune.py"


# Each forgets what its half has of D_f; a retrained oracle takes its mask, and where its own original started.
rule shadow_unlearn:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "forget/{scenario}.npz"),
        originals=at("shadows", "{state}/{shadows}.safetensors"),
        rewound=started_from(rewind=at("shadows", "dense/{shadows}.safetensors")),
    output:
        answers=at("cells", "{state}/{unlearner}/shadows/{shadows}.npz"),
        job=at("cells", "{state}/{unlearner}/shadows/{shadows}.json"),
    log:
        log_at("cells", "{state}/{unlearner}/shadows/{shadows}"),
    benchmark:
        benchmark_at("cells", "{state}/{unlearner}/shadows/{shadows}")
    wildcard_constraints:
        unlearner=one_of([*unlearners_by(None), *unlearners_by("retrain")]),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=model_memory,
        runtime=model_runtime,
        gpu=GPU,
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        unlearner=unlearner_entry,
        code=code_of("shadow_unlearn.py", models="model", unlearners="unlearner"),
    message:
        "{wildcards.unlearner} of shadow models {wildcards.shadows}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/shadow_unlearn.py"


# From nothing, on its half without D_f.
rule shadow_retrain_exact_dense:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "forget/{scenario}.npz"),
    output:
        answers=at("cells", "dense/{unlearner}/shadows/{shadows}.npz"),
        job=at("cells", "dense/{unlearner}/shadows/{shadows}.json"),
    log:
        log_at("cells", "dense/{unlearner}/shadows/{shadows}"),
    benchmark:
        benchmark_at("cells", "dense/{unlearner}/shadows/{shadows}")
    wildcard_constraints:
        unlearner=one_of(unlearners_by("retrain_exact")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=model_memory,
        runtime=model_runtime,
        gpu=GPU,
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        unlearner=unlearner_entry,
        code=code_of("shadow_unlearn.py", models="model", unlearners="unlearner"),
    message:
        "{wildcards.unlearner} of shadow models {wildcards.shadows}: {wildcards.scenario}, dense, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/shadow_unlearn.py"


# The same, then pruned on it; no state of a dense one is kept to start from.
rule shadow_retrain_exact:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "forget/{scenario}.npz"),
    output:
        answers=at("cells", "{pruner}-{sparsity}/{unlearner}/shadows/{shadows}.npz"),
        job=at("cells", "{pruner}-{sparsity}/{unlearner}/shadows/{shadows}.json"),
    log:
        log_at("cells", "{pruner}-{sparsity}/{unlearner}/shadows/{shadows}"),
    benchmark:
        benchmark_at("cells", "{pruner}-{sparsity}/{unlearner}/shadows/{shadows}")
    wildcard_constraints:
        unlearner=one_of(unlearners_by("retrain_exact")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=model_memory,
        runtime=model_runtime,
        gpu=GPU,
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        unlearner=unlearner_entry,
        pruner=entry_of("pruners", "pruner"),
        code=code_of("shadow_unlearn.py", models="model", unlearners="unlearner", pruners="pruner"),
    message:
        "{wildcards.unlearner} of shadow models {wildcards.shadows}: {wildcards.scenario}, {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/shadow_unlearn.py"


# U-LiRA, RMIA, KLOM and the ε-score from what was answered: no GPU, no torch.
rule population:
    input:
        own=shadow_files(),
        oracles=shadow_files(*EXPERIMENT.oracles),
    output:
        population=at("cells", "{state}/{unlearner}/population.json"),
    log:
        log_at("cells", "{state}/{unlearner}/population"),
    benchmark:
        benchmark_at("cells", "{state}/{unlearner}/population")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=240,
        gpu=0,
    params:
        oracles=EXPERIMENT.oracles,
        code=code_digest(SCRIPTS / "population.py", *(facts["module"] for facts in KNOWN["population"].values())),
    message:
        "population metrics of {wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/population.py"


# The curves of all attacks in one table, for the figure.
rule roc:
    input:
        populations=POPULATIONS,
    output:
        roc=at("tables", "roc.csv"),
    log:
        log_at("tables", "roc"),
    benchmark:
        benchmark_at("tables", "roc")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
        gpu=0,
    params:
        oracles=EXPERIMENT.oracles,
        twins=EXPERIMENT.twins,
        code=code_of("roc.py"),
    message:
        "ROC curves of {wildcards.experiment}"
    script:
        "../scripts/roc.py"
