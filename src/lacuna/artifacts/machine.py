"""The commit and the machine of a job.

Apart from `provenance`, which only evaluation and tables read: a change there must make no model again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

# untracked files in these are sources that no commit holds
_SOURCES = ("Snakefile", "src", "workflow")
# set by git for its hooks: they name another repository
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
# names of environment variables that choose how libraries compute
_SWITCHES = re.compile(r"(ATEN|CUBLAS|CUDNN|DNNL|KMP|MKL|OMP|ONEDNN|OPENBLAS|NVIDIA_TF32|TORCH_(ALLOW|CUDNN|MKLDNN))_")
# mallopt's names of the size from which memory is mapped for itself, and of the free memory that is handed back
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _KEPT = -3, -1, 1 << 30
# the user's own choice of the same
_OF_MALLOC = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")
# beginnings of the names of instruction sets on which the order of a sum depends
_VECTORS = ("amx", "asimd", "avx", "bf16", "fma", "sme", "sse4", "sve")


def commit_of(root: Path) -> str:
    """The full hash of the commit that the workflow in `root` is at; unknown if `root` is no repository of its own.

    Ends in -dirty if tracked files were changed or there are untracked ones among the sources.
    """

    def git(*arguments: str) -> str | None:
        environment = {k: v for k, v in os.environ.items() if k not in _OF_HOOKS}
        command = ["git", "-C", str(root), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        except OSError:  # no git on this machine
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # a folder inside somebody else's repository has no commit of that
    top, _, head = (git("rev-parse", "--show-toplevel", "HEAD") or "").rpartition("\n")
    if not top or not Path(top).exists() or not os.path.samefile(top, root):
        return "unknown"
    changed = git("status", "--porcelain", "--untracked-files=no")
    if changed or git("ls-files", "--others", "--exclude-standard", "--", *_SOURCES):
        return f"{head}-dirty"
    return head


def processor(description: str | Path = "/proc/cpuinfo") -> tuple[str, list[str]]:
    """The model of the CPU and its instruction sets for vectors, by their names in Linux's /proc/cpuinfo."""
    try:
        lines = Path(description).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    facts: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    model = facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    return model, sorted({flag for flag in flags if flag.startswith(_VECTORS) and flag != "smep"})


def switches(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of an environment that choose how libraries compute, with which other bytes may come out."""
    return {name: value for name, value in sorted(environment.items()) if _SWITCHES.match(name)}


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB that it frees, for its next arrays; whether the C library does so.

    Else glibc hands the activations of each layer back to the system, which clears each page of the next ones: a third
    of a prediction's time. No number changes. A choice of the user's in the environment stays, as does another library.
    """
    if any(name in os.environ for name in _OF_MALLOC):
        return False
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_MMAP_THRESHOLD, _KEPT) == mallopt(_TRIM_THRESHOLD, _KEPT) == 1)
    return False
