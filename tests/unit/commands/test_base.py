"""The command line: how commands are found, their help, and what a wrong word gets."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import re
import shlex
import subprocess
import sys
import types

import pytest

from lacuna import __version__
from lacuna.__main__ import main
from lacuna.commands import COMMANDS
from lacuna.commands.base import GROUPS, help_in, overview, parse, summary
from lacuna.errors import LacunaError
from lacuna.experiment.docstrings import definition
from lacuna.registry import Registry
from tests.places import ROOT


def ended(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(words)
    told = capsys.readouterr()
    return status, told.out, told.err


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_command_the_help_lists_each_in_its_group(words, capsys):
    status, out, err = ended(words, capsys)
    assert (status, out, err) == (0, overview(), "")
    for name in COMMANDS:
        group, line = summary(name)
        listed = " ".join(out.partition(f"{GROUPS[group]}:\n")[2].partition("\n\n")[0].split())
        assert f" {name} {line}" in f" {listed}"
        assert line == help_in(COMMANDS[name].__doc__).line
    assert "Exit status: 0 in order, 1 something was found or failed, 2" in out


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_terminal_and_is_for_users(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = ended(["help", name] if name else [], capsys)
    assert (status, err) == (0, "")
    assert all(len(line) <= 80 for line in out.splitlines())
    for word in ("Raises", "LacunaError", "None", "Returns", "`Mask", "argparse"):
        assert word not in out
    if name:
        assert out == ended([name, "--help"], capsys)[1]
        assert out.startswith(f"usage: lacuna {name}") and "example" in out


@pytest.mark.parametrize("words", [["run", "--help"], ["explain", "ft"], ["list", "pruners"]])
@pytest.mark.parametrize("given", ["1", "2", "12"])
def test_a_terminal_without_room_for_a_word_gets_text(words, given, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", given)
    with contextlib.suppress(SystemExit):
        assert main(words) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) > 20


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_a_command_that_parses(name):
    examples = help_in(COMMANDS[name].__doc__).examples
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[:2] == ["lacuna", name]
        parse(COMMANDS[name](), words[2:])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_is_explained(name):
    command, parser = COMMANDS[name](), argparse.ArgumentParser()
    command.arguments(parser)
    assert all(action.help for action in parser._actions)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verfy"], "unknown command 'verfy' (did you mean 'verify'?); allowed: "),
        (["tune", "x.yaml"], "unknown command 'tune'; allowed: lacuna run tune, since a run makes it"),
        (["--versoin"], "unknown option '--versoin' (did you mean '--version'?); allowed: --help, --version, or a"),
        (["verify", "--setaside"], "verify: unknown option '--setaside' (did you mean '--set-aside'?); allowed: "),
        (["verify", "--set"], "verify: unknown option '--set'"),  # no abbreviations: a later option could change them
        (["verify", "a", "b"], "verify: unexpected word 'b'; allowed: see lacuna verify --help"),
        (["compare", "a"], "compare: the following arguments are required: PUBLISHED; see: lacuna compare --help"),
        (["subset", "a", "b", "--train", "x"], "subset: argument --train: invalid int value: 'x'; see: lacuna subset"),
        (["help", "verfy"], "unknown command 'verfy' (did you mean 'verify'?)"),
    ],
)
def test_a_wrong_word_is_one_sentence_with_the_nearest(words, said, capsys):
    status, out, err = ended(words, capsys)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"lacuna: {said}")


def test_the_version(capsys):
    assert ended(["--version"], capsys) == (0, f"lacuna {__version__}\n", "")


def test_words_of_a_verbatim_command_are_passed_as_they_are():
    words = ["tables", "--configfile", "x.yaml", "--help-resources"]
    assert parse(COMMANDS["run"](), words).words == words


def test_an_interrupted_command_ends_in_a_line(capsys, monkeypatch):
    def interrupted(self, options):
        raise KeyboardInterrupt

    monkeypatch.setattr(COMMANDS["verify"], "run", interrupted)
    assert ended(["verify"], capsys) == (130, "", "lacuna: interrupted\n")


def test_a_file_that_cannot_be_used_is_one_sentence(capsys, monkeypatch):
    def refused(self, options):
        raise PermissionError(13, "Permission denied", "results/data")

    monkeypatch.setattr(COMMANDS["verify"], "run", refused)
    assert ended(["verify"], capsys) == (2, "", "lacuna: results/data: Permission denied\n")

    def broken(self, options):
        raise OSError("a fault of ours")

    monkeypatch.setattr(COMMANDS["verify"], "run", broken)
    with pytest.raises(OSError, match="a fault of ours"):
        main(["verify"])


def test_a_reader_that_goes_away_ends_it_quietly():
    with subprocess.Popen([sys.executable, "-m", "lacuna"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        ("<&- >&-", 0, ""),
        ("2>&-", 0, ""),
        (">/dev/full", 2, "lacuna: standard output: No space left on device\n"),
    ],
)
def test_output_that_is_closed_or_full_is_no_traceback(redirection, status, said):
    command = f'"$0" -m lacuna --version {redirection}'
    done = subprocess.run(["bash", "-c", command, sys.executable], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, said)


def test_program_that_a_command_becomes_has_streams_too():
    code = "import os, sys; from lacuna.__main__ import main; main(['--version']); "
    code += "os.execv(sys.executable, [sys.executable, '-c', 'import sys; sys.exit(sys.stdout is None)'])"
    done = subprocess.run(["bash", "-c", '"$0" -c "$1" >&-', sys.executable, code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_no_help_loads_a_library_and_the_overview_no_command():
    """Nor does finding a command import another."""
    code = (
        "import sys; from lacuna.__main__ import main; main([])\n"
        "slow = {'torch', 'numpy', 'pandas', 'sklearn', 'scipy', 'matplotlib'}\n"
        "print(*sorted(slow & set(sys.modules)), *(m for m in sys.modules if m[:16] == 'lacuna.commands.'), sep='|')\n"
        "from lacuna.commands import COMMANDS\n"
        "for name in COMMANDS: main([name, '--help'])\n"
        "print('loaded', 'torch' in sys.modules, 'sklearn' in sys.modules, 'matplotlib' in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "\nlacuna.commands.base\n" in out
    assert out.endswith("loaded False False False\n")


def test_an_unknown_kind_names_the_nearest():
    from lacuna.commands.base import one_of

    assert one_of(["a", "b"], "kind")("a") == "a"
    with pytest.raises(LacunaError, match=r"^unknown kind 'metods' \(did you mean 'methods'\?\); allowed: methods, x$"):
        one_of(["methods", "x"], "kind")("metods")


def test_the_command_that_the_page_shows_is_one(capsys, monkeypatch, tmp_path):
    """docs/commands.md: the whole file, as it stands there."""
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n# src/lacuna/commands/(?:seeds).py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "shown_seeds.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    shown = Registry("shown", "command", str(tmp_path))
    assert list(shown) == ["seeds"] and definition(shown, "seeds")[1]["group"] in GROUPS
    command = importlib.import_module("shown_seeds").Seeds()
    seeds = types.SimpleNamespace(seeds=(0, 1, 2))
    monkeypatch.setattr("lacuna.commands.launch.check_experiment", lambda files: seeds)
    assert command.run(parse(command, ["config/experiments/three_seeds.yaml"])) == 0
    assert capsys.readouterr().out == "0 1 2\n"
