# One long table of cells, and what the seeds tell: summary, ranks, disagreement of metrics, what sparsity changes, what is
# missing.


rule aggregate:
    input:
        metrics=TARGETS.metrics,
        populations=TARGETS.populations,
    output:
        cells=report(
            at("tables", "cells.csv"),
            category="Tables",
            caption="../report/cells.rst",
            labels={"table": "cells"},
        ),
        layers=report(
            at("tables", "layers.csv"),
            category="Tables",
            caption="../report/layers.rst",
            labels={"table": "layers"},
        ),
        summary=report(
            at("tables", "summary.csv"),
            category="Tables",
            caption="../report/summary.rst",
            labels={"table": "summary"},
        ),
        ranks=report(
            at("tables", "ranks.csv"),
            category="Tables",
            caption="../report/ranks.rst",
            labels={"table": "ranks"},
        ),
        disagreement=report(
            at("tables", "disagreement.csv"),
            category="Tables",
            caption="../report/disagreement.rst",
            labels={"table": "disagreement"},
        ),
        sparsity=report(
            at("tables", "sparsity.csv"),
            category="Tables",
            caption="../report/sparsity.rst",
            labels={"table": "sparsity"},
        ),
        missing=report(
            at("tables", "missing.csv"),
            category="Tables",
            caption="../report/missing.rst",
            labels={"table": "missing"},
        ),
        provenance=report(
            at("tables", "provenance.csv"),
            category="Tables",
            caption="../report/provenance.rst",
            labels={"table": "provenance"},
        ),
        experiment=at("tables", "experiment.json"),
    log:
        log_of("aggregate"),
    benchmark:
        benchmark_of("aggregate")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(megabytes=2000, minutes=30),
    params:
        missing=TARGETS.missing,
        experiment={
            "name": EXPERIMENT.name,
            "seeds": EXPERIMENT.seeds,
            "states": EXPERIMENT.states,
            "metrics": EXPERIMENT.metrics,
            "grid": PARAMS.grid,
            "judging": {
                "oracles": EXPERIMENT.oracles,
                "twins": EXPERIMENT.twins,
                "better": {name: KNOWN["metrics"][name]["better"] for name in EXPERIMENT.metrics}
                | {
                    name: facts["better"]
                    for name, facts in KNOWN["population"].items()
                    if EXPERIMENT.shadows is not None
                },
                # cost metrics do not measure forgetting
                "costs": [
                    name
                    for name in EXPERIMENT.metrics
                    if KNOWN["metrics"][name]["module"] == "lacuna.evaluation.metrics.cost"
                ],
            },
        },
        code=code_of("aggregate"),
    message:
        "tables of {wildcards.experiment}"
    script:
        "../scripts/aggregate.py"


# Do two ways of training rank the methods alike?
rule recipes:
    input:
        cells=at("tables", "cells.csv"),
    output:
        recipes=report(
            at("tables", "recipes.csv"),
            category="Tables",
            caption="../report/recipes.rst",
            labels={"table": "recipes"},
        ),
    log:
        log_of("recipes"),
    benchmark:
        benchmark_of("recipes")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(),
    params:
        **OF_ORACLES,
        code=code_of("recipes"),
    message:
        "recipes compared in {wildcards.experiment}"
    script:
        "../scripts/recipes.py"
