# Every file of an experiment, so that the default target makes again what was deleted or set aside; `snakemake tables`
# leaves it at that.


def files_to_make_again(wildcards):
    """An input: what is not there and no later file is waiting for; a batch has its share of the cells alone."""
    if not workflow.is_main_process or workflow.dag_settings.batch is not None:
        return []
    return TARGETS.files_to_make_again(lambda rule: getattr(rules, rule).output)
