# Unlearners and oracles: one script, four ways to start.

# From the original model of the state, under its mask.
rule unlearn:
    input:
        images=DATA + "images.safetensors",
        meta=DATA + "meta.json",
        split=SPLITS + "forget/{scenario}.npz",
        model=TRAINED + "{state}/model.safetensors",
        mask=TRAINED + "{state}/mask.npz",
    output:
        model=CELLS + "{state}/{unlearner}/model.safetensors",
        mask=CELLS + "{state}/{unlearner}/mask.npz",
        predictions=CELLS + "{state}/{unlearner}/predictions.npz",
        history=CELLS + "{state}/{unlearner}/history.csv",
        job=CELLS + "{state}/{unlearner}/job.json",
    wildcard_constraints:
        unlearner=one_of(unlearners_by(None)),
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        unlearner=unlearner_entry,
        code=code_of("unlearn.py", models="model", unlearners="unlearner"),
    log:
        beside(CELLS + "{state}/{unlearner}", "log"),
    benchmark:
        beside(CELLS + "{state}/{unlearner}", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=720,
        gpu=GPU,
    conda:
        ENVIRONMENT
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unlearn.py"

# From nothing, under the mask that was found on all of the data.
rule retrain:
    input:
        images=DATA + "images.safetensors",
        meta=DATA + "meta.json",
        split=SPLITS + "forget/{scenario}.npz",
        mask=TRAINED + "{state}/mask.npz",
    output:
        model=CELLS + "{state}/{unlearner}/model.safetensors",
        mask=CELLS + "{state}/{unlearner}/mask.npz",
        predictions=CELLS + "{state}/{unlearner}/predictions.npz",
        history=CELLS + "{state}/{unlearner}/history.csv",
        job=CELLS + "{state}/{unlearner}/job.json",
    wildcard_constraints:
        unlearner=one_of(unlearners_by("retrain")),
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        unlearner=unlearner_entry,
        code=code_of("unlearn.py", models="model", unlearners="unlearner"),
    log:
        beside(CELLS + "{state}/{unlearner}", "log"),
    benchmark:
        beside(CELLS + "{state}/{unlearner}", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=720,
        gpu=GPU,
    conda:
        ENVIRONMENT
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unlearn.py"

# From nothing, without a mask; its rewind state serves every sparse exact oracle.
rule retrain_exact_dense:
    input:
        images=DATA + "images.safetensors",
        meta=DATA + "meta.json",
        split=SPLITS + "forget/{scenario}.npz",
    output:
        model=CELLS + "dense/{unlearner}/model.safetensors",
        rewind=CELLS + "dense/{unlearner}/rewind.safetensors",
        mask=CELLS + "dense/{unlearner}/mask.npz",
        predictions=CELLS + "dense/{unlearner}/predictions.npz",
        history=CELLS + "dense/{unlearner}/history.csv",
        job=CELLS + "dense/{unlearner}/job.json",
    wildcard_constraints:
        unlearner=one_of(unlearners_by("retrain_exact")),
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        unlearner=unlearner_entry,
        code=code_of("unlearn.py", models="model", unlearners="unlearner"),
    log:
        beside(CELLS + "dense/{unlearner}", "log"),
    benchmark:
        beside(CELLS + "dense/{unlearner}", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=720,
        gpu=GPU,
    conda:
        ENVIRONMENT
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, dense, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unlearn.py"

# From the dense exact oracle, pruned on the retained data.
rule retrain_exact:
    input:
        images=DATA + "images.safetensors",
        meta=DATA + "meta.json",
        split=SPLITS + "forget/{scenario}.npz",
        trained=CELLS + "dense/{unlearner}/model.safetensors",
        rewind=CELLS + "dense/{unlearner}/rewind.safetensors",
        trained_job=CELLS + "dense/{unlearner}/job.json",
    output:
        model=CELLS + "{pruner}-{sparsity}/{unlearner}/model.safetensors",
        mask=CELLS + "{pruner}-{sparsity}/{unlearner}/mask.npz",
        predictions=CELLS + "{pruner}-{sparsity}/{unlearner}/predictions.npz",
        history=CELLS + "{pruner}-{sparsity}/{unlearner}/history.csv",
        job=CELLS + "{pruner}-{sparsity}/{unlearner}/job.json",
    wildcard_constraints:
        unlearner=one_of(unlearners_by("retrain_exact")),
    params:
        model=entry_of("models", "model"),
        recipe=entry_of("recipes", "recipe"),
        unlearner=unlearner_entry,
        pruner=entry_of("pruners", "pruner"),
        code=code_of("unlearn.py", models="model", unlearners="unlearner", pruners="pruner"),
    log:
        beside(CELLS + "{pruner}-{sparsity}/{unlearner}", "log"),
    benchmark:
        beside(CELLS + "{pruner}-{sparsity}/{unlearner}", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=720,
        gpu=GPU,
    conda:
        ENVIRONMENT
    message:
        "{wildcards.unlearner}: {wildcards.scenario}, {wildcards.pruner}-{wildcards.sparsity}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/unlearn.py"
