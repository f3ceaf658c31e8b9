"""The loop: its optimizer and schedules are the known ones, masks hold, and interruption changes nothing."""

import itertools
import math
import os
import random
import re
import signal
import threading
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from tiny import data, global_streams, half, network, same, state
from torch import nn
from torch.nn.functional import cross_entropy

from lacuna import unlearn
from lacuna.data.batches import Augment, UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import values_of
from lacuna.models import inference
from lacuna.models.inference import copy_of
from lacuna.pruning.criteria.grasp import grasp
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.pruning.criteria.snip import snip
from lacuna.sparsity.mask import Mask
from lacuna.training import loop, objective
from lacuna.training.checkpoints import Checkpoint, Interrupted
from lacuna.training.counting import PassCounter
from lacuna.training.loop import fit
from lacuna.training.objective import Objective
from lacuna.training.recipe import Recipe
from lacuna.training.recipes import RECIPES
from lacuna.training.recipes.fast import Fast
from lacuna.training.sgd import Sgd
from lacuna.training.state import TrainingResult
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.base import EditUnlearner, LossUnlearner, RunOptions
from lacuna.unlearning.methods.famo import FAMO

QUICK = {"epochs": 3, "lr": 0.1, "batch_size": 16, "schedule": "cosine", "milestones": (), "crop": 1, "flip": False}
SOURCE = data(augment=Augment(1))


def recipe(**changes):
    return Recipe(**(QUICK | changes))


# ---- optimizer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 5e-4, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sgd_is_the_sgd_of_torch_bit_for_bit(momentum, weight_decay, dtype):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator, dtype=dtype) for shape in ((3, 4), (5,), (2, 1, 3, 3))]
    ours, theirs = ([nn.Parameter(t.clone()) for t in start] for _ in range(2))
    mine = Sgd(ours, momentum, weight_decay)
    reference = torch.optim.SGD(theirs, lr=1.0, momentum=momentum, weight_decay=weight_decay)
    for step, lr in enumerate((0.1, 0.1, 0.03, 0.5, 1e-4, 0.2, 0.2)):
        mine.zero_grad()
        assert all(p.grad is None for p in ours)
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            # the middle parameter has no gradient at first and now and then
            unused = i == 1 and step in (0, 3)
            gradient = None if unused else torch.randn(a.shape, generator=generator, dtype=dtype)
            a.grad, b.grad = gradient, gradient
        mine.step(lr)
        reference.param_groups[0]["lr"] = lr
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), f"step {step}"


def test_sgd_without_gradients_does_nothing():
    parameter = nn.Parameter(torch.ones(3))
    Sgd([parameter], 0.9, 0.1).step(0.1)
    assert parameter.tolist() == [1, 1, 1]


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
def test_gradient_of_the_caller_is_not_changed(weight_decay):
    parameter = nn.Parameter(torch.ones(3))
    optimizer = Sgd([parameter], 0.9, weight_decay)
    parameter.grad = torch.full((3,), 2.0)
    for _ in range(3):
        optimizer.step(0.1)
        assert parameter.grad.tolist() == [2, 2, 2]


# ---- schedules -------------------------------------------------------------------------------------------------------


def torch_rates(make, steps):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.3)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_schedules_are_those_of_torch():
    schedulers = torch.optim.lr_scheduler
    per_epoch, epochs = 4, 6
    settings = {
        "constant": lambda o: schedulers.ConstantLR(o, factor=1.0),
        "cosine": lambda o: schedulers.CosineAnnealingLR(o, T_max=epochs * per_epoch),
        "multistep": lambda o: schedulers.MultiStepLR(o, [2 * per_epoch, 5 * per_epoch], gamma=0.2),
    }
    for name, make in settings.items():
        objective = Recipe(epochs=epochs, lr=0.3, schedule=name, milestones=(2, 5), gamma=0.2)
        found = [objective.lr_at(step, per_epoch) for step in range(epochs * per_epoch)]
        assert found == pytest.approx(torch_rates(make, epochs * per_epoch), rel=1e-9), name


@pytest.mark.parametrize("schedule", ["constant", "cosine", "multistep"])
def test_warmup_rises_linearly_to_the_schedule(schedule):
    plain, warm = (Recipe(epochs=6, lr=0.3, schedule=schedule, milestones=(1, 4), warmup_epochs=w) for w in (0, 2))
    for step in range(24):
        assert warm.lr_at(step, 4) == pytest.approx(plain.lr_at(step, 4) * min(1, (step + 1) / 8), rel=1e-12)


@pytest.mark.parametrize(("epochs", "per_epoch", "peak"), [(6, 4, 0.25), (24, 98, 0.2), (1, 3, 0.5), (2, 5, 0.05)])
def test_triangle_rises_to_its_peak_and_falls_to_zero(epochs, per_epoch, peak):
    """Each step has the value of its middle on the line through (0, 0), (peak, lr) and (1, 0)."""
    objective = Recipe(epochs=epochs, lr=0.3, schedule="triangular", peak=peak)
    steps = epochs * per_epoch
    found = [objective.lr_at(step, per_epoch) for step in range(steps)]
    assert found == pytest.approx(np.interp((np.arange(steps) + 0.5) / steps, [0, peak, 1], [0, 0.3, 0]), rel=1e-12)
    assert min(found) > 0 and max(found) <= 0.3
    if float(peak * steps).is_integer():
        assert sum(found) == pytest.approx(0.3 * steps / 2), "the area of a triangle"


