# What another run leaves behind: a killed one's lock is taken away before Snakemake looks, before a job starts its jobs on
# a cluster, and the future times of a machine whose clock is ahead.
import atexit
import fcntl
import getpass
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

# not workflow.basedir, which in a module is the folder of the Snakefile that imports it
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1]
if {"{", "}"} & set(f"{ROOT}{Path.cwd()}"):
    sys.exit(f"lacuna: {Path.cwd()}: Snakemake takes braces for wildcards; allowed: a path without {{ and }}")
# for the rules, and for the scripts, which Snakemake gives the same folders; at the end: an importer's come first
sys.path.append(str(ROOT / "workflow" / "lib"))

import lacuna_workflow  # makes lacuna importable

from lacuna.errors import LacunaError
from lacuna.artifacts.processes import lead, share


def take_away_stale_locks(folder):
    """Remove the locks that a killed run left in Snakemake's folder, so that the same command goes on after kill -9.

    A run holds a lock of the kernel's, which dies with it. Gives the open file, to be kept for as long as the run
    lives, and whether no other run can be alive here. A run of another machine may be alive where the file system
    passes no locks on: there Snakemake's own lock and advice (--unlock) stand.
    """
    try:
        (folder / "lacuna").mkdir(parents=True, exist_ok=True)
        alive = open(folder / "lacuna" / "alive", "a+", encoding="utf-8")
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(alive, fcntl.LOCK_SH)  # another run lives
        return alive, False
    except OSError:
        return None, False  # a folder that cannot be written, or a file system without such locks
    alive.seek(0)
    stale = list((folder / "locks").glob("*.lock"))
    alone = not stale or alive.read() in ("", platform.node())
    if alone:
        alive.truncate(0)
        alive.write(platform.node())
        alive.flush()
        if stale:
            print("lacuna: the last run here was killed; its lock is taken away", file=sys.stderr)
        for lock in stale:
            lock.unlink(missing_ok=True)
    fcntl.flock(alive, fcntl.LOCK_SH)
    return alive, alone


def jobs_left_behind():
    """SLURM jobs of this user that some Snakemake submitted from this folder, by id; None if SLURM does not answer."""
    # %k: the comment, in which the executor names the rule; %Z: where the job was submitted
    command = ["squeue", "--noheader", "--user", getpass.getuser(), "--format", "%i|%k|%Z"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if told.returncode:
        return None
    jobs = (line.split("|", 2) for line in told.stdout.splitlines() if line.count("|") >= 2)
    return [i for i, comment, folder in jobs if comment.startswith("rule_") and Path(folder) == Path.cwd()]


def cancel_jobs_left_behind(patience=180):
    """Cancel the jobs that a killed run left on the cluster, and wait until they are gone: they write the same files.

    Ends the run with a sentence if they stay longer than `patience` seconds.
    """
    if not ALONE or shutil.which("squeue") is None:
        return
    left = jobs_left_behind()
    if left:
        print(f"lacuna: the last run here was killed; its jobs are cancelled: {' '.join(left)}", file=sys.stderr)
        subprocess.run(["scancel", *left], check=False, timeout=120)
    deadline = time.monotonic() + patience
    while left:
        if time.monotonic() > deadline:
            sys.exit(f"lacuna: SLURM jobs {' '.join(left)} of a killed run do not end; try again when they are gone")
        time.sleep(1)
        # an answer that does not come says nothing
        left = left if (now := jobs_left_behind()) is None else now


def hold_results(folder):
    """End this run if one of another clone works on the same results, which a link shares: their locks are apart."""
    clone = Path(".snakemake").resolve().parent
    try:
        atexit.register(share(Path(folder).resolve() / ".running", str(clone)))
    except LacunaError as error:
        other = Path(str(error))
        sys.exit(
            f"lacuna: {Path(folder).resolve()}: a run in {other} works on it; "
            "wait for its end, or give this clone a results folder of its own"
        )


def date_back(folder):
    """Give results from the future, whose maker's clock was ahead, the present time.

    Snakemake fails every job that reads one until that time has come: what the job makes seems older.
    """
    now, found = time.time(), 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            try:
                if os.stat(path).st_mtime > now:
                    os.utime(path, (now, now))
                    found += 1
            except OSError:  # gone, or another user's: Snakemake names it if it matters
                continue
    if found:
        print(f"lacuna: files from the future in {folder}, now dated back: {found}", file=sys.stderr)


if workflow.is_main_process:
    ALIVE, ALONE = take_away_stale_locks(Path(".snakemake"))
    lead()
else:
    # a warning before the end of an allocation is meant for the script, which makes a checkpoint
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


onstart:
    if workflow.is_main_process:
        hold_results("results")
    cancel_jobs_left_behind()
    if workflow.is_main_process:
        date_back("results")
