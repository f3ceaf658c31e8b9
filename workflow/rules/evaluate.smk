# Metrics from stored predictions: no GPU, no torch.


rule evaluate:
    input:
        predictions=CELLS + "{state}/{unlearner}/predictions.npz",
        mask=CELLS + "{state}/{unlearner}/mask.npz",
        job=CELLS + "{state}/{unlearner}/job.json",
        oracle_predictions=oracle_files("predictions.npz"),
        oracle_masks=oracle_files("mask.npz"),
        oracle_jobs=oracle_files("job.json"),
    output:
        metrics=CELLS + "{state}/{unlearner}/metrics.json",
    params:
        oracles=EXPERIMENT.oracles,
        metrics=EXPERIMENT.metrics,
        code=code_digest(
            SCRIPTS / "evaluate.py",
            *(KNOWN["metrics"][name]["module"] for name in EXPERIMENT.metrics),
        ),
    log:
        beside(CELLS + "{state}/{unlearner}/metrics", "log"),
    benchmark:
        beside(CELLS + "{state}/{unlearner}/metrics", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
        gpu=0,
    conda:
        ENVIRONMENT
    message:
        "evaluate {wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate.py"
