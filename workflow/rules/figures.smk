# Figures from tables; a new figure is one new file in lacuna.reporting.figures, which names the tables that it reads.
from lacuna.artifacts.files import content_digest
from lacuna.reporting.palette import STYLE_FILE

# a figure's place and caption in Snakemake's report; one caption for all: a path takes no wildcards
IN_REPORT = {"category": "Figures", "caption": "../report/figure.rst", "labels": {"figure": "{figure}"}}
VECTORS = {suffix: at("figures", f"{{figure}}.{suffix}") for suffix in EXPERIMENT.figure_formats if suffix != "png"}
if "svg" in VECTORS:
    VECTORS["svg"] = report(VECTORS["svg"], **IN_REPORT)


rule figure:
    input:
        unpack(INPUTS.figure_tables),
        metas=METAS,
    output:
        **VECTORS,
        png=at("figures", "{figure}.png") if "svg" in VECTORS else report(at("figures", "{figure}.png"), **IN_REPORT),
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
        style=content_digest(STYLE_FILE),
        datasets=list(EXPERIMENT.axes["datasets"]),
        drawn=PARAMS.drawn,
        judges=PARAMS.figure_judges,
        code=code_of("figure"),
    message:
        "figure {wildcards.figure} of {wildcards.experiment}"
    script:
        "../scripts/figure.py"
