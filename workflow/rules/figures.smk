# Figures from the summary; a new figure is one new file in lacuna.reporting.figures.


localrules:
    figure,


def figure_code(wildcards):
    """A param: the digest of one figure's code, so that changing it draws that figure alone."""
    return code_digest(
        SCRIPTS / "figure.py", KNOWN["figures"][wildcards.figure]["module"]
    )


rule figure:
    input:
        summary=TABLES + "summary.csv",
    output:
        svg=report(
            FIGURES + "{figure}.svg",
            category="Figures",
            caption="../report/{figure}.rst",
            labels={"figure": "{figure}"},
        ),
        png=FIGURES + "{figure}.png",
    params:
        oracles=EXPERIMENT.oracles,
        code=figure_code,
    log:
        beside(FIGURES + "{figure}", "log"),
    benchmark:
        beside(FIGURES + "{figure}", "benchmark")
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
        gpu=0,
    conda:
        ENVIRONMENT
    message:
        "figure {wildcards.figure} of {wildcards.experiment}"
    script:
        "../scripts/figure.py"
