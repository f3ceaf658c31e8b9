"""bench/: what is compared does the same work, and one command lists and runs the measurements."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from places import ROOT

sys.path.insert(0, str(ROOT))

from bench import __main__ as suite
from bench import dag, default_job, measure, naive, speed
from lacuna.evaluation import Cell, evaluate
from lacuna.models.inference import logits


@pytest.fixture(scope="module")
def subject():
    return speed.Subject("resnet8", 80)


def test_plain_and_ours_see_the_same_images_and_give_the_same_predictions(subject):
    for part, (x, y) in subject.parts.items():
        ours = logits(subject.model, subject.data, part).softmax(1)
        torch.testing.assert_close(naive.predictions(subject.plain, x, y), ours, rtol=0, atol=1e-5)


def test_plain_evaluation_has_our_accuracies(subject):
    told = naive.evaluate(subject.plain, subject.parts)
    parts = {part: (logits(subject.model, subject.data, part).numpy(), y) for part, (_, y) in subject.parts.items()}
    ours = evaluate(Cell.of(**parts), metrics=["UA", "RA", "TA"])
    assert (100 - 100 * told["forget"], 100 * told["retain"], 100 * told["test"]) == pytest.approx(
        (ours["UA"], ours["RA"], ours["TA"])
    )


def test_an_epoch_of_either_goes_over_the_same_images(subject):
    images = subject.whole.index("retain").tolist()
    drawn = torch.cat([draw.index for draw in subject.whole.draws("retain", 32, 0, 0)])
    assert sorted(drawn.tolist()) == images == list(range(80))
    assert sum(len(y) for _, y in naive.batches(subject.x[:80], subject.y[:80], 32, augmented=True)) == 80


def test_a_share_counts_three_passes_of_every_image(subject):
    from lacuna.models.cost import macs

    flops = 6 * macs(subject.model, (3, 32, 32)) * 80
    assert speed.share(subject.model, 80, 2.0, flops / 1e9) == 0.5


def test_ways_take_turns_and_ratios_are_of_the_same_turn(monkeypatch):
    order, clock = [], iter(np.cumsum([0, 4, 0, 2, 0, 9, 0, 3]))
    monkeypatch.setattr(measure.time, "process_time", lambda: float(next(clock)))
    taken = measure.taking_turns({"plain": lambda: order.append("p"), "ours": lambda: order.append("o")}, 2)
    assert order == list("popopo")
    assert measure.ratios(taken, "plain") == {"ours": {"median": 2.5, "min": 2.0, "max": 3.0}}


def test_the_suite_lists_every_file_and_names_the_nearest(tmp_path):
    known = suite.measurements()
    assert {"limits", "speed", *suite.SHORT} <= known.keys()
    assert not {"naive", "measure"} & known.keys()
    assert all(known.values())
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "limts"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "did you mean 'limits'?" in done.stderr) == (1, True)


def test_results_of_a_run_lie_in_one_file_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite, "result_of", lambda name: {"of": name})
    monkeypatch.setattr(sys, "argv", ["bench", "run", "limits", "speed", "--json", str(tmp_path / "all.json")])
    suite.main()
    assert json.loads((tmp_path / "all.json").read_text()) == {"limits": {"of": "limits"}, "speed": {"of": "speed"}}
    assert capsys.readouterr().out == ""


def test_the_plan_of_a_large_grid_is_measured_batch_by_batch():
    """Ten cells in batches of five: the first, and that of the tables, for which the files it reads are put there."""
    told = dag.large(10, [1, 3], 5)
    assert (told["cells"], told["cells of a batch"], told["batches"]) == (10, 5, 3)
    first, last = told["batch 1"], told["batch 3"]
    # five cells at their states, each unlearned and evaluated, with split, forget set and models
    assert first["jobs"] > 15 > last["jobs"] > 5
    assert first["peak_mb"] > 50 < last["peak_mb"] and told["counting"]["peak_mb"] > 50


def test_a_batch_whose_process_dies_ends_the_measurement():
    with pytest.raises(SystemExit, match="batch 1: its process ended before the batch had"):
        dag.apart(SimpleNamespace(one=lambda number: os._exit(1)), 1)


def test_the_tables_of_two_commits_agree_but_for_what_is_named():
    cells = pd.DataFrame([[*"dmrscpxu", metric, value] for metric, value in (("UA", "1.0"), ("RA", "2.0"), ("s", "3"))])
    cells.columns = [*default_job.KEY, "value"]
    other = cells.assign(value=["1.0", "2.0000001", "3"])
    assert default_job.different(cells, cells.sample(frac=1, random_state=0)) == {}
    assert default_job.different(cells, other) == {"RA": 1}
    assert default_job.different(cells, cells[:2]) == {"s": 1}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="compares commits")
def test_two_commits_lie_in_folders_of_their_own_that_go_away_and_take_turns(monkeypatch):
    ran, seconds = [], iter([4.0, 1.0, 4.0, 2.0, 4.0, 3.0])

    def run(folder):
        assert (folder / "Snakefile").exists()
        (folder / default_job.CELLS).parent.mkdir(parents=True, exist_ok=True)
        (folder / default_job.CELLS).write_text(
            ",".join([*default_job.KEY, "value"]) + f"\n,,,,,,,,UA,{len(set(ran))}\n"
        )
        ran.append(folder)
        return {"cpu": next(seconds), "wall": 1.0}

    monkeypatch.setattr(default_job, "run", run)
    monkeypatch.setattr(default_job, "python", lambda folder, *_: None)
    told = default_job.compare(["HEAD", "HEAD^0"], 3)
    assert ran == ran[:2] * 3
    assert not any(folder.exists() for folder in ran)
    assert told["ratio"] == {"median": 0.5, "min": 0.25, "max": 0.75}
    assert told["HEAD"]["cpu_s"] == {"median": 4.0, "min": 4.0, "max": 4.0}
    assert told["values"] == 1
