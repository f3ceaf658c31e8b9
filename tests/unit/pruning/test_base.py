"""Pruners: what is removed, and that training restarts from the rewind point."""

from dataclasses import replace

import pytest
import torch
from tiny import Deep, data, network, same, state
from torch import nn

from lacuna.data.batches import Augment
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.pruning import PRUNERS
from lacuna.pruning.base import TrainedPruner
from lacuna.pruning.criteria.random import random
from lacuna.randomness import derive
from lacuna.sparsity.mask import Mask
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.starting_point import StartingPoint

RECIPE = Recipe(
    epochs=3, rewind_epoch=1, lr=0.1, batch_size=16, schedule="multistep", milestones=(2,), crop=1, flip=False
)
SOURCE = data(augment=Augment(1))
# those that score and restart a trained model in one go
ONE_SHOT = [
    name
    for name, pruner in PRUNERS.items()
    if issubclass(pruner, TrainedPruner) and pruner.rate is None and not pruner.structured
]
INITIAL = [name for name, pruner in PRUNERS.items() if pruner.before_training]
UNSTRUCTURED = [*ONE_SHOT, *INITIAL, "imp"]


@pytest.fixture(scope="module")
def dense():
    """A trained dense model: its states at the end, at the rewind epoch and at the start."""
    model = network()
    initial = state(model)
    run = fit(model, RECIPE, SOURCE, seed=0, snapshot_epoch=RECIPE.rewind_epoch)
    return StartingPoint(state(model), run.snapshot, initial)


def prune(dense, pruner, sparsity="0.70", recipe=RECIPE, seed=0, model=None, **options):
    model = model or network()
    lines = []
    mask, run = build(PRUNERS[pruner], options).prune(
        model, dense, sparsity, recipe, SOURCE, seed=seed, log=lines.append, name="mine"
    )
    return model, mask, run, lines


def removed(mask):
    return sum(int((~mask[name]).sum()) for name in mask)


def without_training(recipe=RECIPE):
    """Nothing is left to train after the rewind epoch."""
    return Recipe(epochs=recipe.rewind_epoch, rewind_epoch=recipe.rewind_epoch, crop=1, flip=False)


@pytest.mark.parametrize("pruner", ONE_SHOT)
def test_training_restarts_from_the_masked_rewind_state(dense, pruner):
    model, mask, run, _ = prune(dense, pruner, recipe=without_training())
    assert run.steps == 0
    for name, value in state(model).items():
        expected = dense.rewind[name] * mask[name] if name in mask else dense.rewind[name]
        assert torch.equal(value, expected), f"{name} (batch norm statistics rewind too)"


@pytest.mark.parametrize("pruner", ONE_SHOT)
def test_training_continues_the_schedule_with_a_fresh_optimizer(dense, pruner):
    model, mask, run, _ = prune(dense, pruner, seed=5)
    assert [(row["epoch"], row["lr"]) for row in run.history] == [(2, pytest.approx(0.1)), (3, pytest.approx(0.01))]
    by_hand = network()
    by_hand.load_state_dict(dense.rewind)
    mask.apply(by_hand)
    fit(by_hand, RECIPE, SOURCE, seed=5, mask=mask, start_epoch=1)
    assert same(state(model), state(by_hand))
    mask.check(model)


@pytest.mark.parametrize("pruner", ONE_SHOT)
@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("sparsity", ["0.50", "0.95"])
def test_requested_sparsity_is_reached(dense, pruner, scope, sparsity):
    _, mask, _, _ = prune(dense, pruner, sparsity, recipe=without_training(), scope=scope)
    sizes = [mask[name].numel() for name in mask]
    wanted = [n * float(sparsity) for n in (sizes if scope == "layer" else [sum(sizes)])]
    gone = [int((~mask[name]).sum()) for name in mask]
    found = gone if scope == "layer" else [sum(gone)]
    assert all(abs(f - w) <= 0.5 + 1e-9 for f, w in zip(found, wanted, strict=True))


