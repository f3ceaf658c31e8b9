# What becomes of a backdoor: the table of experiments whose datasets have one.


rule backdoor:
    input:
        cells=at("tables", "cells.csv"),
    output:
        backdoor=report(
            at("tables", "backdoor.csv"),
            category="Tables",
            caption="../report/backdoor.rst",
            labels={"table": "backdoor"},
        ),
    log:
        log_of("backdoor"),
    benchmark:
        benchmark_of("backdoor")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(),
    params:
        **OF_ORACLES,
        grid={"unlearners": {label: PARAMS.options["unlearners"][label] for label in PARAMS.unlearners_by("original")}},
        code=code_of("backdoor"),
    message:
        "backdoor before and after, of {wildcards.experiment}"
    script:
        "../scripts/backdoor.py"
