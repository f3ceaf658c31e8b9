# One long table of cells, one summary over seeds.


localrules:
    aggregate,


rule aggregate:
    input:
        metrics=[
            (CELLS + "{state}/{unlearner}/metrics.json").format(**cell)
            for cell in EXPERIMENT.cells()
        ],
    output:
        cells=report(
            TABLES + "cells.csv",
            category="Tables",
            caption="../report/cells.rst",
            labels={"table": "cells"},
        ),
        summary=report(
            TABLES + "summary.csv",
            category="Tables",
            caption="../report/summary.rst",
            labels={"table": "summary"},
        ),
        experiment=TABLES + "experiment.json",
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
    log:
        beside(TABLES + "aggregate", "log"),
    benchmark:
        beside(TABLES + "aggregate", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=30,
        gpu=0,
    conda:
        ENVIRONMENT
    message:
        "tables of {wildcards.experiment}"
    script:
        "../scripts/aggregate.py"