def test_omp_keeps_the_largest_weights_of_the_trained_model(dense):
    _, mask, _, _ = prune(dense, "omp", recipe=without_training())
    final, rewind = dense.final, dense.rewind
    kept = torch.cat([final[name][mask[name]].abs() for name in mask])
    gone = torch.cat([final[name][~mask[name]].abs() for name in mask])
    assert kept.min() > gone.max()
    rewound = Mask.from_scores({name: rewind[name].abs() for name in mask}, "0.70")
    assert rewound != mask, "the weights at the end count, not those at the rewind epoch"


def test_random_knows_nothing_but_its_seed(dense):
    _, mask, _, _ = prune(dense, "random", recipe=without_training())
    strange = {k: torch.randn(v.shape) if v.is_floating_point() else v for k, v in dense.final.items()}
    torch.manual_seed(99)
    _, again, _, _ = prune(replace(dense, final=strange), "random", recipe=without_training())
    assert mask == again
    _, other, _, _ = prune(dense, "random", recipe=without_training(), seed=1)
    # two independent masks that keep a share d have IoU d / (2 − d)
    assert mask.iou(other) == pytest.approx(0.3 / 1.7, abs=0.1)


def test_random_scores_are_uniform():
    scores = random(network(widths=(30, 40)), seed=0)
    together = torch.cat([s.flatten() for s in scores.values()])
    assert together.min() >= 0
    assert together.max() < 1
    assert together.mean().item() == pytest.approx(0.5, abs=0.01)
    assert together.std().item() == pytest.approx(12**-0.5, abs=0.01)


@pytest.mark.parametrize("pruner", ONE_SHOT)
def test_linear_weights_are_pruned_on_request_but_never_the_classifier(pruner):
    model = Deep()
    both = StartingPoint(state(model), state(model), state(model))
    names = {}
    for include in (False, True):
        _, mask, _, _ = prune(both, pruner, recipe=without_training(), model=model, include_linear=include)
        names[include] = list(mask)
    assert names == {False: ["conv.weight"], True: ["conv.weight", "hidden.weight"]}


def test_collapsed_layer_is_warned_of(dense):
    final = {k: v * 1e-3 if k == "conv1.weight" else v for k, v in dense.final.items()}
    lines = prune(replace(dense, final=final), "omp", recipe=without_training())[3]
    assert lines == ["warning: mine: layer collapse, no weight of 'conv1.weight' is left at 0.70"]
    assert prune(dense, "omp", recipe=without_training())[3] == []


# ---- at initialisation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pruner", INITIAL)
def test_pruning_at_initialisation_knows_nothing_of_training(dense, pruner):
    """The mask is that of θ_0, and training starts there, with the whole schedule before it."""
    model, mask, run, _ = prune(dense, pruner, seed=5)
    strange = replace(dense, final={k: torch.randn(v.shape).to(v.dtype) for k, v in dense.final.items()})
    again, same_mask, _, _ = prune(replace(strange, rewind=strange.final), pruner, seed=5)
    assert same_mask == mask
    assert same(state(again), state(model))
    assert [row["epoch"] for row in run.history] == [1, 2, 3]
    by_hand = network()
    by_hand.load_state_dict(dense.initial)
    assert build(PRUNERS[pruner], {}).find_mask(by_hand, "0.70", SOURCE, seed=5) == mask
    fit(by_hand, RECIPE, SOURCE, seed=5, mask=mask)
    assert same(state(model), state(by_hand))
    assert removed(mask) == round(0.7 * 252)


# ---- iterative -------------------------------------------------------------------------------------------------------


