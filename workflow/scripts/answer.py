"""The tables of an experiment → what they show in words, and the main tables for a paper."""

from pathlib import Path

from lacuna_workflow.job import job

from lacuna.artifacts.drawings import seal
from lacuna.artifacts.files import place_of
from lacuna.artifacts.writing import atomic
from lacuna.reporting.answer import answer_of
from lacuna.reporting.paper import answer_in_markdown, paper_tables
from lacuna.reporting.typeset import latex

with job(snakemake) as log:
    folder = Path(snakemake.input.summary).parent
    answer = answer_of(folder)
    tables = [latex(table.block, table.caption, table.label) for table in paper_tables(folder)]
    texts = {
        snakemake.output.summary: answer_in_markdown(answer),
        snakemake.output.latex: "\n".join(["% needs \\usepackage{booktabs}", *tables]),
    }
    for path, text in texts.items():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
            seal(temporary, place_of(path), Path(path).suffix.removeprefix("."))
    log("\n".join((answer.question, *answer.sentences)))
    log(f"{len(answer.sentences)} sentences, {len(tables)} tables for a paper")
