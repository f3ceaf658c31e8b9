# Linear probes of every cell's features on other datasets, and what the seeds tell of them; only with transfer.targets.


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


rule transfer:
    input:
        probes=TARGETS.probes,
    output:
        probes=report(
            at("tables", "probes.csv"),
            category="Tables",
            caption="../report/probes.rst",
            labels={"table": "probes"},
        ),
        transfer=report(
            at("tables", "transfer.csv"),
            category="Tables",
            caption="../report/transfer.rst",
            labels={"table": "transfer"},
        ),
    log:
        log_of("transfer"),
    benchmark:
        benchmark_of("transfer")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(),
    params:
        **OF_ORACLES,
        code=code_of("transfer"),
    message:
        "probes of {wildcards.experiment}"
    script:
        "../scripts/transfer.py"
