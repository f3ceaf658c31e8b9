"""What pages tell of the default experiment's jobs is what its plan has."""

import collections
import re

import pytest
from places import ROOT

from lacuna.commands.launch import SCHEMA
from lacuna.commands.standing import STAGES, stage_of
from lacuna.experiment.config import load
from lacuna.experiment.jobs import Job, Jobs


@pytest.fixture(scope="module")
def jobs(known) -> list[Job]:
    return list(Jobs(load([ROOT / "config/config.yaml"], {}, SCHEMA, known), known).reads)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("page", "pattern"),
    [
        ("docs/tutorial.md", r"Snakemake plans (\d+) jobs"),
        ("docs/tutorial.md", r"^digits: .* cells done; (\d+) of \1 jobs$"),
        ("docs/tutorial.md", r"^\[\d+ of (\d+) jobs, .*\]"),
        ("docs/reproducibility.md", r"of the (\d+) jobs of 'digits'"),
    ],
)
def test_pages_tell_as_many_jobs_as_the_plan_has(jobs, page, pattern):
    told = re.findall(pattern, text_of(page), re.MULTILINE)
    assert told and {int(number) for number in told} == {len(jobs)}


def test_the_tutorials_screen_of_a_finished_run_has_all_stages(jobs):
    stages = collections.Counter(stage_of(job.rule) for job in jobs)
    screen = text_of("docs/tutorial.md").partition("$ lacuna status\n")[2].partition("```")[0]
    told = re.findall(r"^  (\w+) +\[#+\]  (\d+) of (\d+)$", screen, re.MULTILINE)
    assert told == [(stage, str(stages[stage]), str(stages[stage])) for stage in STAGES if stages[stage]]
    cells = sum(job.rule == "evaluate" for job in jobs)
    assert f"digits: {cells} of {cells} cells done; " in screen