def test_loop_follows_the_schedule_from_its_start_epoch(monkeypatch):
    rates = []
    monkeypatch.setattr(Sgd, "step", lambda self, lr: rates.append(lr))
    objective = recipe(epochs=5, schedule="multistep", milestones=(3,), gamma=0.1)
    run = fit(network(), objective, SOURCE, seed=0, start_epoch=2)
    assert rates == pytest.approx([0.1] * 3 + [0.01] * 6)
    assert [row["epoch"] for row in run.history] == [3, 4, 5]
    assert [row["lr"] for row in run.history] == pytest.approx([0.1, 0.01, 0.01])


def test_fast_takes_a_sixteenth_of_the_steps_of_standard():
    """On CIFAR-10: 98 steps an epoch for 24, against 196 for 182; the published loss, crop and flip are the same."""
    steps = {name: RECIPES[name]().epochs * -(-50_000 // RECIPES[name]().batch_size) for name in ("standard", "fast")}
    assert steps == {"standard": 182 * 196, "fast": 24 * 98}
    standard, fast = RECIPES["standard"](), RECIPES["fast"]()
    assert values_of(standard) == values_of(Recipe())
    assert (standard.augment, type(standard).loss) == (fast.augment, type(fast).loss)
    assert fast.lr_at(0, 98) < 0.01 * fast.lr and fast.lr_at(24 * 98 - 1, 98) < 0.01 * fast.lr
    run = fit(network(), Fast(epochs=2, batch_size=16), SOURCE, seed=0, snapshot_epoch=fast.rewind_epoch)
    assert run.snapshot is not None


# ---- what a run is ---------------------------------------------------------------------------------------------------


def test_run_is_the_textbook_loop():
    """The whole loop against a plain one with torch's own optimizer."""
    model, plain = network().eval(), network()
    run = fit(model, recipe(), SOURCE, seed=4)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    step = 0
    for epoch in range(3):
        losses = []
        for batch in SOURCE.train_batches("retain", 16, 4, epoch, torch.float32):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * step / 9))
            optimizer.zero_grad()
            loss = cross_entropy(plain.train()(batch.x), batch.y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            step += 1
        assert run.history[epoch]["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    assert all(
        torch.allclose(a, b, rtol=1e-5, atol=1e-7)
        for a, b in zip(state(model).values(), state(plain).values(), strict=True)
    )
    assert (run.steps, run.samples) == (9, 120)
    assert run.history[-1]["val_accuracy"] == inference.accuracy(model, SOURCE, "val")
    seconds = [row["seconds"] for row in run.history]
    assert 0 < seconds[0] < seconds[1] < seconds[2] <= run.seconds


def test_training_learns():
    model = network()
    run = fit(model, recipe(epochs=12), data(), seed=0)
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    assert inference.accuracy(model, SOURCE, "retain") > 90


def test_same_seed_gives_the_same_bits_whatever_the_global_seed():
    results = []
    for global_seed, seed in ((1, 0), (2, 0), (2, 1)):
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)  # noqa: NPY002
        model = network()
        run = fit(model, recipe(), SOURCE, seed=seed)
        results.append((state(model), [row["loss"] for row in run.history]))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert not same(results[0][0], results[2][0])


def test_snapshot_is_the_state_after_that_many_epochs():
    start = state(network())
    for epoch in range(4):
        model = network()
        run = fit(model, recipe(schedule="constant"), SOURCE, seed=0, snapshot_epoch=epoch)
        shorter = network()
        if epoch:
            fit(shorter, recipe(schedule="constant", epochs=epoch), SOURCE, seed=0)
        assert same(run.snapshot, state(shorter))
    assert fit(network(), recipe(epochs=1), SOURCE, seed=0).snapshot is None
    assert same(fit(network(), recipe(), SOURCE, seed=0, snapshot_epoch=0).snapshot, start)


def test_validation_part_changes_nothing():
    with_val, without = network(), network()
    fit(with_val, recipe(), SOURCE, seed=0)
    parts = {k: v for k, v in SOURCE.parts.items() if k != "val"}
    blind = UnlearningData(SOURCE.images, SOURCE.labels, parts, 3, SOURCE.mean, SOURCE.std, SOURCE.augment)
    run = fit(without, recipe(), blind, seed=0)
    assert same(state(with_val), state(without))
    assert math.isnan(run.history[-1]["val_accuracy"])


def test_loss_may_only_ask_for_what_exists():
    with pytest.raises(TypeError, match=r"Odd.loss wants \['teacher'\]"):

        class Odd(Objective):
            def loss(self, model, retain, teacher): ...

    class Fine(Objective):
        def loss(self, model, forget, epoch, retain, work): ...

    assert Fine.streams == ("forget", "retain")


