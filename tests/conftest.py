"""What all tests share: hypothesis profiles, one thread for torch, and which tests stay together in one process."""

import gc
import json
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session")
def known() -> dict[str, Any]:
    """The catalogue, as it comes out of its file."""
    from lacuna.experiment import catalogue  # the tests of other modules do without torch

    return json.loads(json.dumps(catalogue.describe()))


# networks that unlearning begins with, each trained once: copied and never changed


@pytest.fixture(scope="session")
def original():
    """For the methods that fine-tune."""
    from unit.unlearning.methods.classic import trained

    return trained()


@pytest.fixture(scope="session")
def trained():
    """For the methods that edit before they train."""
    from tiny import trained_on
    from unit.unlearning.methods.edits import SOURCE

    return trained_on(SOURCE)


@pytest.fixture(scope="session")
def trained_model():
    """For the methods that edit once."""
    from tiny import trained_on
    from unit.gradients.networks import SOURCE

    return trained_on(SOURCE)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end: garbage is not searched for meanwhile, nor among it later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# first: xdist reads the groups in the same hook
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one module run in one process, as do all modules that read the one finished run; the long ones begin.

    With `pytest -n 2 --dist loadgroup --no-loadscope-reorder`; one process alone sees only the order.
    """
    finished = {item.path for item in items if {"finished", "second"} & set(getattr(item, "fixturenames", ()))}
    here = Path(__file__).parent
    short = ("unit", "contracts", "repository", "parity")
    items.sort(key=lambda item: (item.path.relative_to(here).parts[0] in short, item.path not in finished))
    for item in items:
        module = str(item.path.relative_to(here))
        item.add_marker(pytest.mark.xdist_group("finished" if item.path in finished else module))
