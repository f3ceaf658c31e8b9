"""What is changed in Snakemake: under a guard, by a switch, and with nothing lost."""

from __future__ import annotations

import ast
import contextlib
import os
import platform
import re
import sys
import threading
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

from lacuna_workflow import internals, memory, scheduler, stale_runs
from lacuna_workflow.internals import VERSIONS, Patch, apply, chosen, require
from lacuna_workflow.start import PATCHES, patches_of, start

import pytest
import yaml
from places import ROOT
from snakemake.exceptions import LockException

from lacuna.errors import LacunaError


class Owner:
    """A class of Snakemake's."""

    def old(self):
        return "old"


@pytest.fixture
def patch(monkeypatch):
    """A change to that class."""
    monkeypatch.setattr(internals, "_MADE", set())
    monkeypatch.setattr(Owner, "old", Owner.old)
    return Patch("it", ((Owner, "old"),), lambda: setattr(Owner, "old", lambda self: "new"))


# ---- the guard and the switch ---------------------------------------------------------------------------------------


def test_a_patch_is_made_once(patch):
    assert apply([patch], "9.27.1") == ["it"] and Owner().old() == "new"
    assert apply([patch], "9.27.1") == []


@pytest.mark.parametrize("version", ["9.26.9", "10.0.0"])
def test_a_version_that_it_was_not_tried_with_is_left_as_it_is(patch, version, capsys):
    assert apply([patch], version) == [] and Owner().old() == "old"
    assert capsys.readouterr().err == (
        f"lacuna: Snakemake {version} is left as it is (it: it was tried with >=9.27,<10)\n"
    )


def test_a_snakemake_without_what_it_changes_is_left_as_it_is(patch, capsys):
    gone = Patch("gone", ((Owner, "older"),), patch.make)
    assert apply([gone], "9.27.1") == [] and Owner().old() == "old"
    assert "(gone: there is no Owner.older)" in capsys.readouterr().err


def test_a_snakemake_whose_modules_moved_is_left_as_it_is(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "lacuna_workflow.memory", None)
    assert [patch.name for patch in patches_of(True)] == [
        "stale_runs",
        "scheduler",
        "python_path",
        "warm_jobs",
        "gpu_workers",
    ]
    said = capsys.readouterr().err
    assert said.startswith("lacuna: Snakemake ") and " is left as it is (records: " in said and said.count("\n") == 1
    assert [patch.name for patch in patches_of(True, ["records", "scheduler"])] == ["scheduler"]


def test_the_installed_snakemake_has_all_that_is_changed():
    assert [(patch.name, patch.lacks(internals.snakemake.__version__)) for patch in patches_of(True)] == [
        ("stale_runs", ""),
        ("scheduler", ""),
        ("records", ""),
        ("python_path", ""),
        ("warm_jobs", ""),
        ("gpu_workers", ""),
    ]
    assert [patch.name for patch in patches_of(False)] == ["python_path"]


def test_the_switch_is_a_list_of_names():
    names = ["a", "b"]
    assert chosen({}, names) == names
    assert chosen({"snakemake_patches": ["b"]}, names) == ["b"]
    assert chosen({"snakemake_patches": []}, names) == []
    assert chosen({"snakemake_patches": "a"}, names) == ["a"]
    for value in (["c"], "c", 3, ["a", "c"]):
        with pytest.raises(LacunaError, match=r"snakemake_patches: .* is not allowed; allowed: a list of a, b"):
            chosen({"snakemake_patches": value}, names)


def test_a_wrong_name_is_found_without_a_plan():
    """`lacuna check` and editors know the names from the schema."""
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    assert schema["properties"]["snakemake_patches"]["items"] == {"enum": list(PATCHES)}


