"""lacuna answer: an experiment's question, the answer that its tables carry, and the main table."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lacuna.commands.base import Command, columns
from lacuna.commands.experiments import EXPERIMENT, tables_folder
from lacuna.registry import register

if TYPE_CHECKING:
    from lacuna.reporting.answer import Answer

# a line of text that is longer is read worse, however wide the terminal
_READABLE = 100


@register("answer", group="results")
class AnswerCommand(Command):
    """Answer an experiment's question from its tables.

    Prints the question, three to five sentences that the tables carry, and the main table: for each method and state
    the gap to each oracle with half its 95 % interval, how it changes with sparsity, and the means.

    Example: lacuna answer digits
    lacuna answer results/tables/digits --method ft --scenario class
    lacuna answer config/experiments/three_seeds.yaml --markdown
    """

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("experiment", metavar="EXPERIMENT", help=EXPERIMENT)
        add_filters(parser)
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--markdown", action="store_true", help="print Markdown")
        form.add_argument("--csv", action="store_true", help="print the main table as CSV, with every column")

    def run(self, options: argparse.Namespace) -> int:
        # pandas, which the help does without
        from lacuna.reporting.answer import answer_of
        from lacuna.reporting.paper import answer_in_markdown
        from lacuna.reporting.tables.files import as_text

        answer = answer_of(tables_folder(options.experiment), filters_of(options))
        if options.csv:
            print(as_text(answer.rows), end="")
        elif options.markdown:
            print(answer_in_markdown(answer), end="")
        else:
            print("\n".join(_in_terminal(answer, columns())))
        return 0


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The options that choose rows of the tables."""
    parser.add_argument("--method", action="append", default=[], metavar="LABEL", help="this method alone; repeatable")
    parser.add_argument(
        "--scenario", action="append", default=[], metavar="LABEL", help="this scenario alone; repeatable"
    )


def filters_of(options: argparse.Namespace) -> dict[str, list[str]]:
    """What `add_filters` was given, as `answer_of` takes it."""
    chosen = {"method": options.method, "scenario": options.scenario}
    return {name: labels for name, labels in chosen.items() if labels}


def _in_terminal(answer: Answer, width: int) -> Iterator[str]:
    from lacuna.reporting.paper import blocks_of, reading_of
    from lacuna.reporting.typeset import plain

    yield from _filled(answer.question, width)
    yield ""
    for sentence in answer.sentences:
        yield from _filled(sentence, width, "* ")
    for block in blocks_of(answer):
        yield from ("", plain(block, width).rstrip())
    yield ""
    for note in (*reading_of(answer), *answer.notes):
        yield from _filled(note, width, "  ")


def _filled(text: str, width: int, start: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        min(width, _READABLE),
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )
