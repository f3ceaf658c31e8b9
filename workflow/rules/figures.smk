# Figures from tables; a new figure is one new file in lacuna.reporting.figures, which names the tables that it reads.


rule figure:
    input:
        unpack(INPUTS.figure_tables),
    output:
        svg=report(
            at("figures", "{figure}.svg"),
            category="Figures",
            # one caption for all: a path takes no wildcards
            caption="../report/figure.rst",
            labels={"figure": "{figure}"},
        ),
        png=at("figures", "{figure}.png"),
    log:
        log_of("figure"),
    benchmark:
        benchmark_of("figure")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(),
    params:
        oracles=EXPERIMENT.oracles,
        judges=PARAMS.figure_judges,
        code=code_of("figure"),
    message:
        "figure {wildcards.figure} of {wildcards.experiment}"
    script:
        "../scripts/figure.py"