def test_both_profiles_name_the_patches():
    """Each in the line that switches one off when it is taken out."""
    listed = ",".join(patch.name for patch in patches_of(True))
    for name in ("local", "slurm"):
        text = (ROOT / f"profiles/{name}/config.yaml").read_text()
        switch = f"snakemake_patches=[{listed}]"
        assert switch in text, name
        on = re.sub(r"^(\s*)# ?(config:|\s*- snakemake_patches)", r"\1\2", text, flags=re.MULTILINE)
        assert switch in yaml.safe_load(on)["config"], name


def test_one_bound_for_snakemake_everywhere():
    lowest, beyond = re.findall(r"[\d.]+", VERSIONS)
    assert f'min_version("{lowest}")' in (ROOT / "Snakefile").read_text()
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"snakemake>={lowest},<{beyond}" in dependencies
    (pinned,) = re.findall(r"^snakemake==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.M)
    require(pinned)
    with pytest.raises(LacunaError, match=r"snakemake: 10.0.1 is installed; allowed: >=9.27,<10"):
        require("10.0.1")


def test_a_wrong_switch_ends_the_reading_with_a_sentence(monkeypatch, tmp_path):
    workflow = SimpleNamespace(
        config_settings=SimpleNamespace(overwrite_config={"snakemake_patches": ["clocks"]}),
        modifier=SimpleNamespace(is_main_snakefile=lambda: True),
        is_main_process=True,
    )
    with pytest.raises(SystemExit, match=r"^lacuna: snakemake_patches: 'clocks' is not allowed; allowed: a list of"):
        start(workflow, {})
    # the default file says how to run as well as any other
    workflow.config_settings.overwrite_config = {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.yaml").write_text("snakemake_patches: [watches]\n")
    with pytest.raises(SystemExit, match=r"^lacuna: snakemake_patches: 'watches' is not allowed; allowed: a list of"):
        start(workflow, {})
    (tmp_path / "a{b}").mkdir()
    monkeypatch.chdir(tmp_path / "a{b}")
    with pytest.raises(SystemExit, match=r"a\{b\}: Snakemake takes braces for wildcards; allowed: a path without"):
        start(workflow, {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules[start.__module__], "ROOT", Path("/opt/{clone}"))
    with pytest.raises(SystemExit, match=r"^lacuna: /opt/\{clone\}: Snakemake takes braces for wildcards"):
        start(workflow, {})


# ---- the scheduler --------------------------------------------------------------------------------------------------


def test_every_look_is_followed_by_the_next():
    """None is lost: a run whose submissions are limited would wait for ever."""
    running = SimpleNamespace(_open_jobs=threading.Semaphore(0))
    for _ in range(3):
        scheduler.look_again(running, 0.01)
        assert running._open_jobs.acquire(timeout=60), "no look came"


def test_many_calls_are_one_look_and_the_end_of_a_run_does_not_wait_for_it():
    before = set(threading.enumerate())
    running = SimpleNamespace(_open_jobs=threading.Semaphore(0))
    for _ in range(50):
        scheduler.look_again(running, 3600)
    timers = set(threading.enumerate()) - before
    for timer in timers:
        timer.cancel()
    assert [timer.daemon for timer in timers] == [True]


# ---- what another run left ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Snakemake's folder with the lock of a run that was killed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.input.lock").write_text("results/a\n")
    return tmp_path


def test_a_killed_run_s_lock_is_taken_away(folder, capsys):
    alive, alone = stale_runs.take_away_stale_locks(folder)
    assert alone and not list((folder / "locks").iterdir())
    assert capsys.readouterr().err == "lacuna: the last run here was killed; its lock is taken away\n"
    alive.close()


def test_the_lock_of_a_run_that_lives_stays(folder):
    first, alone = stale_runs.take_away_stale_locks(folder)
    (folder / "locks/0.input.lock").write_text("results/a\n")
    second, beside = stale_runs.take_away_stale_locks(folder)
    assert (alone, beside) == (True, False)
    assert list((folder / "locks").iterdir())
    first.close()
    second.close()


@pytest.mark.parametrize("here", [True, False])
def test_a_run_that_is_on_here_is_told_of_without_the_advice_to_unlock(folder, monkeypatch, here):
    """What is told of a lock that another machine's run may hold is Snakemake's to say."""
    first, _ = stale_runs.take_away_stale_locks(folder)
    (folder / "locks/0.input.lock").write_text("results/a\n")
    (folder / "lacuna/alive").write_text(platform.node() if here else "another machine")

    def refused(persistence):
        raise LockException

    monkeypatch.setattr(stale_runs, "_lock", refused)
    monkeypatch.setattr(stale_runs, "FilePersistence", SimpleNamespace)
    monkeypatch.setattr(stale_runs, "_HELD", [])
    persistence = SimpleNamespace(path=folder, dag=None)
    with pytest.raises(SystemExit if here else LockException) as caught, stale_runs.lock(persistence):
        pass
    assert not here or f"lacuna: {folder} cannot be locked: a run that makes some of the same" in str(caught.value)
    assert list((folder / "locks").iterdir())
    for file in (first, *stale_runs._HELD):
        file.close()


def test_looking_whether_a_run_was_killed_changes_nothing(folder):
    alive, _ = stale_runs.take_away_stale_locks(folder)
    assert not stale_runs.was_killed(folder), "it lives"
    alive.close()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert stale_runs.was_killed(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    (folder / "lacuna/alive").write_text("another machine")
    assert not stale_runs.was_killed(folder)


def test_the_lock_of_another_machine_stays(folder):
    """Where the file system passes no locks on, its run may live."""
    (folder / "lacuna").mkdir()
    (folder / "lacuna/alive").write_text("another machine")
    alive, alone = stale_runs.take_away_stale_locks(folder)
    assert not alone and list((folder / "locks").iterdir())
    alive.close()


def test_a_folder_that_cannot_be_written_is_left(folder):
    (folder / "lacuna").write_text("a file")
    assert stale_runs.take_away_stale_locks(folder) == (None, False)


def test_only_what_the_plan_reads_is_dated_back(tmp_path, monkeypatch, capsys):
    """Not what lies beside it, not an importing workflow's own files, and nothing that is not of the future."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stale_runs, "_RESULTS", {"results"})
    ahead = time.time() + 3600
    for name in ("results/read", "results/beside", "mine", "results/old"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (ahead, ahead) if name != "results/old" else (1000, 1000))
    jobs = [SimpleNamespace(input=["results/read", "mine", "results/old", "results/not made yet"])]
    stale_runs.date_back(stale_runs.read_by(jobs))
    assert (tmp_path / "results/read").stat().st_mtime <= time.time()
    assert {name: (tmp_path / name).stat().st_mtime for name in ("results/beside", "mine", "results/old")} == {
        "results/beside": pytest.approx(ahead),
        "mine": pytest.approx(ahead),
        "results/old": 1000,
    }
    assert capsys.readouterr().err == "lacuna: files from the future in results, now dated back: 1\n"


def test_an_importing_workflow_s_own_jobs_hold_no_results(tmp_path, monkeypatch):
    """Two clones may share results while one of them makes files of its own alone."""
    held = []
    monkeypatch.setattr(stale_runs, "_RESULTS", {"results"})
    monkeypatch.setattr(stale_runs, "_lock", lambda persistence: contextlib.nullcontext())
    monkeypatch.setattr(stale_runs, "hold_results", held.append)
    for snakefile, expected in ((tmp_path / "Snakefile", []), (ROOT / "workflow/rules/train.smk", ["results"])):
        dag = SimpleNamespace(needrun_jobs=lambda snakefile=snakefile: [job_of(snakefile, "made.csv")])
        with stale_runs.lock(SimpleNamespace(dag=dag)):
            assert held == expected


# ---- what Snakemake does not remember -------------------------------------------------------------------------------


def job_of(snakefile, *output):
    rule = SimpleNamespace(snakefile=str(snakefile))
    return SimpleNamespace(rule=rule, output=output, input=[], params=SimpleNamespace(items=lambda: []))


def test_files_of_this_workflow_s_rules_are_looked_at_and_no_importer_s(tmp_path, monkeypatch, capsys):
    """Wherever a link leads to the rules; an importer's file has no record and need not have one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    monkeypatch.setattr(memory, "_params_changed", lambda *_: "Snakemake's answer")
    monkeypatch.setattr(memory, "_has_metadata", lambda *_: False)
    monkeypatch.setattr(memory, "remembers", lambda *_: False)
    persistence = SimpleNamespace()
    (tmp_path / "made.csv").touch()
    mine = job_of(tmp_path / "Snakefile", "made.csv")
    assert memory.has_metadata(persistence, mine) is False
    monkeypatch.setattr(memory, "_params_changed", lambda *_: False)
    assert memory.params_changed(persistence, mine) is False
    ours = job_of(tmp_path / "workflow/rules/train.smk", "made.csv")
    assert memory.has_metadata(persistence, ours) is True
    changed = memory.params_changed(persistence, ours)
    assert changed.files == {"made.csv"} and "not known what it was made from" in str(changed)
    assert memory.params_changed(persistence, job_of(tmp_path / "workflow/rules/train.smk")) is False, "a target"
    monkeypatch.setattr(memory, "remembers", lambda *_: True)
    assert memory.params_changed(persistence, ours) is False


def test_a_damaged_record_is_none_and_is_named_once(monkeypatch, capsys):
    def damaged(persistence, key):
        raise ValueError("half")

    monkeypatch.setattr(memory, "_read_record", damaged)
    persistence = SimpleNamespace(_record_path=lambda folder, key: f"{folder}/{key}", _metadata_path="metadata")
    assert [memory.read_record(persistence, "a") for _ in range(2)] == [None, None]
    assert capsys.readouterr().err == "lacuna: metadata/a: damaged (ValueError), taken for missing\n"


# ---- names ----------------------------------------------------------------------------------------------------------


def test_no_name_of_the_rules_hides_one_that_snakemake_works_with():
    """Rules are executed among the names of snakemake.workflow: a class `Resources` of ours would take its place."""
    source = Path(internals.snakemake.__file__).with_name("workflow.py").read_text()
    its = set()
    for node in ast.parse(source).body:
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                its |= {alias.asname or alias.name for alias in names}
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                its.add(name)
    assert {"Rules", "Resources"} <= its
    ours = set()
    for path in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]:
        text = path.read_text()
        for names in re.findall(r"^from lacuna\S* import (.+)$", text, re.MULTILINE):
            ours |= {name.rpartition(" as ")[2].strip() for name in names.split(",")}
        for names in re.findall(r"^([A-Za-z_, ]+) = ", text, re.MULTILINE):
            ours |= set(names.replace(" ", "").split(","))
        ours |= set(re.findall(r"^def (\w+)", text, re.MULTILINE))
    assert {"JobResources", "PATHS", "at", "benchmark_of"} <= ours
    assert not ours & its


def test_a_batch_hears_that_another_run_works_on_its_files(monkeypatch):
    """And not that a job of its own ended with the same error."""
    heard = []
    monkeypatch.setattr(stale_runs, "_RESULTS", set())
    monkeypatch.setattr(stale_runs, "_WHEN_LOCKED", [])
    stale_runs.results_in("results", lambda: heard.append("locked"))
    with pytest.raises(LockException), stale_runs.lock(SimpleNamespace(locked=True, dag=None)):
        pass
    assert heard == ["locked"]
    free = SimpleNamespace(locked=False, dag=None, all_inputfiles=tuple, all_outputfiles=tuple)
    free._write_locks, free.unlock = lambda *_: None, lambda: heard.append("unlocked")
    with pytest.raises(LockException), stale_runs.lock(free):
        raise LockException
    assert heard == ["locked", "unlocked"]
