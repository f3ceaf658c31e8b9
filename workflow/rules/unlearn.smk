# Unlearners and oracles: one script, four ways to start.


# From the original model of the state, under its mask.
rule unlearn:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "forget/{scenario}.npz"),
        model=at("models", "{state}/model.safetensors"),
        mask=at("models", "{state}/mask.npz"),
    output:
        model=at("cells", "{state}/{unlearner}/model.safetensors"),
        mask=at("cells", "{state}/{unlearner}/mask.npz"),
        predictions=at("cells", "{state}/{unlearner}/predictions.npz"),
        history=at("cells", "{state}/{unlearner}/history.csv"),
        job=at("cells", "{state}/{unlearner}/job.json"),
    log:
        log_at("cells", "{state}/{unlearner}"),
    benchmark:
        benchmark_at("cells", "{state}/{unlearner}")
    wildcard_constraints:
        unlearner=one_of(unlearners_by(None)),
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
        compact=compacted(),
        code=code_of("unlearn.py", also=compaction, models="model", unlearners="unlearner"),
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unlearn.py"


# Under the mask that was found on all of the data, from the original's own initialisation; a dense one from nothing.
rule retrain:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "forget/{scenario}.npz"),
        mask=at("models", "{state}/mask.npz"),
        start=started_from(
            theta0=at("models", "dense/initial.safetensors"),
            rewind=at("models", "dense/rewind.safetensors"),
        ),
    output:
        model=at("cells", "{state}/{unlearner}/model.safetensors"),
        mask=at("cells", "{state}/{unlearner}/mask.npz"),
        predictions=at("cells", "{state}/{unlearner}/predictions.npz"),
        history=at("cells", "{state}/{unlearner}/history.csv"),
        job=at("cells", "{state}/{unlearner}/job.json"),
    log:
        log_at("cells", "{state}/{unlearner}"),
    benchmark:
        benchmark_at("cells", "{state}/{unlearner}")
    wildcard_constraints:
        unlearner=one_of(unlearners_by("retrain")),
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
        compact=compacted(),
        code=code_of("unlearn.py", also=compaction, models="model", unlearners="unlearner"),
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unlearn.py"


# From nothing, without a mask; its states serve every sparse exact oracle.
rule retrain_exact_dense:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "forget/{scenario}.npz"),
    output:
        model=at("cells", "dense/{unlearner}/model.safetensors"),
        rewind=at("cells", "dense/{unlearner}/rewind.safetensors"),
        initial=at("cells", "dense/{unlearner}/initial.safetensors"),
        mask=at("cells", "dense/{unlearner}/mask.npz"),
        predictions=at("cells", "dense/{unlearner}/predictions.npz"),
        history=at("cells", "dense/{unlearner}/history.csv"),
        job=at("cells", "dense/{unlearner}/job.json"),
    log:
        log_at("cells", "dense/{unlearner}"),
    benchmark:
        benchmark_at("cells", "dense/{unlearner}")
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
        code=code_of("unlearn.py", models="model", unlearners="unlearner"),
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, dense, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unlearn.py"


# From the dense exact oracle or an earlier round of it, pruned on the retained data.
rule retrain_exact:
    input:
        images=at("data", "images.safetensors"),
        meta=at("data", "meta.json"),
        split=at("splits", "forget/{scenario}.npz"),
        previous=from_previous("cells", "{previous}/{unlearner}/model.safetensors"),
        previous_mask=from_previous("cells", "{previous}/{unlearner}/mask.npz"),
        previous_job=from_previous("cells", "{previous}/{unlearner}/job.json"),
        rewind=at("cells", "dense/{unlearner}/rewind.safetensors"),
        initial=at("cells", "dense/{unlearner}/initial.safetensors"),
    output:
        model=at("cells", "{pruner}-{sparsity}/{unlearner}/model.safetensors"),
        mask=at("cells", "{pruner}-{sparsity}/{unlearner}/mask.npz"),
        predictions=at("cells", "{pruner}-{sparsity}/{unlearner}/predictions.npz"),
        history=at("cells", "{pruner}-{sparsity}/{unlearner}/history.csv"),
        job=at("cells", "{pruner}-{sparsity}/{unlearner}/job.json"),
    log:
        log_at("cells", "{pruner}-{sparsity}/{unlearner}"),
    benchmark:
        benchmark_at("cells", "{pruner}-{sparsity}/{unlearner}")
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
        code=code_of("unlearn.py", models="model", unlearners="unlearner", pruners="pruner"),
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unlearn.py"
