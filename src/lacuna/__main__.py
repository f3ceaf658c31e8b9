"""The command line: `lacuna COMMAND`, one file of `lacuna.commands` for each."""

from __future__ import annotations

import codecs
import io
import os
import sys

from lacuna import __version__
from lacuna.commands import COMMANDS
from lacuna.commands.base import did_you_mean, overview, parse
from lacuna.errors import LacunaError

# as shells number the ends of commands by SIGINT and SIGPIPE
INTERRUPTED, CLOSED_PIPE = 130, 141


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 in order, 1 findings, 2 bad input."""
    _open_closed_streams()
    _speak_to_any_terminal()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        status = _run(words)
        # a reader that went away is noticed here rather than when the interpreter ends
        sys.stdout.flush()
        return status
    except LacunaError as error:
        print(f"lacuna: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `lacuna verify | head`: whoever reads has enough
        _let_go_of_stdout()
        return CLOSED_PIPE
    except OSError as error:  # a folder that may not be read, a full disk
        if error.filename is None:
            if not _stdout_refuses():
                raise
            print(f"lacuna: standard output: {error.strerror}", file=sys.stderr)
            _let_go_of_stdout()
            return 2
        print(f"lacuna: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lacuna: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(words: list[str]) -> int:
    match words:
        case [] | ["-h" | "--help"] | ["help"]:
            print(overview(), end="")
            return 0
        case ["--version" | "-V", *_]:
            print(f"lacuna {__version__}")
            return 0
        case ["help", word, *_]:
            words = [word, "--help"]
    if words[0] not in COMMANDS:
        raise did_you_mean(words[0])
    command = COMMANDS[words[0]]()
    try:
        return command.run(parse(command, words[1:]))
    except SystemExit as end:  # `--help`, as argparse ends it
        return int(end.code or 0)


def _open_closed_streams() -> None:
    """Let streams that were closed at the start lead nowhere, for the program that this process becomes too."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(null, True)
            setattr(sys, name, os.fdopen(null, "w" if number else "r"))


def _stdout_refuses() -> bool:
    """Whether standard output can take no further line, so that an error without a file's name is its own."""
    try:
        print(flush=True)
    except OSError:
        return True
    return False


def _let_go_of_stdout() -> None:
    """Let what was printed go nowhere, or the interpreter would complain when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# signs of our reports, as a terminal without them shows them
_PLAIN = {"×": "x", "±": "+-", "−": "-", "–": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "·": "."}
_PLAIN |= {"Δ": "d", "†": "*", "↑": "^", "↓": "v"}


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in text), error.end


def _speak_to_any_terminal() -> None:
    """Let what a terminal cannot show be replaced, not be an error."""
    codecs.register_error("lacuna", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="lacuna")


if __name__ == "__main__":
    sys.exit(main())
