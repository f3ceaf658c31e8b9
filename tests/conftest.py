"""What all tests share: hypothesis profiles, and one thread for torch."""

import os
import sys

import hypothesis
import pytest

# Examples are slow on a shared machine, never wrong for it; in CI the same ones are drawn every time.
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """One thread for torch, in the test modules that import it: results on a CPU depend on their number."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
