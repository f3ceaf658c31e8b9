"""An experiment's files are looked at before Snakemake reads them; the rest of the command is Snakemake's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lacuna.__main__ import main
from lacuna.commands.launch import ROOT, check_experiment, experiment_file, snakemake_command, with_configfile, words_of
from lacuna.errors import LacunaError

GOOD = (ROOT / "config/config.yaml").read_text().replace("name: digits", "name: mine")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "records"), [("-n", ".snakemake"), ("-d away -n", "away/.snakemake"), ("--directory=away", "away/.snak")]
)
def test_a_working_directory_that_cannot_be_written_is_one_sentence(folder: Path, words: str, records: str) -> None:
    """Snakemake keeps its records there, and says so with a traceback."""
    (folder / "away").mkdir()
    (folder / ("away" if "away" in words else "") / ".snakemake").touch()
    with pytest.raises(
        LacunaError, match=rf"^{records}\w*: Snakemake cannot keep its records there \(File exists\); all"
    ):
        snakemake_command(words.split())


def test_without_a_path_snakemake_gets_the_usual_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    snakemake_command(["-n"])
    assert os.environ["PATH"] == os.defpath
    monkeypatch.setenv("PATH", "/mine")
    snakemake_command(["-n"])
    assert os.environ["PATH"] == "/mine"


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("tables --configfile a.yaml b.yaml --cores 2 c", ["a.yaml", "b.yaml"]),
        ("--configfile=a.yaml tables", ["a.yaml"]),
        ("--configfiles a.yaml -n", ["a.yaml"]),
        ("--config name=x -n", []),
    ],
)
def test_words_that_snakemake_takes_for_config_files(words: str, files: list[str]) -> None:
    assert words_of(("--configfile", "--configfiles"), words.split()) == files


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (None, "--configfile missing.yaml", r"^missing.yaml: no such file; allowed: an experiment's file, or its name"),
        (GOOD, "--configfile mine.yaml tables", r"--configfile: 'tables' is no file; .* allowed: targets before"),
        (GOOD, "--configfile .", r"^\.: cannot be read \(Is a directory\)"),
        ("name: x\n\tgrid: 1\n", "--configfile mine.yaml", r"^mine.yaml, line 2: not valid YAML \(a tab"),
        (GOOD, "--config name=x grid.seeds=[1]", r"^--config: 'grid.seeds=\[1\]' is not allowed; allowed: key=value"),
        ("- a\n", "--configfile mine.yaml", r"^mine.yaml: holds no mapping"),
        ("__use_yte__: true\n", "--configfile mine.yaml", r"^mine.yaml: key '__use_yte__' is not allowed"),
    ],
)
def test_file_that_snakemake_should_not_read_is_refused(folder: Path, text: str | None, words: str, said: str) -> None:
    if text is not None:
        (folder / "mine.yaml").write_text(text)
    with pytest.raises(LacunaError, match=said):
        snakemake_command(words.split())


def test_what_is_not_given_is_added_before_the_rest(folder: Path) -> None:
    (folder / "mine.yaml").write_text(GOOD)
    added = ["--profile", str(ROOT / "profiles/local"), "--cores", "all", "--snakefile", str(ROOT / "Snakefile")]
    assert snakemake_command(["-n", "--configfile", "mine.yaml"])[3:] == [*added, "-n", "--configfile", "mine.yaml"]
    (folder / "Snakefile").write_text("")
    (folder / "profiles/local").mkdir(parents=True)
    assert snakemake_command(["-n"])[3:] == ["--profile", "profiles/local", "--cores", "all", "-n"]
    given = ["--profile", "p", "-c2", "-s", "other/Snakefile"]
    assert snakemake_command(given)[3:] == given
    assert "--cores" not in snakemake_command(["--jobs=4"])


def test_check_names_file_line_and_key(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.yaml").write_text(GOOD.replace("ga: {batch_size", "ga: {batchsize"))
    line = next(i for i, text in enumerate(GOOD.splitlines(), 1) if "ga: {batch_size" in text)
    with pytest.raises(
        LacunaError, match=rf"^mine.yaml, line {line}: grid.unlearners.ga: unknown key 'batchsize' \(did"
    ):
        check_experiment(["mine.yaml"])
    assert main(["check", "mine.yaml"]) == 2
    assert capsys.readouterr().err.startswith(f"lacuna: mine.yaml, line {line}: ")


def test_check_says_what_a_run_would_say_before_its_first_job(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That a method can change nothing, and that no verdict can be made: known before anything is computed."""
    (folder / "mine.yaml").write_text(GOOD.replace("    retrain_exact: {}\n", "    ssd: {}\n"))
    assert main(["check", "mine.yaml"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("mine: in order, ")
    assert "warning: grid.unlearners.ssd.alpha: 10 is at least n/n_f" in told.err
    assert "note: 1 seed, no second retrain: " in told.err


def test_a_home_that_cannot_be_written_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Snakemake keeps its cache there, and says so with a traceback."""
    (folder / "file").touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(folder / "file"))
    with pytest.raises(
        LacunaError, match=r"file/\.cache/snakemake: Snakemake cannot keep its cache there \(Not a directory\)"
    ):
        snakemake_command(["-n"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    assert "-n" in snakemake_command(["-n"])


@pytest.mark.parametrize("written", ["mime.yaml", "config/experiments/mime.yml"])
def test_a_file_that_is_not_there_gets_the_nearest(folder: Path, written: str) -> None:
    place = (folder / written).with_name("mine.yaml")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(GOOD)
    said = rf"^{written}: no such file \(did you mean '{place.relative_to(folder)}'\?\)"
    with pytest.raises(LacunaError, match=said):
        check_experiment([written])
    with pytest.raises(LacunaError, match=r"^unlike_any_other: no such file; allowed: an experiment's file"):
        check_experiment(["unlike_any_other"])


def test_check_finds_all_that_only_the_plan_found(folder: Path) -> None:
    (folder / "mine.yaml").write_text(GOOD + "snakemake_patches: [stale_run]\n")
    with pytest.raises(LacunaError, match=r"snakemake_patches\[0\]: \"stale_run\" .* \(did you mean 'stale_runs'"):
        check_experiment(["mine.yaml"])


@pytest.fixture
def project(folder: Path) -> Path:
    """A working directory with the experiments `mine` and `tables`."""
    (folder / "config/experiments").mkdir(parents=True)
    for name in ("mine", "tables"):
        (folder / f"config/experiments/{name}.yaml").write_text(GOOD)
    (folder / "config/config.yaml").write_text(GOOD.replace("name: mine", "name: digits"))
    return folder


MINE = "config/experiments/mine.yaml"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (MINE, f"--configfile {MINE}"),
        ("mine", f"--configfile {MINE}"),
        (f"tables {MINE} --cores 2", f"tables --cores 2 --configfile {MINE}"),
        ("-n mine", f"-n --configfile {MINE}"),
        ("digits", "--configfile config/config.yaml"),
        ("tables --configfile mine", f"tables --configfile {MINE}"),
        ("tables", "tables"),
        ("--until mine", "--until mine"),
        ("--config name=mine", "--config name=mine"),
        ("results/tuned.yaml", "results/tuned.yaml"),
        (f"{MINE} --configfile mine.yaml", f"{MINE} --configfile mine.yaml"),
    ],
)
def test_a_word_of_a_run_that_names_an_experiment_is_its_config_file(project: Path, words: str, meant: str) -> None:
    (project / "results").mkdir()
    (project / "results/tuned.yaml").write_text("name: x\n")  # a target that is there
    assert with_configfile(words.split()) == meant.split()


@pytest.mark.parametrize("word", ["mime", "mime.yaml", "config/experiments/mime.yaml"])
def test_every_command_says_the_same_of_an_experiment_that_is_not_there(
    project: Path, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = f"lacuna: {word}: no such file (did you mean '{MINE}'?); allowed: an experiment's file, or its name"
    for words in ("check", "plan", "status", "why grid.seeds --configfile", "check --configfile", "plan --configfile"):
        assert main([*words.split(), word]) == 2
        assert capsys.readouterr().err.startswith(said), words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "mime",
            "mime: no such file, experiment or rule (did you mean 'mine'?); allowed: an experiment's file, or its",
        ),
        ("-n tabels --cores 2", "tabels: no such file, experiment or rule (did you mean 'tables'?); allowed: "),
        ("html_reprot", "html_reprot: no such file, experiment or rule (did you mean 'html_report'?); allowed: "),
        ("--cores 2 zzz", "zzz: no such file, experiment or rule; allowed: an experiment's file"),
        ("mime.yaml", f"mime.yaml: no such file (did you mean '{MINE}'?); allowed: "),
    ],
)
def test_a_word_of_a_run_that_names_nothing_is_one_sentence(project: Path, words: str, said: str) -> None:
    """Snakemake would tell the name of an exception."""
    with pytest.raises(LacunaError) as error:
        snakemake_command(words.split())
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    "words",
    [
        *("all", "tables -n", "--forcerun ga train", "--until mime", "results/tables/mime/cells.csv", "mine -n"),
        *("results/tuning/mime.yaml", "mime --snakefile other.smk", "--config name=mime"),
        *("--configfile mine --set-threads train=2 -n", "existing"),
    ],
)
def test_words_that_snakemake_may_know_pass(project: Path, words: str) -> None:
    (project / "existing").touch()
    assert "snakemake" in snakemake_command(words.split())


@pytest.mark.parametrize("line", ["module lacuna:\n    snakefile: 'x'", "use rule * from lacuna as l_*", "rule all:\n"])
def test_a_workflow_of_another_has_names_of_its_own(project: Path, line: str) -> None:
    (project / "Snakefile").write_text(line)
    assert "mime" in snakemake_command(["mime"])


def test_a_name_is_the_file_of_an_experiment(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert experiment_file("mine") == Path(MINE) == experiment_file(MINE)
    assert main(["check", "mine"]) == 0 == main(["check", "--configfile", MINE])
    first, second = capsys.readouterr().out.splitlines()
    assert first == second and first.startswith("mine: in order, ")
