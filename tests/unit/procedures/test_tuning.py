"""Tuning: blind, on one budget for all, continued where it stopped; and the overlay that comes of it."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
import yaml
from places import ROOT
from tiny import data, network

from lacuna.errors import LacunaError
from lacuna.experiment.config import load
from lacuna.experiment.overlay import HOW_TO_RUN, as_yaml, with_winning_values, without_how_to_run
from lacuna.fields import resolve, schema_of
from lacuna.procedures import tuning
from lacuna.procedures.tuning import VISIBLE, Accuracies, Axis, Start, Tuning, proposed, score, space_of, tune
from lacuna.unlearning import UNLEARNERS

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
TUNABLE = [n for n, cls in UNLEARNERS.items() if not cls.oracle and n != "original"]


def values_of(method, **given):
    return resolve(schema_of(UNLEARNERS[method]), given, method)


FT = values_of("ft", epochs=1, batch_size=16)


def blind(source):
    return dataclasses.replace(source, parts={part: source.parts[part] for part in VISIBLE})


def start(source=None, model=None, judged="like val", forgotten=None, number=0):
    source = source or blind(data())
    forgotten = np.zeros(len(source.parts["val"]), bool) if forgotten is None else forgotten
    return Start({"seed": number}, model or network(), source, judged, forgotten, {}, number)


def search(tmp_path, method="ft", values=FT, trials=4, starts=None, log=lambda line: None, seed=0, fingerprint="a"):
    starts = starts or [start(), start(number=1)]
    kept = tmp_path / f".trials.{method}.json"
    return tune(method, values, starts, Tuning(trials=trials), seed=seed, store=kept, fingerprint=fingerprint, log=log)


def timeless(study):
    """Without the seconds."""
    study = copy.deepcopy(study)
    for trial in study["trials"]:
        for part in trial["parts"]:
            del part["seconds"]
    return study


# ---- the space ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", TUNABLE)
def test_every_method_can_be_searched_around_its_own_values(method):
    """From the centre, which is coordinate 0, every coordinate leads to an allowed value and back."""
    values = values_of(method)
    axes = space_of(UNLEARNERS[method], values, 100.0)
    assert axes
    properties = schema_of(UNLEARNERS[method])["properties"]
    for name, axis in axes.items():
        assert axis.value(axis.coordinate(values[name])) == values[name] == axis.centre
        assert axis.choices or axis.coordinate(values[name]) == 0
        for at in axis.choices or np.linspace(-axis.width, axis.width, 9):
            value = axis.value(at)
            resolve({"properties": {name: properties[name]}}, {name: value}, name)
            if not axis.choices and at:
                assert axis.coordinate(value) == pytest.approx(at, abs=0.02)
    assert not {"epochs", "batch_size", "variant"} & set(axes), "the cost of a trial, or another method"


def test_numbers_reach_from_a_hundredth_to_a_hundredfold_and_shares_stay_inside():
    rate, share = (Axis(c, odds=o, width=math.log(100)) for c, o in ((0.02, False), (0.95, True)))
    assert (rate.value(-rate.width), rate.value(rate.width)) == (0.0002, 2.0)
    # odds 19 to 0.19 and 1900
    assert (share.value(-share.width), share.value(share.width)) == (0.16, 0.999474)


def test_untouched_model_has_nothing_to_search(tmp_path):
    assert space_of(UNLEARNERS["original"], {}, 100.0) == {}
    with pytest.raises(LacunaError, match="original: nothing can be searched"):
        search(tmp_path, "original", {})


# ---- proposals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("best", [0.0007, 0.9])
def test_planted_best_value_is_found(best):
    """Far from the centre, through a score that knows only how far off a trial is, within 30 trials of 4 decades."""
    axes = {"lr": Axis(0.02, width=math.log(100)), "schedule": Axis("constant", choices=("constant", "cosine"))}
    trials = []
    while len(trials) < 30:
        chosen = proposed(axes, trials, seed=1)
        off = abs(math.log10(chosen["lr"] / best)) + (chosen["schedule"] != "cosine")
        trials.append({"values": chosen, "score": -off})
    winner = max(trials, key=lambda t: t["score"])
    assert winner["values"]["schedule"] == "cosine" and 0.7 < winner["values"]["lr"] / best < 1.4
    assert trials[0]["values"] == {"lr": 0.02, "schedule": "constant"}, "those of the grid come first"
    assert len({t["values"]["lr"] for t in trials[:9]}) == 9, "no draw is made twice"


def test_proposal_hangs_on_the_trials_before_and_the_seed_alone():
    axes = {"lr": Axis(0.02, width=math.log(100))}
    trials = [{"values": {"lr": 0.02 * 1.3**k}, "score": float(k)} for k in range(12)]
    first = proposed(axes, trials, seed=1)
    assert proposed(axes, trials, seed=1) == first
    assert proposed(axes, trials, seed=2) != first
    assert proposed(axes, trials[:-1], seed=1) != first


@pytest.mark.parametrize(("trials", "hangs"), [(7, False), (12, True)])
def test_the_first_eight_values_hang_on_no_score(trials, hangs):
    """So a search of at most eight trials that is scored anew needs no trial anew."""
    axes = {"lr": Axis(0.02, width=math.log(100))}
    values = [{"lr": 0.02 * 1.3**k} for k in range(trials)]
    rising, falling = (
        proposed(axes, [{"values": v, "score": sign * k} for k, v in enumerate(values)], seed=1) for sign in (1.0, -1.0)
    )
    assert (rising != falling) == hangs


# ---- the search -----------------------------------------------------------------------------------------------------


def test_every_method_has_the_same_budget(tmp_path):
    """As many trials, each on every start, whatever a method is; one that diverges counts."""
    for method, given in (("ft", {"epochs": 1}), ("ga", {"epochs": 2}), ("ssd", {}), ("scrub", {"epochs": 1})):
        study = search(tmp_path, method, values_of(method, **given))
        assert [len(t["parts"]) for t in study["trials"]] == [2] * 4
        assert study["trials"][0]["values"].items() <= values_of(method, **given).items()
        assert study["best"] == max(range(4), key=lambda k: study["trials"][k]["score"])


def test_diverged_trial_is_the_worst_and_the_search_goes_on(tmp_path):
    study = search(tmp_path, values=FT | {"lr": 1e30})
    assert study["trials"][0]["score"] == 0 and "diverged in epoch 1" in study["trials"][0]["parts"][0]["failed"]
    assert len(study["trials"]) == 4


def test_of_equal_scores_the_grid_s_own_values_win(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "score", lambda *_: 50.0)
    assert search(tmp_path)["best"] == 0


@pytest.mark.parametrize("after", [1, 3])
def test_stopped_search_goes_on_and_ends_the_same(tmp_path, monkeypatch, after):
    """A finished trial is not run again, whichever it was, and the outcome is that of a search that never stopped."""
    whole = search(tmp_path / "whole", trials=10)
    runs = []
    real = tuning.unlearn
    monkeypatch.setattr(tuning, "unlearn", lambda *a, **o: runs.append(o["lr"]) or real(*a, **o))

    def stop(line):
        if line.startswith(f"trial {after - 1} "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, trials=10, log=stop)
    assert len(runs) == 2 * after
    resumed = search(tmp_path, trials=10)
    assert timeless(resumed) == timeless(whole) and len(runs) == 2 * 10


def test_what_another_search_left_is_not_taken(tmp_path):
    first = search(tmp_path)
    other = search(tmp_path, values=FT | {"lr": 0.5}, fingerprint="b")
    assert other["trials"][0]["values"]["lr"] == 0.5 != first["trials"][0]["values"]["lr"]
    (tmp_path / ".trials.ft.json").write_text("{")
    assert timeless(search(tmp_path)) == timeless(first)


def test_more_trials_continue_a_search(tmp_path):
    few = search(tmp_path, trials=3)
    many = search(tmp_path, trials=5)
    assert many["trials"][:3] == few["trials"], "seconds included: they did not run again"


def test_seed_of_the_search_decides_the_proposals(tmp_path):
    a, b = (search(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    assert a["trials"][0]["values"] == b["trials"][0]["values"] and a["trials"][1]["values"] != b["trials"][1]["values"]


# ---- blindness ------------------------------------------------------------------------------------------------------


def test_a_start_that_sees_the_test_set_cannot_be_made():
    with pytest.raises(ValueError, match="a trial sees retain, forget, val, test"):
        start(source=data())


def test_nothing_of_the_test_set_reaches_a_study(tmp_path):
    """With garbage for every test image and label a study is the same, bit for bit."""
    source = data()
    images, labels = source.images.clone(), source.labels.clone()
    images[source.parts["test"]], labels[source.parts["test"]] = 255, 0
    spoilt = dataclasses.replace(source, images=images, labels=labels)
    studies = [search(tmp_path / k, starts=[start(blind(s))]) for k, s in (("a", source), ("b", spoilt))]
    assert timeless(studies[0]) == timeless(studies[1])
    images[source.parts["val"]] = 255
    assert timeless(search(tmp_path / "c", starts=[start(blind(spoilt))])) != timeless(studies[0])


# ---- the score ------------------------------------------------------------------------------------------------------


class Saying(torch.nn.Module):
    """Answers each image as it is told, by the image's only pixel."""

    def __init__(self, answers):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.answers = torch.as_tensor(answers)

    def forward(self, x):
        return torch.nn.functional.one_hot(self.answers[x.flatten(1)[:, 0].round().long()], 3).float() * self.scale


