"""A process that has imported Snakemake: a dry run that is forked from it takes a fifth of the CPU seconds.

Run as a script with the number of a socket. A message is JSON, with the file that a run writes to and a socket on which
its exit status is told. Nothing of lacuna is imported, which differs from clone to clone. It ends with who started it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# what a plan imports of other packages
PACKAGES = (
    "snakemake.cli",
    "snakemake.profiles",
    "snakemake.report.html_reporter",
    "snakemake.storage",
    "pandas",
    "scipy.special",
    "jsonschema",
    "safetensors.numpy",
)
# bytes of a message, with all of an environment: what a socket takes at once
LARGEST = 1 << 17


class Loaded:
    """Starts that process, and Snakemake in forks of it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # no thread of a library that a fork would lack
            one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
            command = [sys.executable, __file__, str(theirs.fileno())]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment | one,
            )

    def run(self, words: list[str], folder: Path, environment: dict[str, str], patience: int) -> tuple[int, str]:
        """How `python -m snakemake WORDS` ends in a folder, and what it says; SIGALRM ends it after so many seconds."""
        asked = {"words": words, "folder": str(folder), "environment": environment, "patience": patience}
        ours, theirs = socket.socketpair()
        with ours, tempfile.TemporaryFile() as output:
            with theirs:
                socket.send_fds(self.socket, [json.dumps(asked).encode()], [theirs.fileno(), output.fileno()])
            told = ours.recv(100)
            output.seek(0)
            assert told, "the process with Snakemake died"
            return int(told), output.read().decode()


def become(asked: dict[str, Any], output: int) -> None:
    """Be a process that was just started, in a group of its own, and run Snakemake to the end."""
    os.setsid()
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    signal.alarm(asked["patience"])
    sys.argv = ["snakemake", *asked["words"]]
    # as python -m, in the place of the folder of this file
    sys.path[0] = os.getcwd()
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)


def main(control: socket.socket) -> None:
    """Fork for each message a process that forks Snakemake, waits for it and tells how it ended."""
    for package in PACKAGES:
        importlib.import_module(package)
    gc.collect()
    gc.freeze()
    while True:
        message, handles, *_ = socket.recv_fds(control, LARGEST, 2)
        if not message:
            return
        status, output = handles
        if os.fork():
            os.close(status)
            os.close(output)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            continue
        control.close()
        run = os.fork()
        if not run:
            os.close(status)
            return become(json.loads(message), output)
        code = os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])
        with contextlib.suppress(OSError):
            os.write(status, str(code).encode())
        os._exit(0)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
