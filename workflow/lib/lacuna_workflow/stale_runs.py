"""What another run left behind, or is doing, when a run begins: locks, jobs on a cluster, files from the future.

All of it happens where Snakemake takes its own lock, which a dry run, --lint, --summary and the jobs of a run do not:
they change nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import getpass
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import IO, Any

from lacuna_workflow import is_own
from lacuna_workflow.internals import Patch

from snakemake.exceptions import LockException
from snakemake.persistence import PersistenceBase
from snakemake.persistence.file import FilePersistence

from lacuna.artifacts.processes import share
from lacuna.errors import LacunaError

_lock, _lock_warn_only = PersistenceBase.lock, PersistenceBase.lock_warn_only
# the folders of results of this run, and what it holds until its end
_RESULTS: set[str] = set()
# what is called where another run holds the lock
_WHEN_LOCKED: list[Callable[[], None]] = []
_HELD: list[IO[str]] = []


def results_in(folder: str, when_locked: Callable[[], None] | None = None) -> None:
    """Name a folder of results of this run. when_locked: called where another run works on the same files."""
    _RESULTS.add(folder)
    if when_locked is not None:
        _WHEN_LOCKED.append(when_locked)


def take_away_stale_locks(folder: Path) -> tuple[IO[str] | None, bool]:
    """Remove the locks that a killed run left in Snakemake's folder, so that the same command goes on after kill -9.

    A run holds a lock of the kernel's, which dies with it. Gives the open file, to be kept for as long as the run
    lives, and whether no other run can be alive here. A run of another machine may be alive where the file system
    passes no locks on: there Snakemake's own lock and advice (--unlock) stand.
    """
    try:
        (folder / "lacuna").mkdir(parents=True, exist_ok=True)
        alive = open(folder / "lacuna" / "alive", "a+", encoding="utf-8")  # noqa: SIM115 - held until the end
    except OSError:
        return None, False  # a folder that cannot be written
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(alive, fcntl.LOCK_SH)  # another run lives
        return alive, False
    except OSError:
        alive.close()
        return None, False  # a file system without such locks
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


def jobs_left_behind() -> list[str] | None:
    """SLURM jobs of this user that some Snakemake submitted from this folder, by id; None if SLURM does not answer."""
    # %k: the comment, in which the executor names the rule; %Z: where the job was submitted
    command = ["squeue", "--noheader", "--user", getpass.getuser(), "--format", "%i|%k|%Z"]
    queue = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if queue.returncode:
        return None
    jobs = (line.split("|", 2) for line in queue.stdout.splitlines() if line.count("|") >= 2)
    return [i for i, comment, folder in jobs if comment.startswith("rule_") and Path(folder) == Path.cwd()]


def cancel_jobs_left_behind(patience: float = 180) -> None:
    """Cancel the jobs that a killed run left on the cluster, and wait until they are gone: they write the same files.

    Ends the run with a sentence if they stay longer than `patience` seconds.
    """
    if shutil.which("squeue") is None:
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


def hold_results(folder: str) -> None:
    """End this run if one of another clone works on the same results, which a link or a common path shares.

    The locks of two clones are apart. A workflow that imports this one may run its own jobs meanwhile.
    """
    clone = Path(".snakemake").resolve().parent
    try:
        atexit.register(share(Path(folder).resolve() / ".running", str(clone)))
    except LacunaError as error:
        sys.exit(
            f"lacuna: {Path(folder).resolve()}: a run in {error} works on it; "
            "wait for its end, or give this clone a results folder of its own"
        )


def date_back(files: Iterable[str]) -> None:
    """Give files from the future, whose maker's clock was ahead, the present time.

    Snakemake fails every job that reads one until that time has come: what the job makes seems older.
    """
    now, count = time.time(), 0
    for path in sorted(set(files)):
        try:
            if os.stat(path).st_mtime > now:
                os.utime(path, (now, now))
                count += 1
        except OSError:  # not made yet, or another user's: Snakemake names it if it matters
            continue
    if count:
        print(f"lacuna: files from the future in {_shown(_RESULTS)}, now dated back: {count}", file=sys.stderr)


def _shown(folders: Iterable[str]) -> str:
    return ", ".join(sorted(folders))


def read_by(jobs: Iterable[Any]) -> Iterator[str]:
    """The files of results that jobs read: others are not this workflow's to change."""
    roots = [PurePath(folder).parts for folder in _RESULTS]
    for path in (str(path) for job in jobs for path in job.input):
        parts = PurePath(path).parts
        if any(parts[: len(root)] == root for root in roots):
            yield path


@contextlib.contextmanager
def lock(persistence: Any) -> Iterator[None]:
    """Snakemake's lock, once nothing of a killed run is in its way."""
    alive, alone = None, False
    if isinstance(persistence, FilePersistence):
        alive, alone = take_away_stale_locks(Path(persistence.path))
        if alive is not None:
            _HELD.append(alive)
    jobs = list(persistence.dag.needrun_jobs()) if persistence.dag is not None else []
    if any(is_own(str(job.rule.snakefile)) for job in jobs):
        for folder in sorted(_RESULTS):
            hold_results(folder)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(_lock(persistence))
        except LockException:
            for call in _WHEN_LOCKED:
                call()
            if alive is not None and _is_here(alive):
                # Snakemake's words advise to take its lock away, and two runs would make the same files
                sys.exit(
                    f"lacuna: {Path.cwd()} cannot be locked: a run that makes some of the same files is on here; "
                    "wait for its end (lacuna status shows it), or stop it"
                )
            raise
        if jobs and alone:
            cancel_jobs_left_behind()
        date_back(read_by(jobs))
        yield


def _is_here(alive: IO[str]) -> bool:
    """Whether a run that lives, other than this one, is of this machine. alive: as of `take_away_stale_locks`."""
    alive.seek(0)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(alive, fcntl.LOCK_SH)
    except OSError:
        return alive.read() == platform.node()
    return False


def was_killed(folder: Path) -> bool:
    """Whether the run that left the locks in Snakemake's folder is dead; looks, and changes nothing."""
    try:
        with open(folder / "lacuna" / "alive", encoding="utf-8") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return alive.read() in ("", platform.node())
    except OSError:  # no such file, a run that lives, or a file system without such locks
        return False


@contextlib.contextmanager
def lock_warn_only(persistence: Any) -> Iterator[None]:
    """Snakemake's warning of a dry run, but where the lock is a dead run's and will not stand in the next one's way."""
    if persistence.locked and was_killed(Path(persistence.path)):
        print("lacuna: the last run here was killed; the next one takes its lock away", file=sys.stderr)
        yield
    else:
        with _lock_warn_only(persistence):
            yield


def _begin_in_order() -> None:
    PersistenceBase.lock = lock
    PersistenceBase.lock_warn_only = lock_warn_only


STALE_RUNS = Patch(
    "stale_runs",
    ((PersistenceBase, "lock"), (PersistenceBase, "lock_warn_only"), (PersistenceBase, "locked")),
    _begin_in_order,
    # of clocks that are ahead; no issue is known that asks for a killed run's lock to go by itself
    "https://github.com/snakemake/snakemake/issues/3261",
)