@dataclass(frozen=True, kw_only=True)
class TwoStreams(Objective):
    """A loss on both streams that records what it is given."""

    seen: ClassVar[list] = []

    def loss(self, model, retain, forget, epoch):
        self.seen.append((epoch, retain.index.tolist(), forget.index.tolist()))
        return cross_entropy(model(retain.x), retain.y) - 0.1 * cross_entropy(model(forget.x), forget.y)


@pytest.mark.parametrize(("retain", "forget"), [(40, 20), (20, 40)])
def test_shorter_stream_starts_over_in_a_new_order(monkeypatch, retain, forget):
    monkeypatch.setattr(TwoStreams, "seen", [])
    source = data(retain=retain, forget=forget)
    run = fit(network(), TwoStreams(epochs=2, lr=0.01, batch_size=8), source, seed=0)
    assert run.steps == 10
    assert run.samples == sum(len(r) + len(f) for _, r, f in TwoStreams.seen)
    orders = []
    for epoch in range(2):
        steps = [s for s in TwoStreams.seen if s[0] == epoch]
        longer, shorter = (1, 2) if retain > forget else (2, 1)
        names = {1: "retain", 2: "forget"}
        assert sorted(itertools.chain(*(s[longer] for s in steps))) == sorted(source.parts[names[longer]].tolist())
        first = list(itertools.chain(*(s[shorter] for s in steps[:3])))  # 7 + 7 + 6 samples
        second = list(itertools.chain(*(s[shorter] for s in steps[3:])))
        assert sorted(first) == sorted(source.parts[names[shorter]].tolist())
        assert len(second) == len(set(second)) == 14
        orders += [tuple(first[:14]), tuple(second)]
    assert len(set(orders)) == 4, "no turn repeats another"


def fitted(retain: int) -> tuple[float, float]:
    """RA and TA after a training on that many samples in batches of 32, mean over two seeds."""
    values = []
    for seed in range(2):
        source = data(retain=retain + 200, forget=5, seed=seed)
        test, train = source.parts["retain"][:200], source.parts["retain"][200:]
        source = replace(source, parts={"retain": train, "test": test})
        model = network(seed=seed)
        fit(model, recipe(epochs=10, lr=0.2, batch_size=32, schedule="constant", crop=0), source, seed=seed)
        values.append([inference.accuracy(model, source, part) for part in ("retain", "test")])
    ra, ta = np.mean(values, axis=0)
    return float(ra), float(ta)


def test_accuracy_does_not_hang_on_the_remainder_of_the_last_batch():
    """A step on a short remainder costs 1 to 16 points of RA here, and of TA: 4·32 + r samples are to do as 4·32 do."""
    whole = fitted(4 * 32)
    for rest in (1, 2, 3, 5):
        found = fitted(4 * 32 + rest)
        assert found == pytest.approx(whole, abs=1.0), f"{rest} samples more"


def test_bf16_runs_the_forward_pass_in_bfloat16():
    types = {"fp32": set(), "bf16": set()}
    models = {}
    for precision, seen in types.items():
        models[precision] = network()
        hook = models[precision].conv2.register_forward_hook(lambda module, x, y, seen=seen: seen.add(y.dtype))
        fit(models[precision], recipe(epochs=1, precision=precision), data(), seed=0)
        hook.remove()
    # validation is in float32 either way
    assert types == {"fp32": {torch.float32}, "bf16": {torch.bfloat16, torch.float32}}
    fp32, bf16 = models.values()
    assert all(p.dtype == torch.float32 for p in bf16.parameters())
    assert not same(state(fp32), state(bf16))
    assert all(torch.allclose(a, b, atol=0.05) for a, b in zip(state(fp32).values(), state(bf16).values(), strict=True))


HINT = (
    "about {} minutes to go; 'precision: bf16' takes about 0.7 times as long on this CPU, with other rounding "
    "(docs/results/memorising.md compares the results)"
)


@pytest.mark.parametrize(
    ("seconds", "epoch", "possible", "said"),
    [
        (120.0, 0, True, [HINT.format(20)]),
        (120.0, 0, False, []),
        (120.0, 5, True, []),  # ten minutes, which is not long
        (121.0, 5, True, [HINT.format(10)]),
        (1e6, 10, True, []),  # the last epoch
    ],
)
def test_a_long_training_hints_once_at_faster_numbers(monkeypatch, seconds, epoch, possible, said):
    monkeypatch.setattr(loop, "could_autocast", lambda precision, device: possible)
    lines = []
    run = SimpleNamespace(
        hinted=False, objective=recipe(epochs=11), work=SimpleNamespace(device="cpu"), _say=lines.append
    )
    for _ in range(2):
        loop._Run._hint(run, seconds, epoch)
    assert lines == said


def test_auto_is_full_precision_where_the_device_has_no_bfloat16(monkeypatch):
    full, auto = network(), network()
    fit(full, recipe(), SOURCE, seed=0)
    fit(auto, recipe(precision="auto"), SOURCE, seed=0)
    assert same(state(full), state(auto)), "a CPU computes bfloat16 slowly"
    monkeypatch.setattr(objective, "autocasts", lambda precision, device: precision in ("bf16", "auto"))
    half, auto = network(), network()
    fit(half, recipe(precision="bf16"), SOURCE, seed=0)
    fit(auto, recipe(precision="auto"), SOURCE, seed=0)
    assert same(state(half), state(auto))
    assert not same(state(half), state(full))


