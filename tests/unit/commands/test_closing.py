"""A run's last words: what was made, or each failed job with its reason and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lacuna.commands.closing import LISTED, done, duration, failures, made, reason_in, stopped, told_to_stop


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epoch 1/3\nlacuna: unlearn dataset=d model=m: diverged in epoch 2; lr: 3\n", "diverged in epoch 2; lr: 3"),
        ("Traceback ...\nlacuna: train: KeyError: 'x'\n\n", "KeyError: 'x'"),
        (
            "train m: epoch 3/10, loss 1.8\n",
            "ended without a reason (killed? out of memory?); its log ends: train m: epoch 3/10, loss 1.8",
        ),
        ("", "its log is empty"),
    ],
)
def test_reason_is_the_end_of_the_log(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "job.log").write_text(text)
    assert reason_in(tmp_path / "job.log") == reason


def test_job_without_a_log_never_began(tmp_path: Path) -> None:
    assert reason_in(tmp_path / "job.log").startswith("ended before its first line")


def test_failures_name_jobs_reasons_and_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "ga.log"
    log.write_text("lacuna: unlearn: diverged\n")
    assert failures([("ga: class, dense", str(log))], 3, missing_refused=True).splitlines() == [
        "1 job failed, 3 jobs waited for it:",
        f"  ga: class, dense: diverged (log: {log})",
        "run the same command to try it again and to continue",
        "for tables and figures of the other cells, add to the command: --config missing=allow",
    ]
    text = failures([("ga", str(log))] * (LISTED + 2), 0, missing_refused=False)
    assert text.startswith("12 jobs failed:\n")
    assert text.count("diverged") == LISTED and "and 2 more" in text
    assert "missing=allow" not in text  # no table waits for them


@pytest.mark.parametrize(
    ("line", "stop"),
    [
        ("lacuna: train: stopped by SIGTERM in epoch 3; run the same command to continue", True),
        ("lacuna: train: interrupted", True),
        ("lacuna: train: diverged", False),
        ("epoch 3/10", False),
    ],
)
def test_jobs_that_somebody_ended_did_not_fail(tmp_path: Path, line: str, stop: bool) -> None:
    (tmp_path / "job.log").write_text(line)
    assert told_to_stop(tmp_path / "job.log") == stop


def test_stopped_run_says_how_to_continue() -> None:
    assert stopped(1, 20) == "stopped; 1 job done, 20 to do; run the same command to continue"
    assert stopped(2, 1, 75.0) == "stopped; 2 jobs done in 75 s, 1 to do; run the same command to continue"


def test_only_what_was_made_is_named() -> None:
    assert made("x", {"cells"}, [], 3) == ""
    assert made("x", {"tables", "figures"}, [], 2).splitlines() == [
        "tables: results/tables/x/",
        "cells that are not in them: 2, see missing.csv",
        "figures: results/figures/x/",
    ]
    assert made("x", {"tuning"}, ["results/tuning/x/tuned.yaml"], 0).splitlines() == [
        "values found: results/tuning/x/tuned.yaml",
        "to run with them: snakemake --profile profiles/local --cores all --configfile results/tuning/x/tuned.yaml",
    ]


def test_end_says_what_was_done_and_in_which_time(tmp_path: Path) -> None:
    assert done(1) == "1 job done" and done(27, 720.0) == "27 jobs done in 12 min"
    told = failures([("ga", str(tmp_path / "none.log"))], 0, False, finished=3, seconds=5.0).splitlines()
    assert told[:2] == ["3 jobs done in 5 s", "1 job failed:"]


def test_report_is_named_where_it_was_asked_for_and_is_there(tmp_path: Path) -> None:
    assert made("x", {"report"}, [], 0, str(tmp_path)) == ""
    (tmp_path / "report").mkdir()
    (tmp_path / "report/x.html").write_text("")
    assert made("x", {"report"}, [], 0, str(tmp_path)) == f"report: {tmp_path}/report/x.html"
    assert made("x", {"cells"}, [], 0, str(tmp_path)) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89.4, "89 s"), (91.0, "2 min"), (5340.0, "89 min"), (7260.0, "2 h 1 min"), (180000.0, "2 d 2 h")],
)
def test_durations_are_short_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
