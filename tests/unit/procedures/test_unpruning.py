"""Un-pruning: what grows, what stays, and what must come out when nothing grows."""

import os
import signal

import pytest
import torch
from tiny import data, network, same, state

from lacuna.data.batches import Augment
from lacuna.errors import LacunaError
from lacuna.procedures import unpruning
from lacuna.procedures.unpruning import SMALL, unprune
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.pruning.filter_l2 import FilterL2
from lacuna.pruning.omp import MagnitudePruning
from lacuna.pruning.random import RandomPruning
from lacuna.sparsity.mask import Mask
from lacuna.training.checkpoints import Checkpoint, Interrupted
from lacuna.training.objective import Objective
from lacuna.unlearning import UNLEARNERS, unlearn

SOURCE = data(augment=Augment(1))
FT = {"epochs": 2, "batch_size": 16, "lr": 0.05}
GA = {"epochs": 2, "batch_size": 6, "lr": 0.01}
INITIAL = state(network(seed=3))


@pytest.fixture(scope="module")
def sparse():
    """A network that is not its θ_0, and its mask."""
    model = network()
    mask = Mask.from_scores(magnitude(model), "0.70")
    mask.apply(model)
    return model, mask


def run(sparse, method="ft", hyperparameters=None, initial=INITIAL, seed=1, source=SOURCE, **options):
    model, mask = sparse
    given = {"mask": mask, "pruner": MagnitudePruning(), "sparsity": "0.70"} | options
    hyperparameters = FT if hyperparameters is None else hyperparameters
    return unprune(method, model, source, initial=initial, hyperparameters=hyperparameters, seed=seed, **given)


def removed(mask):
    return sum(int((~mask[n]).sum()) for n in mask)


@pytest.fixture
def stages(monkeypatch):
    """Every call of the inner unlearner: the weights and the mask that it was given, and what it gave back."""
    seen = []

    def spy(method, model, source, **options):
        outcome = unlearn(method, model, source, **options)
        seen.append((state(model), options["mask"], state(outcome.model), options))
        return outcome

    monkeypatch.setattr(unpruning, "unlearn", spy)
    return seen


# ---- nothing grows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [{"rounds": 0}, {"p": 0, "rounds": 1}, {"p": 0, "rounds": 1, "when": "each_round"}])
@pytest.mark.parametrize(("method", "values"), [("ft", FT), ("ga", GA), ("rl", FT)])
def test_without_growth_it_is_the_unlearner(sparse, nothing, method, values):
    model, mask = sparse
    plain = unlearn(method, model, SOURCE, mask=mask, seed=1, **values)
    outcome = run(sparse, method, values, **nothing)
    assert same(state(outcome.model), state(plain.model))
    assert outcome.mask == mask
    assert outcome.fit.facts == {"grown": 0.0, "exchanged": 0.0} | plain.fit.facts
    assert plain.fit.facts["unchanged"] == 0.0


@pytest.mark.parametrize(("p", "same"), [(0, True), (30, False)])
def test_a_model_that_comes_back_as_it_was_is_marked_as_unchanged(sparse, p, same):
    """As a cell of a method is; what a growth exchanged in the mask is a change though no step was made."""
    said = []
    outcome = run(sparse, "ssd", {"alpha": 1e9}, p=p, rounds=2, log=said.append)
    facts = outcome.fit.facts
    assert (facts["unchanged"], facts["changed"] > 0) == (float(same), not same)
    assert said[-1].startswith(f"unprune ssd: {facts['exchanged']:.0f} weights of the mask exchanged; ")
    assert ("the model is the original bit for bit" in said[-1]) == same


def test_without_growth_rounds_are_the_unlearner_again_and_again(sparse):
    model, mask = sparse
    outcome = run(sparse, p=0, rounds=3)
    assert outcome.mask == mask
    assert outcome.fit.steps == 3 * 2 * SOURCE.steps("retain", 16)
    assert [row["epoch"] for row in outcome.fit.history] == [1, 2, 3, 4, 5, 6]
    first = unlearn("ft", model, SOURCE, mask=mask, seed=1, **FT)
    assert not same(state(outcome.model), state(first.model))


