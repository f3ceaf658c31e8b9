# Tables: of all cells one job, of each further table one, from those that it reads. What they are says each itself, in
# lacuna.reporting.tables.


# what lists the cells one by one
rule aggregate:
    input:
        # functions: only the plan of this job has to list all cells
        metrics=lambda wildcards: TARGETS.parts.metrics,
        population=lambda wildcards: TARGETS.parts.populations,
    output:
        **{
            table: report(
                at("tables", f"{table}.csv"), category="Tables", caption="../report/table.rst", labels={"table": table}
            )
            for table in TARGETS.collected
        },
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
        told=lambda wildcards: TARGETS.told(*TARGETS.collected),
        code=code_of("aggregate"),
    message:
        "tables of all cells of {wildcards.experiment}"
    script:
        "../scripts/aggregate.py"


rule table:
    input:
        unpack(TARGETS.table_inputs),
    output:
        table=report(
            at("tables", "{table}.csv"),
            category="Tables",
            # one caption for all: a path takes no wildcards
            caption="../report/table.rst",
            labels={"table": "{table}"},
        ),
    log:
        log_of("table"),
    benchmark:
        benchmark_of("table")
    wildcard_constraints:
        table=one_of(TARGETS.single),
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(megabytes=2000, minutes=30),
    params:
        told=lambda wildcards: TARGETS.told(wildcards.table),
        code=code_of("table"),
    message:
        "table {wildcards.table} of {wildcards.experiment}"
    script:
        "../scripts/table.py"


# The experiment as it was resolved, and the content of its tables, which `lacuna verify` compares them with.
rule record:
    input:
        **TARGETS.tables(),
    output:
        experiment=at("tables", "experiment.json"),
    log:
        log_of("record"),
    benchmark:
        benchmark_of("record")
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        **small(),
    params:
        experiment=PARAMS.record,
        code=code_of("record"),
    message:
        "record of {wildcards.experiment}"
    script:
        "../scripts/record.py"
