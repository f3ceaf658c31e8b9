# Figures from tables; a new figure is one new file in lacuna.reporting.figures, which names the tables that it reads.
from lacuna.artifacts.files import content_digest
from lacuna.reporting.palette import STYLE_FILE

FIGURE_FILES = {suffix: at("figures", f"{{figure}}.{suffix}") for suffix in EXPERIMENT.figure_formats}
# Snakemake's report shows the sharper one
_SHOWN = "svg" if "svg" in FIGURE_FILES else "png"
FIGURE_FILES[_SHOWN] = report(
    FIGURE_FILES[_SHOWN],
    category="Figures",
    # one caption for all: a path takes no wildcards
    caption="../report/figure.rst",
    labels={"figure": "{figure}"},
)


rule figure:
    input:
        unpack(INPUTS.figure_tables),
        metas=[at("data", "meta.json").format(dataset=label) for label in EXPERIMENT.axes["datasets"]],
    output:
        **FIGURE_FILES,
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
