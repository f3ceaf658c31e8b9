"""One real run of a tiny experiment serves every test: a test that changes something works on a copy of its tree."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from .project import Done, Project


@pytest.fixture(scope="session")
def workers() -> Iterator[ThreadPoolExecutor]:
    """Two runs at a time: most of a short run is start-up on one core."""
    pool = ThreadPoolExecutor(2)
    yield pool
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone in which nothing ran yet; for dry runs and to be copied, never to be changed."""
    project = Project.new(tmp_path_factory.mktemp("fresh") / "clone")
    planned = project.plan()
    assert planned.code == 0, planned.output
    return project


@pytest.fixture(scope="session")
def clones(
    request: pytest.FixtureRequest,
    fresh: Project,
    workers: ThreadPoolExecutor,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Future[tuple[Project, Done]]]:
    """Clones in which the experiment runs: one, and another beside it if a selected test compares the two."""
    compared = any("second" in getattr(item, "fixturenames", ()) for item in request.session.items)

    def run(name: str, *targets: str) -> tuple[Project, Done]:
        project = fresh.copy(tmp_path_factory.mktemp(name) / "clone")
        # each in a process of its own from the start, with its own order of sets
        return project, project.ended(project.start(*targets))

    first = workers.submit(run, "first")
    return [first, workers.submit(run, "second", "tables")] if compared else [first]


def _finished(clone: Future[tuple[Project, Done]]) -> Project:
    project, done = clone.result()
    assert done.code == 0, done.output
    return project


@pytest.fixture(scope="session")
def finished(clones: list[Future[tuple[Project, Done]]]) -> Project:
    """A clone in which the whole experiment ran; to be read and copied, never to be changed."""
    return _finished(clones[0])


@pytest.fixture(scope="session")
def second(clones: list[Future[tuple[Project, Done]]]) -> Project:
    """Another clone in which it ran, as far as the tables."""
    return _finished(clones[1])
