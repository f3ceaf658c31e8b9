# Every file of an experiment, so that the default target makes again what was deleted or set aside; `snakemake tables`
# leaves it at that.


def files_to_make_again(wildcards):
    """An input: what is not there and no later file is waiting for; a batch of Snakemake's has its share alone."""
    of_tables = STUDY.batch is not None and STUDY.batch.of_tables
    if of_tables or not workflow.is_main_process or workflow.dag_settings.batch is not None:
        return []
    return TARGETS.files_to_make_again(lambda rule: getattr(rules, rule).output)
