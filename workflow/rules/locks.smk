# What a killed run leaves behind, taken away before Snakemake looks.
import fcntl
import json
import platform
import sys
from pathlib import Path


def take_away_stale_locks(folder):
    """Remove the locks that a killed run left in Snakemake's folder, so that the same command goes on after kill -9.

    A run holds a lock of the kernel's, which dies with it; gives the open file, to be kept for as long as the run
    lives. Jobs on a cluster outlive their run: where there are any, Snakemake's own lock and advice (--unlock) stand.
    """
    try:
        (folder / "lacuna").mkdir(parents=True, exist_ok=True)
        alive = open(folder / "lacuna" / "alive", "a+", encoding="utf-8")
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(alive, fcntl.LOCK_SH)  # another run lives
        return alive
    except OSError:
        return None  # a folder that cannot be written, or a file system without such locks
    alive.seek(0)
    here = alive.read() in ("", platform.node())
    alive.truncate(0)
    alive.write(platform.node())
    alive.flush()
    stale = list((folder / "locks").glob("*.lock"))
    started = (path.read_text(errors="replace") for path in (folder / "incomplete").glob("*") if path.is_file())
    if stale and here and not any('"external_jobid": "' in record for record in started):
        print("lacuna: the last run here was killed; its lock is taken away", file=sys.stderr)
        for lock in stale:
            lock.unlink(missing_ok=True)
    fcntl.flock(alive, fcntl.LOCK_SH)
    return alive


ALIVE = take_away_stale_locks(Path(".snakemake")) if workflow.is_main_process else None