def judged(answers, labels, judged, before=100.0, forgotten=None, retain=100.0):
    """The score of a model with these answers; the last four of ten samples are the forget set, the first six val.

    before, retain: accuracies of the original model on val and on D_r, which is sample 0 alone.
    """
    x = torch.arange(10.0).reshape(10, 1, 1, 1)
    parts = {"retain": torch.arange(1), "forget": torch.arange(6, 10), "val": torch.arange(6)}
    source = data()
    source = dataclasses.replace(source, images=x, labels=torch.as_tensor(labels), parts=parts, classes=3)
    gone = np.isin(labels[:6], [] if forgotten is None else [forgotten])
    now = Accuracies.of(start(source, judged=judged, forgotten=gone), Saying(answers))
    return score(judged, now, Accuracies(retain, 100.0, before, None))


def test_score_of_a_forgotten_part_of_the_label_space():
    """Full marks for the kept classes known and the forgotten one never answered; half for either alone."""
    labels = [0, 0, 1, 1, 2, 2, 2, 2, 2, 2]
    assert judged([0, 0, 1, 1, 0, 1, 0, 1, 0, 1], labels, "forgotten part", forgotten=2) == 100
    assert judged([0, 0, 1, 1, 2, 2, 2, 2, 2, 2], labels, "forgotten part", forgotten=2) == 50
    assert judged([1, 1, 0, 0, 2, 0, 0, 1, 1, 2], labels, "forgotten part", forgotten=2, retain=0) == 25


