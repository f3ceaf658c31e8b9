"""One writer at a time, whoever dies; and jobs that end with their run."""

import os
import platform
import signal
import subprocess
import sys
import threading
import time

import pytest

from lacuna.artifacts.processes import exclusive, exit_with_run, share
from lacuna.errors import LacunaError

NAME = "lacuna.artifacts.processes"
PATIENCE = 60


def start(code, *arguments, **environment):
    """A Python process that runs `code`; says "ready" when it got there."""
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from lacuna.artifacts.processes import *\nimport os, sys, time\n{code}",
            *map(str, arguments),
        ],
        env={k: v for k, v in os.environ.items() if k != "SLURM_JOB_ID"}
        | {"PYTHONPATH": os.pathsep.join(sys.path)}
        | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


HOLD = "with exclusive(sys.argv[1]):\n    print('ready', flush=True)\n    time.sleep(600)"


def test_processes_take_turns(tmp_path):
    """Six processes that each read, wait and write a number lose no count, and leave no lock."""
    count = tmp_path / "count"
    count.write_text("0")
    code = """
for _ in range(15):
    with exclusive(sys.argv[1]):
        number = int(open(sys.argv[2]).read())
        time.sleep(0.001)
        open(sys.argv[2], "w").write(str(number + 1))
"""
    processes = [start(code, tmp_path / "locks" / "lock", count) for _ in range(6)]
    assert [process.wait(PATIENCE) for process in processes] == [0] * 6
    assert count.read_text() == "90"
    assert not list((tmp_path / "locks").iterdir())


def test_threads_take_turns_too(tmp_path):
    """The lock belongs to who opened the file, not to the process."""
    inside, most = [], []

    def work():
        with exclusive(tmp_path / "lock"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


def test_patience_ends_with_the_holder_named(tmp_path):
    holder = start(HOLD, tmp_path / "lock", SLURM_JOB_ID="4711")
    assert holder.stdout.readline() == "ready\n"
    try:
        said = f"process {holder.pid} on .*, SLURM job 4711; left by a killed run"
        with pytest.raises(LacunaError, match=said), exclusive(tmp_path / "lock", patience=0.3):
            raise AssertionError("two holders")
    finally:
        holder.kill()
        holder.wait()


def test_a_killed_holder_holds_no_more(tmp_path):
    """kill -9 ends the lock with its holder: who waits goes on, though the file is still there."""
    holder = start(HOLD, tmp_path / "lock")
    assert holder.stdout.readline() == "ready\n"
    waiting = start("with exclusive(sys.argv[1]): print('ready', flush=True)", tmp_path / "lock")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1.0)
    holder.kill()
    holder.wait()
    assert waiting.wait(PATIENCE) == 0
    assert not (tmp_path / "lock").exists()


def test_a_failure_inside_frees_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock"):
        raise ZeroDivisionError
    with exclusive(tmp_path / "lock", patience=0.0):
        pass


LEADER = """
import subprocess
announce_run()
follower = subprocess.Popen([sys.executable, "-c", "import time\\n"
    "from lacuna.artifacts.processes import exit_with_run\\nexit_with_run()\\n"
    "print('ready', flush=True)\\ntime.sleep(600)"], stdout=subprocess.PIPE, text=True, start_new_session=True)
follower.stdout.readline()
print(follower.pid, flush=True)
time.sleep(600)
"""


def alive(pid):
    """Whether a process, not of this one's children, still runs."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_follower_ends_with_its_run(tmp_path):
    """kill -9 of the run ends the jobs that it started, though they are in a session of their own."""
    leader = start(LEADER)
    follower = int(leader.stdout.readline())
    time.sleep(0.2)
    assert alive(follower)
    leader.kill()
    leader.wait()
    until(lambda: not alive(follower))


FOLLOW = "exit_with_run()\nprint('ready', flush=True)\ntime.sleep(0.5)"


@pytest.mark.parametrize("place", ["elsewhere no allocation", "{here} 4711"])
def test_another_place_is_not_followed(place):
    """A job on a node, or in an allocation of its own, lives on: its run's number means nothing there."""
    here = platform.node()
    process = start(FOLLOW, LACUNA_RUN=f"{place.format(here=here)} 999999999")
    assert process.wait(PATIENCE) == 0


def test_a_run_that_is_gone_already_ends_its_follower():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    process = start(FOLLOW, LACUNA_RUN=f"{platform.node()} no allocation {dead.pid}")
    assert process.wait(PATIENCE) == -signal.SIGTERM


def test_without_a_run_there_is_nothing_to_follow(monkeypatch):
    monkeypatch.delenv("LACUNA_RUN", raising=False)
    threads = threading.active_count()
    exit_with_run()
    assert threading.active_count() == threads


def test_a_party_shares_what_another_is_kept_out_of(tmp_path):
    """The first holder's name is in the refusal; the last to let go leaves nothing behind."""
    first, second = share(tmp_path / "a/lock", "ours"), share(tmp_path / "a/lock", "ours")
    with pytest.raises(LacunaError, match=r"^ours$"):
        share(tmp_path / "a/lock", "theirs")
    first()
    with pytest.raises(LacunaError, match=r"^ours$"):
        share(tmp_path / "a/lock", "theirs")
    second()
    assert not (tmp_path / "a/lock").exists()
    share(tmp_path / "a/lock", "theirs")()


def test_a_killed_holder_keeps_nobody_out(tmp_path):
    code = f"import os; from {NAME} import share; share({str(tmp_path / 'lock')!r}, 'ours'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (tmp_path / "lock").read_text() == "ours"
    share(tmp_path / "lock", "theirs")()


def test_a_link_in_place_of_a_shared_lock_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    share(tmp_path / "lock", "ours")()
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_lock_that_is_a_link_leads_into_no_other_file(tmp_path):
    victim, lock = tmp_path / "victim", tmp_path / "lock"
    victim.write_text("mine")
    lock.symlink_to(victim)
    with pytest.raises(LacunaError, match="is a link"), exclusive(lock):
        raise AssertionError("held")
    assert victim.read_text() == "mine"
