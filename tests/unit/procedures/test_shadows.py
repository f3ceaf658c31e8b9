"""Shadow models: which half each sees, and that a job gives the same whether or not it was stopped."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import data, network, same, state

from lacuna.errors import LacunaError
from lacuna.evaluation.population import Pool
from lacuna.experiment.shadow_plan import Shadows, half_of, models_of
from lacuna.fields import build
from lacuna.models.inference import logits, state_of
from lacuna.predictions import margin
from lacuna.procedures.shadows import answers, make_resumably, pool_arrays, pruned, remove_parts, restricted, trained
from lacuna.pruning.omp import MagnitudePruning
from lacuna.training.recipe import Recipe

RECIPE = Recipe(epochs=2, batch_size=16, lr=0.05, rewind_epoch=1, crop=0, flip=False, schedule="constant")
POOL = np.arange(100, 161)

# ---- the plan --------------------------------------------------------------------------------------------------------


def test_pairs_divide_the_pool():
    """Every sample is in exactly half of the models; halves differ from pair to pair, seed to seed and dataset."""
    halves = {i: half_of(POOL, i, 0, "d") for i in range(8)}
    for pair in range(4):
        one, other = halves[2 * pair], halves[2 * pair + 1]
        assert (len(one), len(other)) == (30, 31)
        assert sorted([*one, *other]) == POOL.tolist()
        assert one.tolist() == sorted(one)
    distinct = [halves[i] for i in range(0, 8, 2)] + [half_of(POOL, 0, 1, "d"), half_of(POOL, 0, 0, "e")]
    assert len({h.tobytes() for h in distinct}) == 6


def test_half_does_not_hang_on_the_order_of_the_pool_or_the_other_models():
    np.testing.assert_array_equal(half_of(POOL, 5, 0, "d"), half_of(POOL[::-1].copy(), 5, 0, "d"))


def test_membership_is_a_fair_coin():
    """Over many pairs each sample is in the first half in about half of the cases, and no two samples go together."""
    member = np.array([np.isin(POOL, half_of(POOL, 2 * k, 0, "d")) for k in range(2000)])
    assert np.abs(member.mean(0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(2000)
    together = np.corrcoef(member.T)[np.triu_indices(len(POOL), 1)]
    assert np.abs(together + 1 / 60).max() < 5 / np.sqrt(2000)


@pytest.mark.parametrize(
    ("models", "per_job", "jobs"),
    [
        (8, 4, ("0-3", "4-7")),
        (8, 3, ("0-2", "3-5", "6-7")),
        (6, 64, ("0-5",)),
        (6, 1, ("0-0", "1-1", "2-2", "3-3", "4-4", "5-5")),
    ],
)
def test_jobs_cover_all_models_once(models, per_job, jobs):
    plan = Shadows(models=models, per_job=per_job)
    assert plan.jobs() == jobs
    assert [i for job in plan.jobs() for i in models_of(job)] == list(range(models))


def test_more_models_keep_the_jobs_that_are_there():
    few, many = (Shadows(models=m, per_job=4).jobs() for m in (8, 64))
    assert many[:2] == few


@pytest.mark.parametrize(("models", "said"), [(4, "4 is not"), (7, "7 is not"), (8.5, "8.5 is not")])
def test_models_are_an_even_number_that_suffices(models, said):
    with pytest.raises(LacunaError, match=f"{said} allowed; allowed: a whole number >= 6 and divisible by 2"):
        build(Shadows, {"models": models}, "grid.shadows")


# ---- what each model is given ----------------------------------------------------------------------------------------


def test_a_shadow_model_sees_its_half_alone():
    given = data()
    half = np.sort(np.concatenate([given.parts["retain"][:20], given.parts["forget"][:5]]))
    own = restricted(given, half, "here")
    assert own.parts["retain"].tolist() == given.parts["retain"][:20].tolist()
    assert own.parts["forget"].tolist() == given.parts["forget"][:5].tolist()
    assert own.parts["val"] is given.parts["val"] and own.parts["test"] is given.parts["test"]
    assert len(given.parts["retain"]) == 40, "the whole is as it was"


def test_a_half_without_anything_to_forget_is_refused():
    given = data()
    with pytest.raises(LacunaError, match=r"^shadow model 3: none of the 12 samples of 'forget' is in its half; allo"):
        restricted(given, given.parts["retain"].numpy(), "shadow model 3")


def test_the_other_half_does_not_matter():
    """Other images and labels outside the half give the same original, bit for bit."""
    given = data()
    given = dataclasses.replace(given, parts={"retain": given.parts["retain"]})
    half = np.sort(given.parts["retain"][:20].numpy())
    outside = torch.ones(len(given.labels), dtype=torch.bool)
    outside[half] = False
    images, labels = given.images.clone(), given.labels.clone()
    images[outside], labels[outside] = 255 - images[outside], (labels[outside] + 1) % 3
    found = []
    for x, y in ((given.images, given.labels), (images, labels)):
        model = network()
        own = restricted(dataclasses.replace(given, images=x, labels=y), half, "here")
        dense = (trained(model, RECIPE, own, 5).snapshot, state_of(model))
        mask, _ = pruned(model, dense[::-1], MagnitudePruning(), "0.50", RECIPE, own, (5, 6))
        found.append((state(model), mask))
    assert same(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    assert found[0][1].sparsity == 0.5


def test_pruning_starts_from_the_initialisation_of_the_training():
    """A pruner that goes back to θ_0 finds the weights that the dense training began with."""
    given, model, seen = data(), network(), []

    class Spy:
        def prune(self, model, origin, *rest, **more):
            seen.append((origin, rest))
            return None, None

    # rewind epoch 0: the snapshot is the initialisation
    first = trained(model, dataclasses.replace(RECIPE, rewind_epoch=0), given, 5).snapshot
    pruned(model, (state_of(model), first), Spy(), "0.50", RECIPE, given, (5, 6))
    assert same(seen[0][0].initial, first)
    assert seen[0][1] == ("0.50", RECIPE, given)


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_answers_are_margins_of_every_part():
    given, model = data(), network().eval()
    found = answers(model, given, "here")
    assert set(found) == {f"{kind}/{part}" for kind in ("phi", "correct") for part in given.parts}
    for part, index in given.parts.items():
        x, y = logits(model, given, part).numpy(), given.labels[index].numpy()
        np.testing.assert_array_equal(found[f"phi/{part}"], margin(x, y).astype(np.float32))
        np.testing.assert_array_equal(found[f"correct/{part}"], x.argmax(1) == y)


def test_answer_that_is_not_finite_names_model_part_and_sample():
    given, model = data(), network()
    with torch.no_grad():
        model.fc.bias[1] = torch.nan
    why = r"'retain': the logits of sample 0 are not finite"
    said = rf"^shadow model 3: diverged \({why}\); try a smaller lr or fewer epochs$"
    with pytest.raises(LacunaError, match=said):
        answers(model, given, "shadow model 3")


def test_jobs_make_a_pool():
    """Answers of six models in two files; membership is that of the halves."""
    given = data()
    parts = {part: index.numpy() for part, index in given.parts.items()}
    pool_of = np.concatenate([parts["retain"], parts["forget"]])
    halves = {i: half_of(pool_of, i, 0, "d") for i in range(6)}
    made = {i: answers(network(seed=i).eval(), given, "") | {"seconds": np.array(1.0)} for i in range(6)}
    jobs = {}
    for job in Shadows(models=6, per_job=4).jobs():
        mine = {i: made[i] for i in models_of(job)}
        jobs[job] = pool_arrays(mine, halves, parts, "hash")
    pool = Pool.from_jobs(jobs)
    for i in range(6):
        np.testing.assert_array_equal(pool.phi["forget"][i], made[i]["phi/forget"])
        for part in ("retain", "forget"):
            assert pool.member[part][i].tolist() == [sample in halves[i] for sample in parts[part]]
    assert pool.population().shape == (6, 20)


# ---- going on after an interruption ----------------------------------------------------------------------------------


class Stopped(Exception):
    pass


def maker(calls, stop_at=None):
    def make(i):
        if i == stop_at:
            raise Stopped
        calls.append(i)
        return {"value": np.full(3, i)}

    return make


def test_a_stopped_job_goes_on_where_it_was(tmp_path):
    calls, output = [], tmp_path / "4-7.npz"
    with pytest.raises(Stopped):
        make_resumably(range(4, 8), maker(calls, stop_at=6), output, "a run")
    assert calls == [4, 5]
    made = make_resumably(range(4, 8), maker(calls), output, "a run")
    assert calls == [4, 5, 6, 7]
    assert {i: arrays["value"].tolist() for i, arrays in made.items()} == {i: [i] * 3 for i in range(4, 8)}
    remove_parts(range(4, 8), output)
    assert list(tmp_path.iterdir()) == []


def test_what_another_run_kept_or_what_is_damaged_is_made_anew(tmp_path):
    calls, output = [], tmp_path / "0-1.npz"
    make_resumably(range(2), maker(calls), output, "a run")
    make_resumably(range(2), maker(calls), output, "another run")
    assert calls == [0, 1, 0, 1]
    part = next(path for path in tmp_path.iterdir() if "1" in path.name)
    part.write_bytes(part.read_bytes()[:-1])
    make_resumably(range(2), maker(calls), output, "another run")
    assert calls == [0, 1, 0, 1, 1]
