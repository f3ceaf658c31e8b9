# Metrics from stored predictions: no GPU, no torch.


# a job in a queue starts Snakemake twice, which takes longer than the metrics
localrules:
    evaluate,


rule evaluate:
    input:
        predictions=at("cells", "{state}/{unlearner}/predictions.npz"),
        mask=at("cells", "{state}/{unlearner}/mask.npz"),
        job=at("cells", "{state}/{unlearner}/job.json"),
        oracle_predictions=oracle_files("predictions.npz"),
        oracle_masks=oracle_files("mask.npz"),
        oracle_jobs=oracle_files("job.json"),
    output:
        metrics=at("cells", "{state}/{unlearner}/metrics.json"),
    log:
        log_at("cells", "{state}/{unlearner}/metrics"),
    benchmark:
        benchmark_at("cells", "{state}/{unlearner}/metrics")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
        gpu=0,
    params:
        oracles=EXPERIMENT.oracles,
        metrics=EXPERIMENT.metrics,
        code=code_digest(
            SCRIPTS / "evaluate.py",
            *(KNOWN["metrics"][name]["module"] for name in EXPERIMENT.metrics),
        ),
    message:
        "evaluate {wildcards.unlearner}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate.py"
