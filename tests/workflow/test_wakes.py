"""workflow/rules/wakes.smk: Snakemake's scheduler is woken in time, and by one timer."""

from __future__ import annotations

import threading
import types

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from .project import ROOT


@pytest.fixture
def look_again(monkeypatch: pytest.MonkeyPatch):
    """The function of the rules file, which sets it in Snakemake's class; that is as before after the test."""
    before = JobScheduler._schedule_reevalutation
    monkeypatch.setattr(JobScheduler, "_schedule_reevalutation", before)
    path = ROOT / "workflow/rules/wakes.smk"
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), {})
    assert JobScheduler._schedule_reevalutation is not before
    return JobScheduler._schedule_reevalutation


def test_every_look_is_followed_by_the_next(look_again) -> None:
    """None is lost: a run whose submissions are limited would wait for ever."""
    scheduler = types.SimpleNamespace(_open_jobs=threading.Semaphore(0))
    for _ in range(3):
        look_again(scheduler, 0.01)
        assert scheduler._open_jobs.acquire(timeout=60), "no look came"


def test_many_calls_are_one_look_and_the_end_of_a_run_does_not_wait_for_it(look_again) -> None:
    before = set(threading.enumerate())
    scheduler = types.SimpleNamespace(_open_jobs=threading.Semaphore(0))
    for _ in range(50):
        look_again(scheduler, 3600)
    timers = set(threading.enumerate()) - before
    for timer in timers:
        timer.cancel()
    assert [timer.daemon for timer in timers] == [True]
