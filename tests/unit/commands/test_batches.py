"""The run of all batches: what it starts, what it makes of each end, and what it says; Snakemake is a stand-in."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lacuna.artifacts.processes import exclusive
from lacuna.commands import batches as batches_module
from lacuna.commands.batches import JOBS, Batch, Batches, Request, asked, batch_size, digest_of
from lacuna.commands.launch import VIEW
from lacuna.errors import LacunaError

# Stands in Snakemake's place: does for its batch what `acts` says, by number; notes what it was given.
FAKE = """
import json, os, signal, subprocess, sys, time
from lacuna.commands.batches import asked
batch = asked(True)[1]
batch.check({"seeds": [0, 1]})
assert not os.get_inheritable(batch.channel) and "LACUNA_BATCH" not in os.environ
given = [batch.number, batch.of, batch.first, batch.last, sys.argv[1:]]
with open("given.jsonl", "a") as file:
    file.write(json.dumps(given) + "\\n")
act = json.load(open("acts.json")).get(str(batch.number), {})
if not act.get("only_plans"):
    batch.begin()
if act.get("locked", 0) > [*map(json.loads, open("given.jsonl"))].count([*given]) - 1:
    batch.locked()
    sys.exit(1)
for report in act.get("reports", []):
    batch.report(report)
if "signal" in act and not act.get("of_run"):
    os.kill(os.getpid(), act["signal"])
elif act.get("only_plans"):
    os.kill(batch.run, act["signal"])
    time.sleep(60)