# ---- growth ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [5, 12.5, 60, 100])
def test_the_largest_initial_weights_grow_and_the_others_stay_as_they_were(sparse, stages, p):
    model, mask = sparse
    run(sparse, p=p, rounds=1)
    before, grown = state(model), stages[0][1]
    given = stages[0][0]
    new = {n: grown[n] & ~mask[n] for n in mask}
    assert sum(int(k.sum()) for k in new.values()) == round(p / 100 * removed(mask))
    assert all(bool((grown[n] | ~mask[n]).all()) for n in mask), "nothing that was kept is removed"
    sizes = torch.cat([INITIAL[n][new[n]].abs() for n in mask])
    left = [INITIAL[n][~grown[n]].abs() for n in mask]
    assert p == 100 or sizes.min() > torch.cat(left).max()
    for name, value in given.items():
        if name in mask:
            assert torch.equal(value[mask[name]], before[name][mask[name]]), "surviving weights are not touched"
            assert torch.equal(value[new[name]], INITIAL[name][new[name]])
            assert not value[~grown[name]].any()
        else:
            assert torch.equal(value, before[name])


def test_layer_scope_grows_the_same_share_of_every_layer(sparse, stages):
    model, _ = sparse
    pruner = MagnitudePruning(scope="layer")
    mask = pruner.find_mask(model, "0.70", SOURCE, seed=0)
    # so small in one layer that a global ranking would take the other layer only
    lopsided = INITIAL | {"conv1.weight": INITIAL["conv1.weight"] * 1e-3}
    for scope in ("layer", "global"):
        run((model, mask), initial=lopsided, p=25, rounds=1, pruner=MagnitudePruning(scope=scope))
    by_layer, together = ({n: int((s[1][n] & ~mask[n]).sum()) for n in mask} for s in stages)
    assert by_layer == {n: round(int((~mask[n]).sum()) / 4) for n in mask}
    assert together["conv1.weight"] == 0


def test_each_round_grows_its_share_of_what_is_still_removed(sparse, stages):
    _, mask = sparse
    outcome = run(sparse, p=20, rounds=3)
    expected, left = [], removed(mask)
    for _ in range(3):
        left -= round(0.2 * left)
        expected.append(left)
    assert [removed(grown) for _, grown, _, _ in stages] == expected
    assert outcome.fit.facts["grown"] == removed(mask) - expected[-1]


def test_pruning_after_each_round_grows_the_same_number_again(sparse, stages):
    _, mask = sparse
    run(sparse, p=20, rounds=3, when="each_round")
    assert [removed(grown) for _, grown, _, _ in stages] == [removed(mask) - round(0.2 * removed(mask))] * 3


def test_grown_at_random_is_a_draw_of_its_own_seed(sparse, stages):
    _, mask = sparse
    for seed in (1, 1, 2):
        run(sparse, p=30, rounds=1, grow="random", seed=seed)
    run(sparse, p=30, rounds=1)
    drawn = [grown for _, grown, _, _ in stages]
    assert drawn[0] == drawn[1]
    assert drawn[0] not in drawn[2:]
    assert {removed(m) for m in drawn} == {removed(mask) - round(0.3 * removed(mask))}


def test_grown_weights_may_start_small_and_random(sparse, stages):
    _, mask = sparse
    run(sparse, p=50, rounds=1, reinit="random")
    given, grown, _, _ = stages[0]
    for name in mask:
        new = grown[name] & ~mask[name]
        values, fan = given[name][new], INITIAL[name][0].numel()
        assert values.any() and not torch.equal(values, INITIAL[name][new])
        # the network's own initialisation is uniform in ±1/√fan
        assert values.abs().max() <= SMALL / fan**0.5