def test_loop_runs_outside_the_main_thread():
    model, results = network(), []
    thread = threading.Thread(target=lambda: results.append(fit(model, recipe(), SOURCE, seed=0)))
    thread.start()
    thread.join()
    assert results[0].steps == 9


# ---- masks -----------------------------------------------------------------------------------------------------------


class Watched(Sgd):
    """Looks after every step for a masked weight or momentum that is not 0."""

    leaks: ClassVar[list] = []
    moved: ClassVar[list] = []

    def step(self, lr):
        super().step(lr)
        for weight, keep in self._masked:
            self.leaks.append((weight[keep == 0].abs().max() + self.momentum[weight][keep == 0].abs().max()).item())
            self.moved.append(self.momentum[weight][keep == 1].abs().min().item())


def test_masked_weights_and_momentum_are_zero_after_every_step(monkeypatch):
    monkeypatch.setattr(loop, "Sgd", Watched)
    monkeypatch.setattr(Watched, "leaks", [])
    monkeypatch.setattr(Watched, "moved", [])
    model = network()
    mask = half(model)
    run = fit(model, recipe(weight_decay=0.1), SOURCE, seed=0, mask=mask, snapshot_epoch=0)
    assert len(Watched.leaks) == 2 * run.steps
    assert set(Watched.leaks) == {0.0}
    assert min(Watched.moved) > 0, "kept weights do move"
    assert all(not run.snapshot[name][~mask[name]].any() for name in mask), "from the start"


def test_masked_run_is_a_run_of_the_small_network():
    """Removed filters are as good as gone: their number does not change the kept ones."""
    model = network()
    keep = {name: torch.ones_like(w, dtype=torch.bool) for name, w in magnitude(model).items()}
    keep["conv2.weight"][:, 3] = False
    keep["conv1.weight"][3] = False
    fit(model, recipe(momentum=0.0, weight_decay=0.0), SOURCE, seed=0, mask=Mask(keep))
    small = network(widths=(3, 6))
    with torch.no_grad():
        for name, parameter in small.named_parameters():
            source = dict(network().named_parameters())[name]
            parameter.copy_(source[tuple(slice(n) for n in parameter.shape)])
    fit(small, recipe(momentum=0.0, weight_decay=0.0), SOURCE, seed=0)
    for name, parameter in small.named_parameters():
        kept = dict(model.named_parameters())[name][tuple(slice(n) for n in parameter.shape)]
        torch.testing.assert_close(kept, parameter, rtol=1e-4, atol=1e-6)


def test_leak_through_the_mask_fails_the_run(monkeypatch):
    monkeypatch.setattr(Sgd, "mask_to_zero", lambda self, pairs: None)
    model = network()
    with pytest.raises(LacunaError, match=r"mask violated: 'conv1.weight' has \d+ masked weights that are not 0"):
        fit(model, recipe(), SOURCE, seed=0, mask=half(model))


# ---- divergence ------------------------------------------------------------------------------------------------------


def test_diverged_loss_is_said_with_epoch_and_lr():
    with pytest.raises(
        LacunaError, match=r"^mine: diverged in epoch \d+ \(the loss is .*\) with lr 1e\+30; try a smal"
    ):
        fit(network(), recipe(lr=1e30, schedule="constant"), SOURCE, seed=0, name="mine")


def test_divergence_is_noticed_within_fifty_steps():
    steps = []

    @dataclass(frozen=True, kw_only=True)
    class Bad(Objective):
        def loss(self, model, retain):
            steps.append(1)
            return cross_entropy(model(retain.x), retain.y) * (math.nan if len(steps) == 3 else 1)

    with pytest.raises(LacunaError, match=r"diverged in epoch 1 .the loss is nan."):
        fit(network(), Bad(batch_size=1, lr=0.01), data(retain=500), seed=0)
    assert len(steps) == 50


def test_weight_that_overflows_in_the_last_step_is_noticed():
    @dataclass(frozen=True, kw_only=True)
    class Last(Objective):
        def loss(self, model, retain):
            return 1e10 * model.fc.bias.sum()

    with pytest.raises(LacunaError, match=r"diverged in epoch 1 .a weight is not finite. with lr 1e"):
        fit(network(), Last(epochs=1, batch_size=100, lr=1e38), SOURCE, seed=0)


def test_weights_too_large_for_any_answer_are_noticed_though_they_and_the_losses_are_finite():
    """The loss of the only step is that before it; the weights after it are near 1e25, finite, and no logit is."""
    with pytest.raises(
        LacunaError, match=r"^mine: diverged in epoch 1 .a logit is not finite. with lr 1e\+25; try a sm"
    ):
        fit(network(), recipe(epochs=1, lr=1e25, batch_size=100, schedule="constant"), SOURCE, seed=0, name="mine")