def test_a_class_that_is_still_known_by_heart_is_not_forgotten():
    """Neither D_f alone nor the other samples of its class alone: retraining is wrong about both."""
    labels = [0, 0, 1, 1, 2, 2, 2, 2, 2, 2]
    assert judged([0, 0, 1, 1, 0, 1, 2, 2, 2, 2], labels, "forgotten part", forgotten=2) == 50
    assert judged([0, 0, 1, 1, 2, 2, 0, 1, 0, 1], labels, "forgotten part", forgotten=2) == 50
    assert judged([0, 0, 1, 1, 0, 1, 2, 1, 0, 1], labels, "forgotten part", forgotten=2) == 87.5


def test_score_of_a_sample_like_any_other():
    """Full marks where D_f is answered as often as the validation set and nothing was lost."""
    labels = [0, 0, 1, 1, 2, 2, 0, 0, 1, 1]
    exact = [0, 0, 1, 2, 0, 1, 0, 1, 0, 2]  # validation 3/6, D_f 1/4
    assert judged(exact, labels, "like val", before=50) == 100 - 25
    assert judged(exact, labels, "like val", before=60) == pytest.approx(100 - 25 - 10)
    assert judged(exact, labels, "like val", before=10) == 75, "a gain is no merit"
    assert judged([0, 0, 1, 2, 0, 1, 0, 0, 0, 2], labels, "like val", before=50) == 100
    assert judged([1, 1, 0, 0, 0, 0, 0, 0, 1, 1], labels, "like val", retain=0) == 0, "at the least"


def test_score_of_poisoned_samples():
    labels = [0, 0, 1, 1, 2, 2, 0, 0, 0, 0]
    assert judged([0, 0, 1, 1, 2, 2, 1, 1, 2, 2], labels, "poisoned") == 100
    assert judged([0, 0, 1, 1, 2, 2, 0, 0, 0, 0], labels, "poisoned") == 50


@pytest.mark.parametrize("kind", ["forgotten part", "poisoned", "like val"])
def test_accuracy_that_retained_samples_lost_is_taken_from_every_score(kind):
    """A network that has learnt by heart can lose D_r and keep its validation accuracy: that is no unlearning."""
    before = Accuracies(retain=100.0, forget=100.0, val=50.0, gone=50.0)
    kept, lost, gained = (Accuracies(retain, 50.0, 50.0, 50.0) for retain in (100.0, 44.0, 100.0))
    assert score(kind, kept, before) - score(kind, lost, before) == pytest.approx(min(56.0, score(kind, kept, before)))
    assert score(kind, gained, dataclasses.replace(before, retain=90.0)) == score(kind, kept, before), "no merit"


# ---- the config and the overlay -------------------------------------------------------------------------------------