# ---- back to the density ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["end", "each_round"])
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(("method", "values"), [("ft", FT), ("ga", GA), ("original", {})])
def test_density_is_restored_and_masked_weights_are_zero_at_every_stage(sparse, stages, when, scope, method, values):
    model, _ = sparse
    pruner = MagnitudePruning(scope=scope)
    mask = pruner.find_mask(model, "0.70", SOURCE, seed=0)
    outcome = run((model, mask), method, values, p=40, rounds=2, when=when, pruner=pruner)
    kept = {n: int(mask[n].sum()) for n in mask}
    if scope == "layer":
        assert {n: int(outcome.mask[n].sum()) for n in mask} == kept
    assert sum(int(outcome.mask[n].sum()) for n in mask) == sum(kept.values())
    assert outcome.mask != mask, "or this test shows nothing"
    assert not outcome.model.training
    for weights, of in [(s, m) for before, m, after, _ in stages for s in (before, after)] + [
        (state(outcome.model), outcome.mask)
    ]:
        assert all(not weights[n][~of[n]].any() for n in of)
    assert outcome.fit.facts["exchanged"] == sum(int((outcome.mask[n] & ~mask[n]).sum()) for n in mask)


def test_what_is_pruned_in_the_end_is_what_the_criterion_ranks_lowest(sparse, stages):
    outcome = run(sparse, p=40, rounds=2)
    _, grown, after, _ = stages[-1]
    kept = torch.cat([after[n][outcome.mask[n]].abs() for n in grown])
    gone = torch.cat([after[n][grown[n] & ~outcome.mask[n]].abs() for n in grown])
    assert len(gone) and kept.min() >= gone.max()
    assert all(torch.equal(state(outcome.model)[n], after[n] * outcome.mask[n]) for n in grown)


def test_criterion_is_the_pruners_own(sparse, stages):
    by_chance = run(sparse, p=40, rounds=1, pruner=RandomPruning())
    assert by_chance.mask != run(sparse, p=40, rounds=1).mask
    assert by_chance.mask == run(sparse, p=40, rounds=1, pruner=RandomPruning()).mask
    grown = stages[0][1]
    assert not any(bool((by_chance.mask[n] & ~grown[n]).any()) for n in grown), "what did not grow stays removed"


def test_fine_tuning_at_the_end_keeps_the_mask(sparse, stages):
    outcome = run(sparse, "ga", GA, p=30, rounds=1, finetune_epochs=1, finetune_lr=0.02, finetune_batch_size=8)
    _, mask, after, options = stages[-1]
    assert {k: options[k] for k in ("epochs", "lr", "batch_size")} == {"epochs": 1, "lr": 0.02, "batch_size": 8}
    assert outcome.mask == mask
    assert same(state(outcome.model), after)
    assert len(stages) == 2
    assert removed(mask) == removed(sparse[1])