def test_rounds_remove_the_smallest_survivors_of_the_weights_they_trained(dense):
    """By hand: prune 0.5, rewind, train, prune the rest by the new weights, rewind, train."""
    model, mask, run, _ = prune(dense, "imp", "0.70", rate=0.5)
    by_hand, first = network(), Mask.from_scores({n: dense.final[n].abs() for n in mask}, "0.5")
    by_hand.load_state_dict(dense.rewind)
    fit(by_hand, RECIPE, SOURCE, seed=derive(0, "round01"), mask=first, start_epoch=1)
    scores = {n: by_hand.state_dict()[n].abs().masked_fill(~first[n], -1.0) for n in mask}
    second = Mask.from_scores(scores, "0.70")
    by_hand.load_state_dict(dense.rewind)
    fit(by_hand, RECIPE, SOURCE, seed=0, mask=second, start_epoch=1)
    assert mask == second
    assert same(state(model), state(by_hand))
    assert len(run.history) == 2, "the history is that of the last round"
    assert run.steps == run.forwards == run.backwards == 12, "the cost is that of both"


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_masks_of_a_chain_are_nested_and_land_on_the_sparsity(dense, scope):
    masks = [prune(dense, "imp", s, rate=0.3, scope=scope)[1] for s in ("0.20", "0.60", "0.80")]
    for mask, sparsity in zip(masks, (0.2, 0.6, 0.8), strict=True):
        sizes = [mask[n].numel() for n in mask]
        gone = [int((~mask[n]).sum()) for n in mask]
        pairs = zip(gone, sizes, strict=True) if scope == "layer" else [(sum(gone), sum(sizes))]
        assert all(abs(g - sparsity * n) <= 0.5 + 1e-9 for g, n in pairs)
    for sparser, denser in zip(masks[1:], masks, strict=False):
        assert not any(bool((sparser[n] & ~denser[n]).any()) for n in sparser)


@pytest.mark.parametrize(("restart", "epochs"), [("rewind", [2, 3]), ("lt", [1, 2, 3]), ("finetune", [2, 3])])
def test_training_restarts_where_it_is_told(dense, restart, epochs):
    nothing = Recipe(epochs=3, rewind_epoch=1, lr=1e-12, weight_decay=0.0, batch_size=16, crop=1, flip=False)
    model, mask, run, _ = prune(dense, "omp", recipe=nothing, restart=restart)
    assert [row["epoch"] for row in run.history] == epochs
    start = {"rewind": dense.rewind, "lt": dense.initial, "finetune": dense.final}[restart]
    for name in mask:
        torch.testing.assert_close(state(model)[name], start[name] * mask[name])


def test_a_sparsity_below_what_is_removed_is_refused(dense):
    sparse = replace(dense, mask=prune(dense, "omp", "0.70", recipe=without_training())[1])
    with pytest.raises(LacunaError, match=r"^sparsity: 0\.5 is not allowed; allowed: at least 0\.69\d*, which is"):
        prune(sparse, "omp", "0.5")


def test_scores_that_are_no_numbers_are_refused(dense):
    final = {k: v * torch.nan if k == "conv1.weight" else v for k, v in dense.final.items()}
    with pytest.raises(LacunaError, match=r"^the pruning scores of 'conv1.weight' are not numbers"):
        prune(replace(dense, final=final), "omp")


# ---- what can be reached ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pruner", UNSTRUCTURED)
def test_sparsities_that_leave_nothing_are_refused_by_the_shapes_alone(dense, pruner):
    """Of 252 weights, 0.998 (251.496) leaves one, 0.999 none; on the meta device, and when pruning."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3))
    able = build(PRUNERS[pruner], {})
    able.check(model, "0.998")
    with pytest.raises(LacunaError, match=r"^none of its 252 prunable weights would be left; allowed: at most 0\.996$"):
        able.check(model, "0.999")
    with pytest.raises(LacunaError, match="none of its 252"):
        prune(dense, pruner, "0.999")
    largest = build(PRUNERS[pruner], {"scope": "layer"})
    largest.check(model, "0.9953")  # 215 of 216
    with pytest.raises(LacunaError, match=r"allowed: at most 0\.9953$"):
        largest.check(model, "0.998")


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.parametrize("include_linear", [False, True])
def test_a_model_without_prunable_layers_is_refused(pruner, include_linear):
    able = build(PRUNERS[pruner], {"include_linear": include_linear})
    with pytest.raises(LacunaError, match=r"^Sequential has no prunable weights.*allowed: a model with convolutions"):
        able.check(nn.Sequential(nn.Linear(8, 3)), "0.5")