def test_an_edit_after_which_nothing_is_answered_is_noticed():
    @dataclass(frozen=True, kw_only=True)
    class Blown(EditUnlearner):
        def edit(self, model, data, run):
            with torch.no_grad():
                for p in model.parameters():
                    p.fill_(1e30)

    with pytest.raises(LacunaError, match=r"^mine: a logit is not finite after the edit; try a weaker one$"):
        Blown().run(network(), SOURCE, RunOptions(name="mine"))


# ---- one sample in a batch -------------------------------------------------------------------------------------------


def deep():
    """Batch norm over maps of 1×1, as a deep network has for small images."""
    return nn.Sequential(nn.Conv2d(1, 4, 6), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize("order", ["at first", "after the others"])
def test_one_sample_that_batch_norm_cannot_normalise_is_refused_by_the_key_that_helps(order):
    @dataclass(frozen=True, kw_only=True)
    class Both(LossUnlearner):
        def plan(self, epoch, passes):
            steps = [("retain",)] * passes["retain"]
            return [("forget",), *steps] if order == "at first" else [*steps, ("forget",)]

        def loss(self, model, forget, retain):
            batch = forget or retain
            return cross_entropy(model(batch.x), batch.y)

    said = "^mine: 'forget' has one sample, and batch norm .* no variance of one sample where its maps are 1×1"
    allowed = "allowed: batchnorm: frozen, or batches of at least 2 samples$"
    one = data(retain=10, forget=1)
    with pytest.raises(LacunaError, match=f"{said}; {allowed}"):
        fit(deep(), Both(epochs=1, lr=0.1, batch_size=4), one, seed=0, name="mine")
    # what is allowed works, and so does what batch norm can do
    for able, options, source in (
        (deep(), {"batchnorm": "frozen"}, one),
        (deep(), {}, data(retain=10, forget=2)),
        (network(), {}, one),
    ):
        fit(able, Both(epochs=1, lr=0.1, batch_size=4, **options), source, seed=0)
        assert all(bool(torch.isfinite(v).all()) for v in state(able).values())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("eupmu", {}),
        ("eupmu", {"batches": "equal"}),
        ("rl", {"order": "mixed"}),
        ("delete", {"batchnorm": "frozen"}),
        ("scrub", {"batchnorm": "frozen"}),
    ],
)
def test_one_sample_is_unlearned_where_it_is_in_a_batch_with_others_or_not_normalised_by_itself(name, options):
    outcome = unlearn(name, deep(), data(retain=10, forget=1), epochs=1, lr=0.01, batch_size=4, **options)
    assert all(bool(torch.isfinite(v).all()) for v in state(outcome.model).values())


@pytest.mark.parametrize("name", ["delete", "scrub", "neggrad_plus", "sfr_on", "ga", "rl"])
def test_every_method_that_shows_one_sample_alone_says_so(name):
    said = f"^{name}: 'forget' has one sample, and batch norm .*; allowed: batchnorm: frozen, or batches of at least 2"
    with pytest.raises(LacunaError, match=said):
        unlearn(name, deep(), data(retain=10, forget=1), epochs=1, lr=0.01, batch_size=4)


def test_batches_of_one_are_refused_by_the_key_that_makes_them():
    said = "^mine: batch_size is 1, and batch norm .*; allowed: batches of at least 2 samples$"
    with pytest.raises(LacunaError, match=said):
        fit(deep(), recipe(batch_size=1), SOURCE, seed=0, name="mine")


# ---- networks that write into their input ----------------------------------------------------------------------------


class Scaling(nn.Module):
    """Scales images to [−1, 1] first, in a copy or where they lie."""

    def __init__(self, in_place):
        super().__init__()
        self.in_place, self.net = in_place, network()

    def forward(self, x):
        return self.net(x.mul_(2).sub_(1) if self.in_place else x * 2 - 1)


# with teachers, with images that are learnt, with a second look at a batch, with two passes over one
TWICE = ("delete", "bad_teacher", "scrub", "prmq", "boundary_shrink", "unsir", "eupmu", "famo", "munba", "iu", "ssd")


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("name", TWICE)
def test_a_network_that_writes_into_its_input_is_unlearned_as_one_that_does_not(name, floats):
    source = SOURCE
    if floats:
        source = replace(source, images=source.images.float() / 255)
    images, known = source.images.clone(), {f.name for f in fields(UNLEARNERS[name])}
    options = {"epochs": 1, "lr": 1e-3, "batch_size": 8, "noise_steps": 3, "batches": "equal"}
    options = {k: v for k, v in options.items() if k in known}
    ended = []
    for in_place in (True, False):
        ended.append(state(unlearn(name, Scaling(in_place), source, **options).model))
    assert same(*ended)
    assert torch.equal(source.images, images)


# ---- cost ------------------------------------------------------------------------------------------------------------


