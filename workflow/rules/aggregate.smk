# One long table of cells, one summary over seeds.


localrules:
    aggregate,


rule aggregate:
    input:
        metrics=[at("cells", "{state}/{unlearner}/metrics.json").format(**cell) for cell in EXPERIMENT.cells()],
        populations=population_files(),
    output:
        cells=report(
            at("tables", "cells.csv"),
            category="Tables",
            caption="../report/cells.rst",
            labels={"table": "cells"},
        ),
        summary=report(
            at("tables", "summary.csv"),
            category="Tables",
            caption="../report/summary.rst",
            labels={"table": "summary"},
        ),
        experiment=at("tables", "experiment.json"),
    log:
        log_at("tables", "aggregate"),
    benchmark:
        benchmark_at("tables", "aggregate")
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=30,
        gpu=0,
    params:
        oracles=EXPERIMENT.oracles,
        experiment={
            "name": EXPERIMENT.name,
            "seeds": EXPERIMENT.seeds,
            "states": EXPERIMENT.states,
            "metrics": EXPERIMENT.metrics,
            "grid": OPTIONS,
        },
        code=code_of("aggregate.py"),
    message:
        "tables of {wildcards.experiment}"
    script:
        "../scripts/aggregate.py"
