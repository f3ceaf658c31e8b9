"""What processes of one project know of each other: who is orphaned, and who may write."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lacuna.errors import LacunaError

_RUN = "LACUNA_RUN"


def announce_run() -> None:
    """Make this process the run whose end its jobs notice (`exit_with_run`): all that it starts from now on."""
    os.environ[_RUN] = f"{_place()} {os.getpid()}"


def exit_with_run() -> None:
    """Send this process SIGTERM once the run that started it is gone, however it died.

    Only beside the run itself: a job of a cluster has a life of its own. Needs Linux 5.3; elsewhere does nothing.
    """
    place, _, leader = os.environ.get(_RUN, "").rpartition(" ")
    if place != _place() or not hasattr(os, "pidfd_open"):
        return
    try:
        run = os.pidfd_open(int(leader))
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGTERM)
        return
    except OSError:  # an older kernel, or no file descriptor left
        return

    def wait() -> None:
        poll = select.poll()
        poll.register(run, select.POLLIN)
        poll.poll()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="follow", daemon=True).start()


def _place() -> str:
    """This machine, and the allocation of a cluster that the process runs in."""
    return f"{platform.node()} {os.environ.get('SLURM_JOB_ID', 'no allocation')}"


@contextlib.contextmanager
def exclusive(path: str | Path, patience: float = 300.0) -> Iterator[None]:
    """Hold `path` alone: of all processes that ask for it, on any machine that sees the file, one at a time.

    The lock is the kernel's, so it ends with its holder, and the file with it. A file system that offers none
    (some Lustre mounts) gives no protection. patience: seconds to wait for another holder.
    Raises LacunaError naming the holder when patience ends.
    """
    path, deadline = Path(path), time.monotonic() + patience
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        # flock, not lockf: closing any other descriptor of the file would drop a POSIX lock
        # and never through a link, which would lead into another file
        with open(path, "a+", encoding="utf-8", opener=_no_link) as file:
            locked = _lock(file.fileno())
            if locked is False:
                file.seek(0)
                holder = file.read().strip() or "unknown"
            # the last holder removes the file: what is locked here may be a name no more
            elif _is_still(path, file.fileno()):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {platform.node()}")
                if job := os.environ.get("SLURM_JOB_ID"):
                    file.write(f", SLURM job {job}")
                file.flush()
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
            else:
                continue
        if time.monotonic() > deadline:
            raise LacunaError(
                f"another process writes the same files ({holder}; left by a killed run?); "
                "end it or let it finish, and run the same command again"
            )
        time.sleep(0.2)


def share(path: str | Path, party: str) -> Callable[[], None]:
    """Hold `path` together with other processes of one party, and with none of another; the call that lets go.

    The lock is the kernel's, as of `exclusive`; the last to let go removes the file. Where the folder cannot be
    written, or its file system has no locks, there is no protection. Raises LacunaError naming the party that holds it.
    """
    path = Path(path)
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # no link is followed: it might be another's file
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            file = os.fdopen(descriptor, "a+", encoding="utf-8")
        except OSError:
            return lambda: None
        locked = _lock(file.fileno())
        if locked is None:
            file.close()
            return lambda: None
        if locked and _is_still(path, file.fileno()):
            file.truncate(0)
            file.write(party)
            file.flush()
        # going from one kind to the other lets go for a moment: what the file says is read afterwards
        fcntl.flock(file, fcntl.LOCK_SH)
        if _is_still(path, file.fileno()):
            break
        file.close()
    file.seek(0)
    holder = file.read()
    if holder != party:
        file.close()
        raise LacunaError(holder)

    def let_go() -> None:
        if _lock(file.fileno()):
            path.unlink(missing_ok=True)
        file.close()

    return let_go


def _no_link(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise LacunaError(f"{path}: is a link; allowed: the lock of a job, a file (remove the link)") from None


def _lock(descriptor: int) -> bool | None:
    """Whether the lock was free; None where the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