# ---- filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("grow", ["initial", "random"])
def test_structured_pruning_grows_and_prunes_whole_filters(stages, grow, scope):
    model, initial = network(widths=(8, 12)), state(network(widths=(8, 12), seed=3))
    with torch.no_grad():
        for buffer in (model.bn1.running_mean, model.bn1.running_var, model.bn2.running_mean, model.bn2.running_var):
            buffer.uniform_(0.1, 0.5)  # as no network starts
    pruner = FilterL2(scope=scope)
    mask = pruner.find_mask(model, "0.75", SOURCE, seed=0)
    mask.apply(model)
    outcome = run((model, mask), p=50, rounds=2, pruner=pruner, sparsity="0.75", initial=initial, grow=grow)
    convolutions = {"conv1.weight": "bn1", "conv2.weight": "bn2"}

    def filters(of):
        return {n: of[n].flatten(1).any(1) for n in convolutions}

    for found in [*(grown for _, grown, _, _ in stages), outcome.mask]:
        for name, norm in convolutions.items():
            assert torch.equal(found[name].flatten(1).all(1), filters(found)[name]), "none is there in part"
            assert torch.equal(found[f"{norm}.weight"], filters(found)[name])
            assert torch.equal(found[f"{norm}.bias"], filters(found)[name])
    given, first = stages[0][:2]
    new = {n: filters(first)[n] & ~filters(mask)[n] for n in convolutions}
    lacking = {n: int((~filters(mask)[n]).sum()) for n in convolutions}
    if scope == "layer":
        assert {n: int(new[n].sum()) for n in new} == {n: round(0.5 * lacking[n]) for n in lacking}
    assert sum(int(k.sum()) for k in new.values()) == pytest.approx(0.5 * sum(lacking.values()), abs=1)
    for name, norm in convolutions.items():
        norms = initial[name].flatten(1).norm(dim=1)
        if grow == "initial" and scope == "layer":
            assert norms[new[name]].min() > norms[~filters(first)[name]].max()
        for entry in (name, f"{norm}.weight", f"{norm}.bias", f"{norm}.running_mean", f"{norm}.running_var"):
            assert torch.equal(given[entry][new[name]], initial[entry][new[name]]), "batch norm starts anew with it"
    if scope == "layer":
        assert {n: int(outcome.mask[n].sum()) for n in mask} == {n: int(mask[n].sum()) for n in mask}
    # no more than half a filter's weights away from the sparsity
    assert outcome.mask.sparsity == pytest.approx(0.75, abs=0.5 * initial["conv2.weight"][0].numel() / 936)


# ---- cost, seeds, interruption ---------------------------------------------------------------------------------------


def test_result_is_a_function_of_the_seed(sparse):
    torch.manual_seed(1)
    one = state(run(sparse, p=20, rounds=2, grow="random", reinit="random").model)
    torch.manual_seed(2)
    assert same(state(run(sparse, p=20, rounds=2, grow="random", reinit="random").model), one)
    assert not same(state(run(sparse, p=20, rounds=2, grow="random", reinit="random", seed=2).model), one)


def test_given_model_is_not_touched(sparse):
    model, _ = sparse
    before = state(model)
    run(sparse, p=20, rounds=2)
    assert same(state(model), before)


