# What the tables of an experiment show, in words and for a paper.


rule answer:
    input:
        **{name: at("tables", f"{name}.csv") for name in ("cells", "summary", "sparsity", "missing")},
        experiment=at("tables", "experiment.json"),
    output:
        summary=at("tables", "summary.md"),
        latex=at("tables", "tables.tex"),
    log:
        log_of("answer"),
    benchmark:
        benchmark_of("answer")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(megabytes=2000, minutes=30),
    params:
        code=code_of("answer"),
    message:
        "answer of {wildcards.experiment}"
    script:
        "../scripts/answer.py"
