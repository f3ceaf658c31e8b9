# Linear probes of every cell's features on other datasets; only with transfer.targets.


rule probe:
    input:
        meta=at("data", "meta.json"),
        model=at("cells", "{state}/{unlearner}/model.safetensors"),
        job=at("cells", "{state}/{unlearner}/job.json"),
        images=of_target("data", "images.safetensors"),
        target_meta=of_target("data", "meta.json"),
        split=of_target("splits", "split.npz"),
    output:
        probe=at("cells", "{state}/{unlearner}/probe/{target}.json"),
    log:
        log_of("probe"),
    benchmark:
        benchmark_of("probe")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **RESOURCES.of_model,
    params:
        model=entry_of("models", "model"),
        probe=EXPERIMENT.probe,
        code=code_of("probe"),
    message:
        "probe {wildcards.unlearner} on {wildcards.target}: {wildcards.scenario}, {wildcards.state}, {wildcards.dataset}, seed {wildcards.seed}"
    script:
        "../scripts/probe.py"