def test_seconds_are_of_the_whole_procedure(sparse, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(unpruning.time, "perf_counter", lambda: now[0])

    def slow(seconds, function):
        def timed(*arguments, **options):
            now[0] += seconds
            return function(*arguments, **options)

        return timed

    monkeypatch.setattr(MagnitudePruning, "grow", slow(100, MagnitudePruning.grow))
    monkeypatch.setattr(MagnitudePruning, "find_mask", slow(1000, MagnitudePruning.find_mask))
    monkeypatch.setattr(unpruning, "unlearn", slow(7, unlearn))
    outcome = run(sparse, "original", {}, p=20, rounds=3)
    assert outcome.fit.seconds == 3 * 100 + 1000, "of the unlearner only what it says itself, which is nothing here"


class Killed(Exception):
    """Instead of SIGKILL."""


@pytest.mark.parametrize("killed_in", [1, 2, 3, 4])
def test_killed_in_any_round_it_ends_with_the_same_bits(sparse, tmp_path, monkeypatch, killed_in):
    options = {"p": 20, "rounds": 3, "when": "each_round", "grow": "random", "finetune_epochs": 1}
    whole = run(sparse, **options)
    calls = []

    def dies(method, model, source, **given):
        calls.append(given["name"])
        if len(calls) == killed_in:
            raise Killed
        return unlearn(method, model, source, **given)

    monkeypatch.setattr(unpruning, "unlearn", dies)
    checkpoint = Checkpoint(tmp_path / "run.safetensors")
    with pytest.raises(Killed):
        run(sparse, checkpoint=checkpoint, **options)
    again = run(sparse, checkpoint=checkpoint, **options)
    assert len(calls) == 4 + 1, "completed rounds are not run again"
    assert same(state(again.model), state(whole.model))
    assert again.mask == whole.mask
    assert (again.fit.steps, again.fit.samples, again.fit.facts) == (
        whole.fit.steps,
        whole.fit.samples,
        whole.fit.facts,
    )
    assert [(r["epoch"], r["loss"]) for r in again.fit.history] == [(r["epoch"], r["loss"]) for r in whole.fit.history]
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_interrupted_inside_a_round_it_ends_with_the_same_bits(sparse, tmp_path, monkeypatch):
    """The loop's own checkpoint serves the round that is under way."""
    whole = run(sparse, p=20, rounds=2)
    steps = []
    backward = Objective.backward

    def interrupting(self, *arguments):
        steps.append(1)
        if len(steps) == 9:  # two epochs of three steps a round: in the middle of the second
            os.kill(os.getpid(), signal.SIGTERM)
        return backward(self, *arguments)

    monkeypatch.setattr(Objective, "backward", interrupting)
    checkpoint = Checkpoint(tmp_path / "run.safetensors")
    with pytest.raises(Interrupted):
        run(sparse, checkpoint=checkpoint, p=20, rounds=2)
    again = run(sparse, checkpoint=checkpoint, p=20, rounds=2)
    assert len(steps) == whole.fit.steps
    assert same(state(again.model), state(whole.model))


def test_rounds_of_another_procedure_are_not_taken(sparse, tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "run.safetensors")
    path = tmp_path / "run.safetensors.rounds"
    saved = []
    save = unpruning._Store.save
    monkeypatch.setattr(
        unpruning._Store, "save", lambda self, course: (save(self, course), saved.append(path.read_bytes()))[0]
    )
    run(sparse, checkpoint=checkpoint, p=20, rounds=2)
    others = [{"p": 30}, {"seed": 2}, {"hyperparameters": FT | {"lr": 0.06}}, {"pruner": RandomPruning()}]
    others += [{"initial": INITIAL | {"conv1.weight": INITIAL["conv1.weight"] * 2}}, {"source": data(seed=1)}]
    for other in others:
        path.write_bytes(saved[0])
        found = run(sparse, checkpoint=checkpoint, **({"p": 20, "rounds": 2} | other))
        assert same(state(found.model), state(run(sparse, **({"p": 20, "rounds": 2} | other)).model))
    path.write_bytes(saved[0][:100])
    assert same(
        state(run(sparse, checkpoint=checkpoint, p=20, rounds=2).model), state(run(sparse, p=20, rounds=2).model)
    ), "an unusable file only costs time"


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_dense_model_is_refused(sparse):
    with pytest.raises(LacunaError, match="unprune: mask, pruner and sparsity must be given"):
        run(sparse, mask=None)


def test_initial_of_another_network_is_refused(sparse):
    with pytest.raises(LacunaError, match=r"unprune: initial: 'conv1\.weight' does not fit the mask"):
        run(sparse, initial=state(network(widths=(5, 6))))


@pytest.mark.parametrize(("key", "value"), [("p", -1), ("p", 101), ("rounds", -1), ("when", "never"), ("q", 1)])
def test_unusable_value_is_refused(sparse, key, value):
    with pytest.raises(LacunaError, match=f"unprune.*{key}"):
        run(sparse, **{key: value})


def test_sparsity_that_is_not_the_masks_is_refused(sparse):
    with pytest.raises(LacunaError, match="allowed: the same number"):
        run(sparse, p=20, rounds=1, sparsity="0.65")


@pytest.mark.parametrize("method", [name for name in UNLEARNERS if not UNLEARNERS[name].oracle])
def test_any_unlearner_can_be_inside(sparse, method):
    """Every method's mask and weights stay in order while its mask grows, whatever it does to them."""
    model, mask = sparse
    known = set(UNLEARNERS[method].__dataclass_fields__)
    quick = {k: v for k, v in {"epochs": 1, "batch_size": 16, "lr": 1e-3}.items() if k in known}
    outcome = run((model, mask), method, quick, p=20, rounds=2)
    assert removed(outcome.mask) == removed(mask)
    assert all(not state(outcome.model)[n][~outcome.mask[n]].any() for n in mask)
