# lacuna: does a sparse model forget better?  Targets and includes; nothing else.
from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/start.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/difficulty.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/prune.smk"
include: "workflow/rules/unlearn.smk"
include: "workflow/rules/unprune.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/shadows.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/answer.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/complete.smk"
include: "workflow/rules/closing.smk"


rule all:
    default_target: True
    input:
        TARGETS.asked_for(TARGETS.table_files, TARGETS.answer_files, TARGETS.figure_files, TARGETS.report_files),
        files_to_make_again,
    localrule: True


rule tables:
    input:
        TARGETS.asked_for(TARGETS.table_files, TARGETS.answer_files),
    localrule: True


rule report:
    input:
        TARGETS.asked_for(TARGETS.report_files),
    localrule: True