GRID = {
    "datasets": {"digits": {}, "more": {"method": "digits"}},
    "models": {"resnet8": {}},
    "recipes": {"short": {"epochs": 5, "rewind_epoch": 1}},
    "seeds": [0, 1],
    "scenarios": {"random": {"fraction": 0.1}},
    "pruners": {"omp": {}},
    "sparsities": ["dense", 0.9],
    "unlearners": {"retrain": {}, "ft": None, "slow": {"method": "ga", "lr": 1e-5}, "slow_tuned": {"method": "ga"}},
    "unprune": [{"unlearner": ["ft", "slow"], "p": 10, "rounds": 1}, {"label": "mine", "unlearner": "ft"}],
}
BASE = {"name": "mine", "device": "cpu", "grid": GRID, "metrics": ["UA"], "tuning": {"trials": 3}}


def loaded(tmp_path, known, text):
    path = tmp_path / "experiment.yaml"
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
    return load([path], {"device": "cpu"}, SCHEMA, known)


def test_overlay_is_the_experiment_with_the_winning_values(tmp_path, known):
    before = loaded(tmp_path, known, BASE)
    place = {"dataset": "more", "model": "resnet8", "recipe": "short"}
    made = with_winning_values(
        before.config, place, {"ft": {"lr": 0.123, "schedule": "cosine"}, "slow": {"lr": 2e-7}, "slow_tuned": {}}
    )
    after = loaded(tmp_path, known, as_yaml(made, "found by a search\nof two lines"))
    assert after.name == "mine_tuned" and list(after.axes["datasets"]) == ["more"] and after.tuning is None
    winners = after.axes["unlearners"]
    # a label that is taken is not taken again
    assert list(winners) == ["retrain", "ft_tuned", "slow_tuned_tuned", "slow_tuned"]
    assert winners["ft_tuned"].values == before.axes["unlearners"]["ft"].values | {"lr": 0.123, "schedule": "cosine"}
    assert winners["slow_tuned_tuned"].method == "ga" and winners["slow_tuned_tuned"].values["lr"] == 2e-7
    assert winners["slow_tuned"] == before.axes["unlearners"]["slow_tuned"], (
        "the grid's values won: its cells are shared"
    )
    around = [entry.values["unlearner"] for entry in after.axes["unprune"].values()]
    assert around == ["ft_tuned", "slow_tuned_tuned", "ft_tuned"]
    for axis in ("states", "seeds", "metrics", "figures"):
        assert getattr(after, axis) == getattr(before, axis)
    assert BASE["grid"]["unlearners"]["ft"] is None, "what was given is untouched"


def test_how_a_search_was_run_is_no_part_of_what_it_found(tmp_path, known):
    """No path of a machine in its overlay, and nothing of it runs again on another disk or device."""
    how = {"device": "cpu", "images": "host", "missing": "allow", "results": "/scratch/me", "snakemake_patches": []}
    assert set(how) == set(HOW_TO_RUN)
    given = loaded(tmp_path, known, BASE | how).config
    place = {"dataset": "more", "model": "resnet8", "recipe": "short"}
    assert not set(how) & {*with_winning_values(given, place, {}), *without_how_to_run(given)}
    assert without_how_to_run(given) == without_how_to_run(loaded(tmp_path, known, BASE).config)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"seeds": [5, 1]},
            "tuning.seeds: 1 is in grid.seeds too; allowed: at least one seed, and none of the experiment",
        ),
        ({"seeds": []}, "tuning.seeds: [] is not allowed"),
        ({"span": 1}, "tuning.span: 1 is not allowed; allowed: a number > 1"),
        ({"trials": 0}, "tuning.trials: 0 is not allowed"),
        ({"budget": 3}, "tuning: unknown key 'budget'; allowed: trials, seeds, span"),
    ],
)
def test_bad_tuning_is_refused_while_planning(tmp_path, known, given, sentence):
    with pytest.raises(LacunaError) as error:
        loaded(tmp_path, known, BASE | {"tuning": given})
    assert str(error.value).startswith(sentence)


def test_hard_forget_sets_cannot_be_judged(tmp_path, known):
    hard = {"method": "hardest", "fraction": 0.1, "model": "resnet8", "recipe": "short"}
    grid = GRID | {"scenarios": {"random": {"fraction": 0.1}, "hard": hard}}
    with pytest.raises(LacunaError, match=r"^tuning: scenario 'hard' \(hardest\) cannot be judged without an oracle"):
        loaded(tmp_path, known, BASE | {"grid": grid})
    assert loaded(tmp_path, known, {k: v for k, v in BASE.items() if k != "tuning"} | {"grid": grid})


def test_tuning_has_defaults_and_is_off_by_default(tmp_path, known):
    assert loaded(tmp_path, known, BASE | {"tuning": None}).tuning == {"trials": 16, "seeds": [100, 101], "span": 100.0}
    assert loaded(tmp_path, known, {k: v for k, v in BASE.items() if k != "tuning"}).tuning is None
