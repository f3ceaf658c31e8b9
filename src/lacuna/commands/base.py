"""Commands: their form, their help, and the words that they are given.

A command is one file of this folder with one class:

    @register("verify", group="results")
    class Verify(Command):
        \"\"\"Check every file of a results tree.

        What it does, for its users, in paragraphs.

        Example: lacuna verify results
        \"\"\"

        def arguments(self, parser): parser.add_argument(...)

        def run(self, options): ...

Its file imports no torch, and what is slow to import only where it is used: `lacuna verify --help` answers at once.
"""

from __future__ import annotations

import argparse
import inspect
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from lacuna.commands import COMMANDS
from lacuna.errors import LacunaError, meant, unknown
from lacuna.experiment.docstrings import definition

# in the order of the help: what a command's `group` is called there
GROUPS = {
    "run": "Run an experiment",
    "results": "Read and check results",
    "catalogue": "See what can be used",
    "keep": "Extend and tidy up",
}
STATUS = "Exit status: 0 in order, 1 something was found or failed, 2 the command or its input is wrong."
_EXAMPLE = "Example:"
# a terminal of ordinary width, and the last column free
_WIDTH, _NARROWEST = 79, 40


class Command:
    """A command; its docstring is its help.

    name: given by `register`. verbatim: every word behind the command, options too, goes to `run` as `options.words`.
    """

    name: ClassVar[str]
    verbatim: ClassVar[bool] = False

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments and options; none unless overridden."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; returns the exit status: 0 in order, 1 something was found.

        Raises LacunaError for bad input, which ends the command with status 2.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Help:
    """A command's help: one line, the paragraphs below it, and its examples."""

    line: str
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]


def help_in(docstring: str) -> Help:
    """The parts of a command's docstring."""
    first, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    text, _, examples = rest.partition(_EXAMPLE)
    paragraphs = tuple(" ".join(part.split()) for part in text.split("\n\n") if part.strip())
    return Help(
        " ".join(first.split()).rstrip("."), paragraphs, tuple(filter(None, map(str.strip, examples.splitlines())))
    )


def summary(name: str) -> tuple[str, str]:
    """A command's group and one-line help, by reading its file."""
    docstring, about = definition(COMMANDS, name)
    if about.get("group") not in GROUPS:
        raise LacunaError(
            f"{COMMANDS.module(name)}: '{name}' is registered without group=; allowed: {', '.join(GROUPS)}"
        )
    return about["group"], help_in(docstring).line


def overview() -> str:
    """What `lacuna` alone prints: the commands by purpose."""
    told = {name: summary(name) for name in COMMANDS}
    indent = max(map(len, told)) + 4
    lines = ["usage: lacuna COMMAND ...", "", "Does a sparse model forget better?"]
    for group, title in GROUPS.items():
        names = [name for name, (its, _) in told.items() if its == group]
        lines += ["", f"{title}:", *(hanging(f"  {name}", told[name][1], indent) for name in names)] if names else []
    lines += ["", "lacuna COMMAND --help   its arguments, with an example"]
    lines += ["lacuna --version        the version"]
    lines += ["", *_filled(STATUS)]
    return "\n".join(lines) + "\n"


def parse(command: Command, words: Sequence[str]) -> argparse.Namespace:
    """The words behind a command as its options.

    Raises LacunaError for words that it does not take, with the option that was probably meant.
    """
    parser = _Parser(command)
    if command.verbatim:
        if words in (["-h"], ["--help"]):
            parser.print_help()
            parser.exit()
        return argparse.Namespace(words=list(words))
    options, rest = parser.parse_known_args(words)
    known = [option for action in parser._actions for option in action.option_strings]
    for word in rest:
        option = word.partition("=")[0]
        if option.startswith("-"):
            raise LacunaError(f"{command.name}: unknown option '{option}'{unknown(option, known)}")
        raise LacunaError(f"{command.name}: unexpected word '{word}'; allowed: see lacuna {command.name} --help")
    return options


def one_of(allowed: Mapping[str, Any] | Iterable[str], kind: str) -> Callable[[str], str]:
    """The `type` of an argument that takes one of some words; LacunaError for another, with the nearest."""
    names = list(allowed)

    def checked(word: str) -> str:
        if word not in names:
            raise LacunaError(f"unknown {kind} '{word}'{unknown(word, names)}")
        return word

    return checked


class _Parser(argparse.ArgumentParser):
    def __init__(self, command: Command):
        its = help_in(command.__doc__ or "")
        super().__init__(
            prog=f"lacuna {command.name}",
            usage=f"lacuna {command.name} ARGUMENT ..." if command.verbatim else None,
            description="\n\n".join("\n".join(_filled(part)) for part in (f"{its.line}.", *its.paragraphs)),
            epilog="\n".join(
                ["example:" if len(its.examples) == 1 else "examples:", *(f"  {e}" for e in its.examples)]
            ),
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
                prog, max_help_position=28, width=width()
            ),
            # `--set` for `--set-aside` would mean another option once there are two
            allow_abbrev=False,
        )
        self._command = command
        command.arguments(self)

    def error(self, message: str) -> NoReturn:
        raise LacunaError(f"{self._command.name}: {message}; see: lacuna {self._command.name} --help")


def columns() -> int:
    """Columns of the terminal; at least 40, since no text fits into less and a terminal breaks longer lines itself."""
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def width() -> int:
    """Columns for text: those of the terminal, at most 79."""
    return min(_WIDTH, columns() - 1)


def _filled(text: str) -> list[str]:
    return textwrap.wrap(text, width(), break_long_words=False, break_on_hyphens=False)


def hanging(name: str, text: str, indent: int, further: int = 0) -> str:
    """A name, and text next to it that stays in its column."""
    lines = textwrap.wrap(
        text, width() - indent, subsequent_indent=" " * further, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join([name.ljust(indent) + lines[0], *(" " * indent + line for line in lines[1:])])


def did_you_mean(word: str) -> LacunaError:
    """The error for a command that does not exist."""
    if word.startswith("-"):
        options = ["--help", "--version"]
        return LacunaError(
            f"unknown option '{word}'{meant(word, options)}; allowed: {', '.join(options)}, or a command"
        )
    from lacuna.commands.launch import TARGETS

    if word in TARGETS:
        return LacunaError(f"unknown command '{word}'; allowed: lacuna run {word}, since a run makes it")
    return LacunaError(f"unknown command '{word}'{unknown(word, COMMANDS)}")