elif "signal" in act:
    job = subprocess.Popen(["sleep", "60"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        time.sleep(2)  # for the run to hear that the batch has begun, also on a busy machine
        os.kill(batch.run, act["signal"])
        time.sleep(act.get("sleep", 60))
    finally:
        try:
            told = job.wait(3)
        except subprocess.TimeoutExpired:
            told = "not told"
            job.kill()
        open("job.txt", "w").write(str(told))
sys.exit(act.get("status", 0))
"""


# a hang must end; no test looks at how long anything took
PATIENCE = 300
DIGEST = digest_of({"seeds": [0, 1]})


def ended(done: int, **facts: object) -> dict[str, object]:
    return {"how": "done", "done": done, "left": 0, "failed": [], "keep_going": True, "made": ""} | facts


EMPTY = {"jobs": [], "planned": [], "left": [0.0, 0.0, 1, {}], "later": []}
FAILED = ended(2, how="failed", left=3, failed=[["ga: class, dense", "results/logs/ga.log"]])


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a run of ten cells in batches of four, whose batches end as told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VIEW, "lines")
    (tmp_path / "fake.py").write_text(FAKE)

    def make(acts: dict[int, object], dry: bool = False, refuses: bool = True, words: tuple[str, ...] = ()) -> Batches:
        (tmp_path / "acts.json").write_text(json.dumps(acts))
        command = [sys.executable, "fake.py", *words]
        return Batches(command, str(tmp_path), "mine", "results", 10, 4, dry, refuses, DIGEST)

    return make


def given() -> list[list[object]]:
    return [json.loads(line) for line in Path("given.jsonl").read_text().splitlines()]


def test_every_cell_is_in_one_batch_and_the_last_takes_files_as_they_are(batches, capfd):
    last = ended(3, made="tables: results/tables/mine/")
    assert batches({1: {"reports": [ended(5)]}, 4: {"reports": [last]}}, words=("-n", "--", "tables")).run() == 0
    assert [each[:4] for each in given()] == [[1, 4, 0, 4], [2, 4, 4, 8], [3, 4, 8, 10], [4, 4, 10, 10]]
    words = given()[-1][4]
    assert given()[0][4] == ["-n", "--", "tables"]
    assert words[:2] == ["-n", "--allowed-rules"] and words[-2:] == ["--", "tables"]
    assert {"all", "aggregate", "html_report"} <= set(words) and not {"evaluate", "unlearn"} & set(words)
    said = capfd.readouterr().err
    assert "mine: 10 cells in 3 batches, then their tables" in said and "batch 2 of 4: nothing to do" in said
    assert "8 jobs done in " in said and said.endswith("tables: results/tables/mine/\n")


def test_where_a_job_failed_later_batches_run_and_tables_do_not(batches, capfd):
    run = batches({1: {"reports": [FAILED], "status": 1}, 2: {"reports": [FAILED], "status": 1}})
    assert run.run() == 1
    assert [each[0] for each in given()] == [1, 2, 3]
    said = capfd.readouterr().err
    assert said.count("failed") == 1 and "1 job failed, 4 jobs waited for it:" in said, "one cell of two batches is one"


def test_tables_of_what_is_there_are_made_after_a_failure_too(batches):
    run = batches({1: {"reports": [FAILED], "status": 1}}, refuses=False)
    assert run.run() == 1
    assert [each[0] for each in given()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("act", "status"),
    [
        ({"reports": [FAILED | {"keep_going": False}], "status": 1}, 1),
        ({"status": 2}, 2),  # a sentence of its own: a locked folder, say
        ({"reports": [ended(1, how="stopped", left=4)], "status": 1}, 1),
        ({"signal": 9}, 137),
    ],
    ids=["no keep-going", "no plan", "stopped", "killed"],
)
def test_what_ends_the_run(batches, capfd, act, status):
    assert batches({2: act}).run() == status
    assert [each[0] for each in given()] == [1, 2]
    assert "run the same command to " in capfd.readouterr().err


def test_a_cell_that_is_not_evaluated_keeps_tables_waiting_though_no_job_of_its_batch_does(batches, capfd):
    alone = ended(2, how="failed", left=1, failed=[["metrics of ga: class, dense", "results/logs/ga.log"]])
    assert batches({1: {"reports": [alone], "status": 1}}).run() == 1
    assert "--config missing=allow" in capfd.readouterr().err
    page = ended(2, how="failed", left=1, failed=[["report of mine", "results/logs/report.log"]])
    assert batches({4: {"reports": [page], "status": 1}}).run() == 1
    assert "--config missing=allow" not in capfd.readouterr().err, "the tables are there"


def test_a_plan_that_is_stopped_counts_no_jobs(batches, capfd):
    assert batches({2: {"reports": [ended(0, how="stopped")], "status": 1}}, dry=True).run() == 1
    assert capfd.readouterr().err.endswith("\nstopped in batch 2 of 4\n")


def test_whoever_stops_listening_changes_no_exit_status(batches):
    batches({1: {"reports": [ended(5)]}})
    facts = json.dumps([[sys.executable, "fake.py"], str(Path.cwd()), "mine", "results", 10, 4, False, True, DIGEST])
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-P", "-m", "lacuna.commands.batches", facts]
    assert subprocess.run(command, stderr=writing, timeout=PATIENCE).returncode == 0
    os.close(writing)
    assert [each[0] for each in given()] == [1, 2, 3, 4]


def test_an_experiment_that_was_edited_meanwhile_is_refused():
    batch = Batch(2, 4, 4, 8, 1, 0, digest_of({"grid": {"seeds": [0]}, "name": "mine"}))
    batch.check({"name": "mine", "grid": {"seeds": [0]}})
    with pytest.raises(
        LacunaError, match=r"^the experiment was edited before batch 2 of 4 began; run the same command"
    ):
        batch.check({"name": "mine", "grid": {"seeds": [0, 1]}})


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_to_the_run_is_passed_on_once(batches, number):
    """To a process of its own, whose handlers are not those of the tests."""
    batches({2: {"signal": number, "of_run": True}})
    facts = json.dumps([[sys.executable, "fake.py"], str(Path.cwd()), "mine", "results", 10, 4, False, True, DIGEST])
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lacuna.commands.batches", facts], capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1 and [each[0] for each in given()] == [1, 2]
    assert "stopped in batch 2 of 4; 0 jobs done in " in done.stderr
    # as a terminal does it, and as kill does
    assert Path("job.txt").read_text() == ("not told" if number == 15 else str(-number))


def test_a_batch_that_is_stopped_before_its_first_job_has_no_time_for_a_traceback(batches):
    batches({2: {"signal": 2, "of_run": True, "only_plans": True}})
    facts = json.dumps([[sys.executable, "fake.py"], str(Path.cwd()), "mine", "results", 10, 4, False, True, DIGEST])
    command = [sys.executable, "-P", "-m", "lacuna.commands.batches", facts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and [each[0] for each in given()] == [1, 2]
    assert "Traceback" not in done.stderr and "stopped in batch 2 of 4; 0 jobs done in " in done.stderr


def test_of_two_runs_of_an_experiment_the_second_ends_with_a_sentence(batches, tmp_path, capfd):
    """Between two batches no Snakemake holds a lock."""
    with exclusive(tmp_path / ".snakemake/lacuna/batches/mine"):
        assert batches({}).run() == 1
        said = capfd.readouterr().err
        assert said.startswith(f"lacuna: mine: another process writes the same files (process {os.getpid()} on ")
        assert said.count("\n") == 1 and not Path("given.jsonl").exists()
        assert batches({1: {"reports": [{"plan": EMPTY}]}}, dry=True).run() == 0, "a plan is none"
    assert batches({1: {"reports": [ended(5)]}}).run() == 0


def test_a_later_batch_waits_for_a_run_of_another_experiment(batches, monkeypatch, capfd):
    """Which has begun between two batches; the first one ends the run as any other would."""
    alive = Path(".snakemake/lacuna/alive")
    alive.parent.mkdir(parents=True)
    other, waited = open(alive, "w"), []  # noqa: SIM115 - closed below
    fcntl.flock(other, fcntl.LOCK_SH)
    monkeypatch.setattr(batches_module.time, "sleep", lambda s: waited.append(s) or (len(waited) > 2 and other.close()))
    assert batches({2: {"locked": 1}, 4: {"reports": [ended(3)]}}).run() == 0
    assert [each[0] for each in given()] == [1, 2, 2, 3, 4] and len(waited) == 3
    assert capfd.readouterr().err.count("batch 2 of 4 waits for the end of another run in this folder\n") == 1
    Path("given.jsonl").unlink()
    assert batches({2: {"locked": 1}}).run() == 0, "it has ended by then"
    Path("given.jsonl").unlink()
    assert batches({3: {"locked": 9}}).run() == 1, "a lock that no living run holds"
    assert [each[0] for each in given()] == [1, 2, 3, 3]
    assert "stopped in batch 3 of 4" in capfd.readouterr().err
    Path("given.jsonl").unlink()
    assert batches({1: {"locked": 1}}).run() == 1
    assert [each[0] for each in given()] == [1]


def test_where_the_disk_refuses_the_lock_snakemake_has_the_word(batches, monkeypatch):
    Path(".snakemake").write_text("a file")
    assert batches({1: {"reports": [ended(5)]}}).run() == 0


def test_a_run_under_nohup_outlives_its_terminal(batches):
    batches({2: {"signal": 1, "of_run": True, "sleep": 0}})
    facts = json.dumps([[sys.executable, "fake.py"], str(Path.cwd()), "mine", "results", 10, 4, False, True, DIGEST])
    command = ["nohup", sys.executable, "-P", "-m", "lacuna.commands.batches", facts]
    assert subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE).returncode == 0
    assert [each[0] for each in given()] == [1, 2, 3, 4] and Path("job.txt").read_text() == "not told"


def test_plans_are_merged(batches, capfd):
    dense = ["train", {"dataset": "digits", "model": "m", "recipe": "r", "seed": "0"}]
    place = dense[1] | {"scenario": "class", "state": "dense"}
    cells = [["evaluate", place | {"unlearner": label}] for label in ("a", "b")]
    later = [["aggregate", {}, True], ["record", {}, False]]

    def plan(cell: object, planned: list[object]) -> dict[str, object]:
        left = [10.0, 20.0, 2, {"train": 1}]
        return {"plan": {"jobs": [dense, cell], "planned": planned, "left": left, "later": later}}

    train = [0, "changed", ["lr 1 → 2"], True]
    acts = {
        1: {"reports": [plan(cells[0], [train, [1, "follows", [], True]])]},
        2: {"reports": [plan(cells[1], [train])]},
    }
    assert batches(acts, dry=True).run() == 0
    assert [each[0] for each in given()] == [1, 2, 3], "tables of cells that are not there cannot be planned"
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "mine: 1 of 2 cells are finished; 4 of 5 jobs would run"
    assert [line.split() for line in lines[2:5]] == [
        ["train", "0", "1", "1"],
        ["evaluate", "1", "1", "1"],
        ["tables", "0", "2", "1", "1"],
    ]
    assert "changed: lr 1 → 2: 1 train" in lines


def test_size_is_that_of_the_jobs_that_a_plan_has_room_for():
    request = Request([], ".")
    assert request.size(5000, JOBS) is None and request.size(100_000, 20 * JOBS) == 5000
    assert request.size(3, 10 * JOBS) == 1, "a cell of many shadow models is a batch of its own"
    assert Request([], ".", 4).size(8, 30) == 4 and Request([], ".", 8).size(8, 30) is None


def test_what_is_asked_for_is_asked_of_one_process(monkeypatch):
    Request(["snakemake"], "/folder", 7).leave()
    assert asked(False) == (None, None) and asked(True) == (None, None), "a job's own process takes it away"
    Request(["snakemake"], "/folder", 7).leave()
    assert asked(True) == (Request(["snakemake"], "/folder", 7), None)
    assert not {name for name in os.environ if name.startswith("LACUNA_BATCH")}


def test_batch_size_is_taken_out_of_the_words():
    assert batch_size(["--batch-size", "5", "-n"]) == (["-n"], 5)
    assert batch_size(["-n", "--batch-size=5", "--config", "a=b"]) == (["-n", "--config", "a=b"], 5)
    assert batch_size(["-n"]) == (["-n"], None)
    for words in (["--batch-size"], ["--batch-size", "0"], ["--batch-size", "x"], ["--batch-size=-1"]):
        with pytest.raises(LacunaError, match=r"--batch-size: '.*' is not allowed; allowed: a number of cells"):
            batch_size(words)


def test_a_batch_says_which_it_is():
    batch = Batch(3, 4, 8, 10, 1, 0, DIGEST)
    assert str(batch) == "batch 3 of 4" and not batch.of_tables
    assert Batch(4, 4, 10, 10, 1, 0, DIGEST).of_tables
