"""Tests in several processes: what shares a module or the finished run stays in one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from places import TESTS

MODULE = """
import pytest

@pytest.fixture(scope="session")
def finished(): ...

@pytest.mark.parametrize("number", range(4))
def test({fixture}number): ...
"""


def test_a_group_stays_in_one_process(tmp_path: Path) -> None:
    """`tests/conftest.py` with four modules, two of which read the finished run: each group on one worker of two."""
    shutil.copy(TESTS / "conftest.py", tmp_path)
    for name, fixture in (("alone", ""), ("first", "finished, "), ("second", "finished, "), ("other", "")):
        (tmp_path / f"test_{name}.py").write_text(MODULE.format(fixture=fixture))
    options = ["-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder", "-v", "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", str(tmp_path)]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    passed = re.findall(r"\[(gw\d)\] \[ *\d+%\] PASSED test_(\w+)\.py::", told.stdout)
    assert len(passed) == 16, told.stdout + told.stderr
    workers = {module: {worker for worker, of in passed if of == module} for _, module in passed}
    assert all(len(of) == 1 for of in workers.values()), workers
    assert workers["first"] == workers["second"], workers
    assert len({worker for worker, _ in passed}) == 2, "one process did everything"
