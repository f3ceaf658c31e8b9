# One HTML page from all tables and the files of the cells; it opens without a network.


rule html_report:
    input:
        tables=TARGETS.table_files(),
        # of each cell the file that is written last: history, predictions and log lie next to it
        jobs=lambda wildcards: TARGETS.job_files(),
        metas=METAS,
    output:
        page=report(
            at("report", "{experiment}.html"),
            category="Report",
            caption="../report/html_report.rst",
            labels={"page": "report"},
        ),
    log:
        log_of("html_report"),
    benchmark:
        benchmark_of("html_report")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **reading(lambda: len(TARGETS.parts.metrics)),
    params:
        # libraries, script and style of the page, which no import shows
        assets=digest_of_assets(),
        code=code_of("html_report"),
    message:
        "report of {wildcards.experiment}"
    script:
        "../scripts/html_report.py"