class TwoLosses(Objective):
    """Every step: one forward pass of the network and one of a teacher without gradient; two losses derived apart."""

    def begin(self, model, data, work):
        work.memory["teacher"] = copy_of(model)
        model(next(data.plain_batches("retain", 7, torch.float32))[0]).sum().backward()
        return data

    def loss(self, model, retain):
        raise NotImplementedError

    def backward(self, model, batches, work):
        x, y = batches["retain"].x, batches["retain"].y
        with torch.no_grad():
            work.memory["teacher"](x)
        out = model(x)
        for loss in (cross_entropy(out, y), out.square().mean()):
            gradients = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        for p, g in zip(model.parameters(), gradients, strict=True):
            p.grad = g
        return loss.detach()


def test_passes_are_counted_where_they_happen():
    """Forward passes of the network and its copies, gradients that arrive at an output; validation is nobody's cost."""
    run = fit(network(), recipe(), SOURCE, seed=0)
    assert (run.steps, run.forwards, run.backwards) == (9, 9, 9)
    model = network()
    run = fit(model, TwoLosses(epochs=2, lr=0.01, batch_size=16), SOURCE, seed=0)
    assert (run.steps, run.forwards, run.backwards) == (6, 1 + 2 * 6, 1 + 2 * 6)
    assert not model._forward_hooks


def test_passes_under_vmap_are_those_of_all_samples():
    """A forward pass of many samples with weights of their own is one pass of so many samples."""
    model = network().eval()
    x = torch.randn(5, 1, 6, 6)
    weights = {name: p.detach().expand(5, *p.shape).requires_grad_() for name, p in model.named_parameters()}
    with PassCounter(model) as passes:
        out = torch.vmap(lambda w, x: torch.func.functional_call(model, w, (x[None],))[0])(weights, x)
        out.sum().backward()
        model(x)
    assert (passes.forwards, passes.backwards, passes.samples) == (2, 1, 10)
    model(x)
    assert passes.forwards == 2, "closed"


def test_a_run_that_fails_leaves_no_counter_behind():
    model = network()
    with pytest.raises(LacunaError):
        fit(model, recipe(lr=1e30), SOURCE, seed=0)
    assert not model._forward_hooks


def test_an_earlier_run_adds_to_the_cost():
    run = TrainingResult(seconds=1.0, steps=2, samples=3, forwards=4, backwards=5)
    run.add(vars(TrainingResult(seconds=10.0, steps=20, samples=30, forwards=40, backwards=50)))
    assert (run.seconds, run.steps, run.samples, run.forwards, run.backwards) == (11, 22, 33, 44, 55)


@dataclass(frozen=True, kw_only=True)
class TwoEpochs(Recipe):
    def done(self, work):
        return work.epoch == 1


def test_an_objective_may_end_its_run_after_an_epoch():
    model = network()
    run = fit(model, TwoEpochs(**QUICK | {"schedule": "constant"}), SOURCE, seed=0)
    shorter = network()
    fit(shorter, recipe(epochs=2, schedule="constant"), SOURCE, seed=0)
    assert len(run.history) == 2
    assert same(state(model), state(shorter))


# ---- interruption ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fragile(Recipe):
    """A recipe that is hit in the middle of a step: by a signal, or by an error as after a power cut."""

    hit_at: ClassVar[int] = -1
    with_signal: ClassVar[int | None] = None
    steps: ClassVar[int] = 0

    def loss(self, model, retain):
        Fragile.steps += 1
        if Fragile.steps == Fragile.hit_at:
            if Fragile.with_signal is None:
                raise KeyError("power cut")
            os.kill(os.getpid(), Fragile.with_signal)
        return super().loss(model, retain)


def fragile(
    *hits, objective=None, source=SOURCE, seed=3, mask=True, path=None, every=1e9, how=signal.SIGTERM, make=network
):
    """Run to the end, started anew after each hit; what it ends with, and how often it was stopped."""
    stops = 0
    for hit in (*hits, -1):
        Fragile.hit_at, Fragile.with_signal, Fragile.steps = hit, how, 0
        model = make()
        try:
            run = fit(
                model,
                objective or Fragile(**QUICK),
                source,
                seed=seed,
                mask=half(network()) if mask else None,
                snapshot_epoch=2,
                checkpoint=Checkpoint(path, every) if path else None,
            )
        except (Interrupted, KeyError):
            stops += 1
            continue
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in run.history]
        return stops, {"state": state(model), "rows": rows, "run": run, "steps": Fragile.steps}
    raise AssertionError("it never ended")


def assert_equal(a, b):
    assert same(a["state"], b["state"])
    assert a["rows"] == b["rows"]
    assert same(a["run"].snapshot, b["run"].snapshot)
    for count in ("steps", "samples", "forwards", "backwards"):
        assert getattr(a["run"], count) == getattr(b["run"], count), count


@pytest.fixture(scope="module")
def uninterrupted():
    return fragile()[1]


@pytest.mark.parametrize("hit", range(1, 10))
def test_interrupted_run_ends_with_the_same_bits(tmp_path, uninterrupted, hit):
    """Hit in every one of the nine steps, the last of each epoch included."""
    path = tmp_path / "c"
    stops, found = fragile(hit, path=path)
    assert stops == 1
    assert found["steps"] == 9 - hit, "it continued, it did not start over"
    assert_equal(found, uninterrupted)
    assert not path.exists()
    seconds = [row["seconds"] for row in found["run"].history]
    assert seconds == sorted(seconds)


