"""The command line: lacuna check, run, verify, compare, subset."""

from __future__ import annotations

import argparse
import codecs
import io
import json
import os
import sys
from pathlib import Path

from lacuna.artifacts.writing import atomic
from lacuna.commands.subset import subset
from lacuna.commands.verify import mend, report, verify
from lacuna.errors import LacunaError


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status: 0 in order, 1 findings, 2 bad input."""
    _speak_to_any_terminal()
    words = sys.argv[1:] if arguments is None else arguments
    # every word behind `run` is Snakemake's, options too
    options = argparse.Namespace(run=_run, arguments=words[1:]) if words[:1] == ["run"] else _parser().parse_args(words)
    try:
        status: int = options.run(options)
        # a reader that went away is noticed here rather than when the interpreter ends
        sys.stdout.flush()
        return status
    except LacunaError as error:
        print(f"lacuna: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # `lacuna verify | head`: whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    """The subcommands and their arguments."""
    parser = argparse.ArgumentParser(prog="lacuna", description="Does a sparse model forget better?")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    plan = commands.add_parser(
        "check",
        help="is an experiment's file in order?",
        description="Checks an experiment as a run would before its first job: the files, every value, the data, what "
        "each network and method can do. Starts no job.",
    )
    plan.add_argument("files", nargs="*", type=Path, metavar="FILE", help="over config/config.yaml, in this order")
    plan.set_defaults(run=_check)
    start = commands.add_parser(
        "run",
        help="run an experiment with Snakemake",
        add_help=False,
        description="Looks at the files behind --configfile and starts Snakemake with these arguments, with "
        "--profile profiles/local and --cores all unless they are given.",
    )
    start.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="of Snakemake, targets first")
    start.set_defaults(run=_run)
    change = commands.add_parser(
        "why",
        help="which jobs would a change of a file make run again?",
        description="Says which jobs of the experiment a change of a file's code would make run again, those that are "
        "made from them included; the same of a key, such as grid.unlearners.ga.lr. Starts no job.",
    )
    change.add_argument("changed", nargs="+", metavar="FILE", help="a file, or a key of the experiment")
    change.add_argument(
        "--configfile", nargs="+", type=Path, default=[], metavar="FILE", help="the experiment, as for a run"
    )
    change.set_defaults(run=_why)
    check = commands.add_parser("verify", help="is a results tree whole?", description=verify.__doc__)
    check.add_argument("results", nargs="?", type=Path, default=Path("results"))
    check.add_argument(
        "--set-aside",
        action="store_true",
        help="rename what is damaged or stale to *.damaged, so that the experiment's command makes it anew",
    )
    check.set_defaults(run=_verify)
    beside = commands.add_parser(
        "compare",
        help="our table beside a published one",
        description="Cell by cell: ours and its interval, the published mean and deviation, their difference, and "
        "whether noise explains it. docs/compare.md explains every column and verdict.",
    )
    beside.add_argument("tables", type=Path, help="results/tables/<name>")
    beside.add_argument("published", type=Path, help="published/<table>.csv")
    beside.add_argument("--csv", type=Path, metavar="FILE", help="write every row and column as CSV too")
    beside.add_argument("--json", type=Path, metavar="FILE", help="write every row and column as JSON too")
    beside.set_defaults(run=_compare)
    small = commands.add_parser("subset", help="a small version of an ingested dataset", description=subset.__doc__)
    small.add_argument("dataset", type=Path, help="results/data/<dataset>")
    small.add_argument("path", type=Path, help="the npz file to write")
    small.add_argument("--train", type=int, default=5000, metavar="N", help="training images (default 5000)")
    small.add_argument("--test", type=int, default=2000, metavar="N", help="test images (default 2000)")
    small.set_defaults(run=_subset)
    return parser


# signs of our reports, as a terminal without them shows them
_PLAIN = {"×": "x", "±": "+-", "−": "-", "–": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">=", "·": "."}


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


def _check(options: argparse.Namespace) -> int:
    from lacuna.commands.launch import check_experiment
    from lacuna.experiment.foresight import limits_of

    experiment = check_experiment(options.files)
    for line in [*(f"warning: {w}" for w in experiment.warnings), *(f"note: {n}" for n in limits_of(experiment))]:
        print(line, file=sys.stderr)
    print(f"{experiment.name}: in order, {sum(1 for _ in experiment.cells())} cells")
    return 0


def _why(options: argparse.Namespace) -> int:
    from lacuna.commands.why import Reruns

    reruns = Reruns(options.configfile)
    for position, changed in enumerate(options.changed):
        print(*([""] if position else []), *reruns.report(changed), sep="\n")
    return 0


def _run(options: argparse.Namespace) -> int:
    from lacuna.commands.launch import snakemake_command

    command = snakemake_command(options.arguments)
    sys.stdout.flush()
    # in this process's place: signals and the exit status are Snakemake's
    os.execv(command[0], command)


def _verify(options: argparse.Namespace) -> int:
    findings = list(verify(options.results))
    for line in report(findings, options.results):
        print(line)
    if options.set_aside:
        for path in mend(findings):
            print(f"set aside: {path}")
    print(f"{options.results}: {f'{len(findings)} findings' if findings else 'in order'}", file=sys.stderr)
    return int(bool(findings))


def _compare(options: argparse.Namespace) -> int:
    # pandas, which verify does without
    from lacuna.reporting.published.compare import as_text, compare

    table = compare(options.tables, options.published)
    if options.csv:
        _write(options.csv, table.to_csv(index=False))
    if options.json:
        rows = json.loads(table.to_json(orient="records", double_precision=15))
        _write(options.json, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    print(as_text(table), end="")
    return 0


def _subset(options: argparse.Namespace) -> int:
    subset(options.dataset, options.path, options.train, options.test)
    return 0


def _write(path: Path, text: str) -> None:
    try:
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LacunaError(f"{path}: cannot be written ({error.strerror}); allowed: a file that can be made") from None


if __name__ == "__main__":
    sys.exit(main())
