"""The machine of a job: memory that its process keeps."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from lacuna.artifacts.machine import keep_freed_memory

# page faults of the third time that 24 MB are filled and freed, in arrays too small for huge pages
FAULTS = """
import resource, sys
import numpy as np
from lacuna.artifacts.machine import keep_freed_memory

print(keep_freed_memory() if sys.argv[1] == "keep" else None)
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(3 << 17) for _ in range(8)]
    del arrays
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

of_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def told(how: str, **more: str) -> list[str]:
    plain = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, env=plain | more, capture_output=True, text=True, check=True)
    return done.stdout.split()


@of_glibc
def test_memory_that_is_kept_is_not_cleared_again():
    kept, faults = told("keep")
    assert (kept, int(faults) < 100) == ("True", True)
    # else the system clears each page anew
    assert int(told("leave")[1]) > 1000


@of_glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_the_choice_of_the_environment_stays(name):
    kept, faults = told("keep", **{name: "131072"})
    assert (kept, int(faults) > 1000) == ("False", True)


@pytest.mark.parametrize("library", [object(), None])
def test_another_c_library_is_left_alone(monkeypatch, library):
    def loaded(name: None) -> object:
        if library is None:
            raise OSError("no such library")
        return library

    monkeypatch.setattr("ctypes.CDLL", loaded)
    assert keep_freed_memory() is False