class Dropping(nn.Module):
    """A network that draws from the global stream of PyTorch while it trains."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        return self.net(nn.functional.dropout(x, 0.5, self.training))


class Deepening(nn.Module):
    """A network that draws from the global streams of NumPy or of Python while it trains, for each image or batch."""

    def __init__(self, draw):
        super().__init__()
        self.net, self.draw = network(), draw

    def forward(self, x):
        if not self.training:
            return self.net(x)
        return self.net(x * torch.tensor(self.draw(len(x)), dtype=x.dtype).view(-1, 1, 1, 1))


def by_numpy():
    return Deepening(lambda n: np.random.rand(n))  # noqa: NPY002


def by_random():
    return Deepening(lambda n: [random.random() for _ in range(n)])


@pytest.mark.parametrize("hit", [2, 3, 8])
@pytest.mark.parametrize("make", [Dropping, by_numpy, by_random])
def test_what_a_network_draws_itself_depends_on_seed_and_step_alone(tmp_path, make, hit):
    """Dropout: the same bits whatever the global seed, after an interruption too."""
    global_streams(1)
    _, one = fragile(mask=False, make=make)
    global_streams(2)
    _, other = fragile(hit, mask=False, path=tmp_path / "c", make=make)
    assert_equal(one, other)
    assert not same(fragile(mask=False, seed=4, make=make)[1]["state"], one["state"])
    model, before = make(), global_streams()
    fit(model, recipe(), SOURCE, seed=0)
    assert global_streams() == before


@pytest.mark.parametrize("criterion", [snip, grasp])
@pytest.mark.parametrize("make", [Dropping, by_numpy, by_random])
def test_what_a_network_draws_itself_does_not_decide_what_is_pruned(criterion, make):
    found, model = [], make()
    for seed in (1, 2):
        before = global_streams(seed)
        found.append(criterion(model, data=SOURCE, seed=0, samples_per_class=4))
        assert global_streams() == before
    assert same(*found)
    assert not same(found[0], criterion(model, data=SOURCE, seed=1, samples_per_class=4))


def test_second_look_at_a_batch_drops_the_same(monkeypatch):
    """The losses after a step are those of the same function as before it."""
    pairs, method = [], FAMO(epochs=1, batch_size=16)
    now = FAMO.losses_now

    def look(self, model, batches, work):
        pairs.append((work.memory["losses"], now(self, model, batches, work)))
        return pairs[-1][1]

    monkeypatch.setattr(FAMO, "losses_now", look)
    monkeypatch.setattr(Sgd, "step", lambda self, lr: None)
    fit(Dropping(), method, SOURCE, seed=0)
    assert len(pairs) == SOURCE.steps("mixed", 16) == 4
    for before, after in pairs:
        assert before == after


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGUSR1, signal.SIGTERM])
def test_every_polite_signal_is_obeyed_after_the_step(tmp_path, uninterrupted, how):
    before = signal.getsignal(how)
    model = network()
    Fragile.hit_at, Fragile.with_signal, Fragile.steps = 5, how, 0
    with pytest.raises(Interrupted, match=rf"^stopped by {how.name} in epoch 2 of mine; run the same command to"):
        fit(model, Fragile(**QUICK), SOURCE, seed=3, checkpoint=Checkpoint(tmp_path / "c"), name="mine")
    assert Fragile.steps == 5
    assert signal.getsignal(how) is before
    stops, found = fragile(5, 2, path=tmp_path / "d", how=how)
    assert stops == 2
    assert_equal(found, uninterrupted)


def test_power_cut_loses_only_what_came_after_the_last_checkpoint(tmp_path, uninterrupted):
    stops, found = fragile(5, path=tmp_path / "c", every=0, how=None)
    assert (stops, found["steps"]) == (1, 5), "steps 5 to 9 again"
    assert_equal(found, uninterrupted)
    stops, found = fragile(5, path=tmp_path / "c", how=None)
    assert (stops, found["steps"]) == (1, 9), "no checkpoint was due"
    assert_equal(found, uninterrupted)


def test_checkpoints_change_nothing(tmp_path, uninterrupted):
    assert_equal(fragile(path=tmp_path / "c", every=0)[1], uninterrupted)
    assert list(tmp_path.iterdir()) == []


def images_mirrored():
    return UnlearningData(SOURCE.images.flip(3), SOURCE.labels, SOURCE.parts, 3, SOURCE.mean, SOURCE.std, Augment(1))


OTHER_RUNS = {
    "seed": {"seed": 4},
    "lr": {"objective": Fragile(**QUICK | {"lr": 0.2})},
    "epochs": {"objective": Fragile(**QUICK | {"epochs": 2})},
    "objective": {"objective": Recipe(**QUICK)},
    "mask": {"mask": False},
    "images": {"source": images_mirrored()},
    "augmentation": {"source": data(augment=Augment(2))},
    "order": {"source": data(augment=Augment(1), shuffle=False)},
    "labels": {"source": data(augment=Augment(1), seed=1)},
}


@pytest.mark.parametrize("what", OTHER_RUNS)
def test_checkpoint_of_another_run_is_ignored(tmp_path, what):
    path = tmp_path / "c"
    leave_checkpoint(path)
    _, found = fragile(path=path, **OTHER_RUNS[what])
    _, fresh = fragile(**OTHER_RUNS[what])
    assert_equal(found, fresh)
    assert found["steps"] == fresh["steps"]


def leave_checkpoint(path, hit=5):
    Fragile.hit_at, Fragile.with_signal, Fragile.steps = hit, signal.SIGTERM, 0
    with pytest.raises(Interrupted):
        fit(
            network(),
            Fragile(**QUICK),
            SOURCE,
            seed=3,
            mask=half(network()),
            snapshot_epoch=2,
            checkpoint=Checkpoint(path),
        )


def test_checkpoint_of_other_weights_is_ignored(tmp_path):
    path = tmp_path / "c"
    leave_checkpoint(path)
    resumed, fresh = (network(seed=1) for _ in range(2))
    fit(resumed, recipe(), SOURCE, seed=3, checkpoint=Checkpoint(path))
    fit(fresh, recipe(), SOURCE, seed=3)
    assert same(state(resumed), state(fresh))


def test_checkpoint_of_another_mask_is_ignored(tmp_path):
    """The weights alone do not tell: those of a sparse model may be trained on with its mask or without."""
    path = tmp_path / "c"
    leave_checkpoint(path)
    resumed, fresh = network(), network()
    for model in (resumed, fresh):
        half(model).apply(model)
    Fragile.hit_at, Fragile.steps = -1, 0
    fit(resumed, Fragile(**QUICK), SOURCE, seed=3, checkpoint=Checkpoint(path))
    assert Fragile.steps == 9
    fit(fresh, Fragile(**QUICK), SOURCE, seed=3)
    assert same(state(resumed), state(fresh))


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "one byte": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "progress": lambda content: re.sub(rb'(steps[\\"]+: )5', rb"\g<1>4", content),
    "foreign": lambda content: b"PK\3\4 something else",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_checkpoint_only_costs_time(tmp_path, uninterrupted, kind):
    path = tmp_path / "c"
    leave_checkpoint(path)
    content = path.read_bytes()
    assert DAMAGE[kind](content) != content
    path.write_bytes(DAMAGE[kind](content))
    _, found = fragile(path=path)
    assert found["steps"] == 9, "it started over"
    assert_equal(found, uninterrupted)


@pytest.mark.parametrize("every", [0, 1000])
def test_a_folder_in_the_place_of_a_checkpoint_costs_nothing(tmp_path, uninterrupted, every):
    """It is set aside, where a checkpoint is written and where the run ends before one is due."""
    path = tmp_path / "c"
    (path / "inside").mkdir(parents=True)
    _, found = fragile(path=path, every=every)
    assert_equal(found, uninterrupted)
    assert [p.name for p in tmp_path.iterdir()] == ["c.damaged"]


def test_log_tells_where_it_continues(tmp_path):
    path, lines = tmp_path / "c", []
    leave_checkpoint(path)
    Fragile.hit_at, Fragile.steps = -1, 0
    fit(
        network(),
        Fragile(**QUICK),
        SOURCE,
        seed=3,
        mask=half(network()),
        snapshot_epoch=2,
        checkpoint=Checkpoint(path),
        log=lines.append,
        name="mine",
    )
    assert lines[0] == "mine: continues after 5 of 9 steps"
    assert [line.split(",")[0] for line in lines[1:]] == ["mine: epoch 2/3", "mine: epoch 3/3"]


@pytest.mark.parametrize(
    ("precision", "units", "long", "hints"),
    [("fp32", True, 0, 1), ("fp32", True, 600, 0), ("fp32", False, 0, 0), ("auto", True, 0, 1), ("bf16", True, 0, 0)],
)
def test_a_long_training_says_once_that_this_cpu_has_faster_numbers(monkeypatch, precision, units, long, hints):
    """Only where it is long, the CPU has them and they are not used; the user decides, for results differ."""
    lines = []
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: units)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(loop, "LONG", long)
    recipe = Recipe(
        epochs=3, batch_size=16, schedule="constant", rewind_epoch=0, crop=0, flip=False, precision=precision
    )
    fit(network(), recipe, data(), seed=0, log=lines.append)
    assert sum("precision: bf16" in line for line in lines) == hints


@pytest.fixture
def _python_hears_interrupts():
    """What a shell that starts the tests in the background takes away: Python's own handler of Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_python_hears_interrupts")
def test_without_a_checkpoint_an_interrupt_is_an_ordinary_one():
    """In a notebook Ctrl-C raises KeyboardInterrupt at once; nothing promises to continue."""

    @dataclass(frozen=True, kw_only=True)
    class Stopped(Recipe):
        def loss(self, model, retain):
            os.kill(os.getpid(), signal.SIGINT)
            return cross_entropy(model(retain.x), retain.y)

    with pytest.raises(KeyboardInterrupt):
        fit(network(), Stopped(epochs=1, batch_size=16, rewind_epoch=0, crop=0, flip=False), data(), seed=0)
