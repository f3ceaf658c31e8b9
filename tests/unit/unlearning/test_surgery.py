"""Gradient surgery: one step, masks, epochs and labels, batches without one of the sets, a stopped run."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from tiny import data, half, network, same, state
from torch import nn
from torch.nn.functional import cross_entropy

from lacuna import unlearn
from lacuna.data.batches import Augment, batch_sizes
from lacuna.errors import LacunaError
from lacuna.training.checkpoints import Checkpoint
from lacuna.training.loop import fit
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.surgery import adam, clip, untracked
from unit.unlearning.methods.surgery import (
    FORM,
    QUICK,
    Adam,
    by_hand,
    direction,
    flat,
    formed,
    method,
    only,
    probe,
    vector,
    without_val,
)

EXPLICIT = ("ungrad", "pcgrad", "mgda", "cagrad", "munba", "gdr_gma")
WEIGHTED = ("eupmu", "eupmu_fast", "famo", "linear")
FAMILY = EXPLICIT + WEIGHTED
# forward passes with and without gradient, backward passes, of one step
COST = dict.fromkeys(EXPLICIT, (1, 0, 2)) | {
    "eupmu": (1, 1, 1),
    "eupmu_fast": (1, 0, 1),
    "famo": (1, 1, 1),
    "linear": (1, 0, 1),
}
G = [3.0, -4.0, 0.0]
EDGES = {
    "forget gradient 0": ([0.0, 0.0, 0.0], G),
    "retain gradient 0": (G, [0.0, 0.0, 0.0]),
    "both 0": ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    "equal": (G, G),
    "parallel": (G, [0.3, -0.4, 0.0]),
    "opposite": (G, [-3.0, 4.0, 0.0]),
    "opposite, unlike norms": (G, [-0.03, 0.04, 0.0]),
    "orthogonal": (G, [0.0, 0.0, 1.0]),
    "tiny": ([1e-25, 0.0, 0.0], [-1e-25, 1e-25, 0.0]),
    "huge": ([1e12, 0.0, 0.0], [-1e12, 1e12, 0.0]),
    "very unlike norms": ([1e-12, 1e-12, 0.0], [-1e6, 0.0, 1e6]),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("name", EXPLICIT)
def test_degenerate_gradients_give_finite_directions_no_longer_than_both(name, edge, dtype):
    g_f, g_r = (vector(values, dtype) for values in EDGES[edge])
    for l_r in (0.0, 0.02, 50.0):
        d = direction(method(name), g_f, g_r, l_r=l_r)
        assert d.dtype == dtype
        assert bool(torch.isfinite(d).all())
        bound = math.sqrt(2) if name == "munba" and edge != "huge" else 0.0
        assert float(d.norm()) <= max(bound, 1.5 * float(g_f.norm() + g_r.norm())) * (1 + 1e-4)


def test_opposite_gradients_cancel():
    g_f, g_r = vector(G), -0.5 * vector(G)
    for name in ("ungrad", "pcgrad", "mgda"):
        assert torch.allclose(direction(method(name), g_f, g_r), torch.zeros(3).double(), atol=1e-15), name
    # any d that lowers one loss raises the other: the nearest point of the ball to 0
    assert torch.allclose(direction(method("cagrad"), g_f, g_r), 0.5 * (g_f + g_r) / 2)


@FORM
@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
@pytest.mark.parametrize("forget_loss", ["random_labels", "ascent"])
@pytest.mark.parametrize("name", EXPLICIT)
def test_explicit_methods_leave_their_direction_in_the_gradients(name, forget_loss, batchnorm, form):
    model = network().double()
    options = {"batch_size": 16, "forget_loss": forget_loss, "clip": None, "batchnorm": batchnorm} | formed(form)
    unlearner, work, batches = probe(name, model, data(), **options)
    shown = unlearner.backward(model, batches, work)
    g_f, g_r, l_f, l_r = by_hand(model, unlearner, work, batches)
    found = flat(p.grad for p in model.parameters())
    assert torch.allclose(found, unlearner.combine(g_f, g_r, l_f, l_r, work), rtol=1e-9, atol=1e-12)
    assert float(shown) == pytest.approx(float(l_f + l_r), rel=1e-12)


@pytest.mark.parametrize("name", FAMILY)
def test_cost_of_a_step(name):
    """Forward and backward passes, counted at the model and at a weight."""
    model, seen = network(), {"forward": 0, "without gradient": 0, "backward": 0}

    def forward(*_):
        seen["forward" if torch.is_grad_enabled() else "without gradient"] += 1

    def backward(_):
        seen["backward"] += 1

    model.register_forward_hook(forward)
    for p in model.parameters():
        p.register_hook(backward)
    # validation makes forward passes that are not the method's
    steps = fit(model, method(name, **QUICK), without_val(data()), seed=1).steps
    with_gradient, without, passes = COST[name]
    each = len(list(model.parameters()))
    assert seen == {
        "forward": with_gradient * steps,
        "without gradient": without * steps + 2,  # at the end the loop looks at logits of D_r and of D_f
        "backward": passes * steps * each,
    }


@pytest.mark.parametrize("name", FAMILY)
def test_batch_norm_counts_one_batch_a_step(name):
    outcome = unlearn(name, network(), data(), **QUICK)
    counts = [int(v) for k, v in outcome.model.state_dict().items() if k.endswith("num_batches_tracked")]
    assert counts == [outcome.fit.steps] * 2
    assert outcome.fit.steps > 2


@pytest.mark.parametrize("name", ["eupmu", "famo"])
def test_a_second_look_at_the_losses_leaves_no_trace(name):
    """With the weights of the losses held still, a run with it ends with the bits of a run without it."""
    cls = UNLEARNERS[name]

    class Looking(cls):
        def after_step(self, model, batches, work):
            self.losses_now(model, batches, work)

    class Blind(cls):
        def after_step(self, model, batches, work):
            pass

    ended = []
    for kind in (Looking, Blind):
        model = network()
        fit(model, kind(**QUICK), data(augment=Augment(1)), seed=1)
        ended.append(state(model))
    assert same(*ended)


@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
@pytest.mark.parametrize("name", ["eupmu", "famo"])
def test_the_second_look_is_at_the_same_function(name, batchnorm):
    """While θ stands still it finds the same losses bit for bit: same samples, labels, augmentation, normalisation."""
    model = network().double()
    given = data(augment=Augment(1, True))
    unlearner, work, batches = probe(name, model, given, batchnorm=batchnorm, batch_size=16)
    unlearner.backward(model, batches, work)
    before = state(model)
    now = unlearner.losses_now(model, batches, work)
    assert [float(l) for l in now] == [float(l) for l in work.memory["losses"]]
    assert same(state(model), before)
    modes = {m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
    assert modes == {batchnorm == "train"}
    assert all(m.track_running_stats for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    if batchnorm == "train":
        # what it must not be: normalised by the retain samples alone, or by the running statistics
        mixed = batches["mixed"]
        x, y = mixed.x[~mixed.forgotten], mixed.y[~mixed.forgotten]
        with torch.no_grad(), untracked(model):
            alone = cross_entropy(model(x), y) * len(y) / len(mixed.y)
        with torch.no_grad():
            running = cross_entropy(model.eval()(x), y) * len(y) / len(mixed.y)
        assert abs(float(alone - now[1])) > 1e-4
        assert abs(float(running - now[1])) > 1e-4


def test_tracking_is_switched_on_again_after_an_error():
    model = network()
    with pytest.raises(KeyError), untracked(model):
        raise KeyError
    assert model.bn1.track_running_stats


@pytest.mark.parametrize("name", FAMILY)
def test_masked_entries_do_not_influence_the_direction(name):
    model = network().double()
    mask = half(model)
    mask.apply(model)
    options = {"clip": 0.01} if name in WEIGHTED else {"clip": None}
    unlearner, work, batches = probe(name, model, data(), mask, batch_size=16, **options)
    unlearner.backward(model, batches, work)
    g_f, g_r, l_f, l_r = by_hand(model, unlearner, work, batches)
    keep = flat(mask[n] if n in mask else torch.ones_like(p).bool() for n, p in model.named_parameters())
    found = flat(p.grad for p in model.parameters())
    assert float(g_f[~keep].norm()) > 0.01 * float(g_f.norm()), "they would matter if they counted"
    assert not found[~keep].any()
    if name in WEIGHTED:
        assert float(found[keep].norm()) == pytest.approx(0.01, rel=1e-3), "nor do they use up the clip"
        return
    # as if the removed weights were not there at all
    expected = unlearner.combine(g_f[keep], g_r[keep], l_f, l_r, work)
    assert torch.allclose(found[keep], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FAMILY)
def test_clip_shortens_the_finished_gradient_and_keeps_its_direction(name):
    found = {}
    for bound in (None, 0.01, 1e6):
        model = network().double()
        unlearner, work, batches = probe(name, model, data(), clip=bound)
        unlearner.backward(model, batches, work)
        found[bound] = flat(p.grad for p in model.parameters())
    assert torch.equal(found[1e6], found[None]), "within the bound it does nothing"
    assert float(found[0.01].norm()) == pytest.approx(0.01, rel=1e-3)
    unit = [g / g.norm() for g in (found[0.01], found[None])]
    assert torch.allclose(*unit, rtol=1e-9, atol=1e-12)


def test_clip_of_a_zero_gradient_is_zero():
    gradients = [torch.zeros(3), torch.zeros(2, 2)]
    clip(gradients, 1.0)
    assert not any(g.any() for g in gradients)


@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
@pytest.mark.parametrize("name", FAMILY)
def test_masks_hold_and_the_global_stream_of_random_numbers_is_left_alone(name, batchnorm):
    model = network()
    mask = half(model)
    before = torch.random.get_rng_state()
    outcome = unlearn(name, model, data(augment=Augment(1)), mask=mask, batchnorm=batchnorm, **QUICK)
    assert torch.equal(torch.random.get_rng_state(), before)
    weights = dict(outcome.model.named_parameters())
    for n in mask:
        assert not weights[n][~mask[n]].any()
        assert not torch.equal(weights[n][mask[n]], dict(model.named_parameters())[n][mask[n]])
    if batchnorm == "frozen":
        buffers = dict(model.named_buffers())
        assert all(torch.equal(v, buffers[k]) for k, v in outcome.model.named_buffers())


@pytest.mark.parametrize("name", FAMILY)
def test_runs_do_not_depend_on_memory_layout(name):
    options = QUICK | {"epochs": 1, "seed": 3}
    plain = unlearn(name, network().double(), data(), **options).model
    last = unlearn(name, network().double().to(memory_format=torch.channels_last), data(), **options).model
    for (n, a), b in zip(plain.named_parameters(), last.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-7, atol=1e-9), n


@pytest.mark.parametrize("name", FAMILY)
def test_a_parameter_that_the_model_does_not_use_stays(name):
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.idle = network(), nn.Parameter(torch.ones(3))

        def forward(self, x):
            return self.inner(x)

    model = unlearn(name, Idle(), data(), epochs=1, batch_size=16, weight_decay=0.0, clip=1.0).model
    assert model.idle.tolist() == [1, 1, 1]


def test_a_model_without_batch_norm_or_with_frozen_parameters_works():
    for name in FAMILY:
        model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
        model[0].bias.requires_grad_(False)
        outcome = unlearn(name, model, data(), epochs=1, batch_size=16)
        assert torch.equal(outcome.model[0].bias, model[0].bias)
        assert not torch.equal(outcome.model[4].weight, model[4].weight)


@pytest.mark.parametrize("name", FAMILY)
def test_the_form_is_that_of_the_publication(name):
    """One shuffled stream and shares of the batch, as EUPMU is released; gdr_gma is released with batches apart."""
    found = method(name)
    own = name == "gdr_gma"
    assert (found.batches, found.weights) == (("equal", "equal") if own else ("mixed", "shares"))
    assert (found.epoch_of, found.forget_loss) == (("forget", "ascent") if own else ("longest", "random_labels"))
    assert not found.exclude_true
    assert found.clip == (1.0 if name in ("ungrad", "munba") else None)


class Seen:
    """What the steps of a run of linear weighting read: flags of D_f, indices and labels as used."""

    def __init__(self, given, **options):
        self.steps = []

        class Spy(UNLEARNERS["linear"]):
            def backward(spy, model, batches, work):
                shown = super().backward(model, batches, work)
                index = torch.cat([batch.index for batch in batches.values()])
                self.steps.append((work.memory["forgotten"], index, work.memory["labels"]))
                return shown

        self.epochs = options["epochs"]
        fit(network(), Spy(**options), without_val(given), seed=0)

    def epoch(self, e):
        """All of an epoch, one after the other."""
        per = len(self.steps) // self.epochs
        return [torch.cat(parts) for parts in zip(*self.steps[e * per : (e + 1) * per], strict=True)]


def test_a_mixed_epoch_has_each_sample_of_both_sets_once():
    given = data(retain=40, forget=12)
    seen = Seen(given, epochs=3, batch_size=8)
    assert len(seen.steps) == 3 * given.steps("mixed", 8)
    for e in range(3):
        forgotten, index, _ = seen.epoch(e)
        assert index.sort().values.tolist() == given.index("mixed").sort().values.tolist()
        assert set(index[forgotten].tolist()) == set(given.parts["forget"].tolist())
    counts = [int(forgotten.sum()) for forgotten, _, _ in seen.steps]
    assert len(set(counts)) > 1, "shuffled, not divided evenly"
    assert not torch.equal(seen.epoch(0)[1], seen.epoch(1)[1]), "a new order each epoch"


@pytest.mark.parametrize("name", FAMILY)
def test_an_epoch_of_equal_batches_passes_over_the_longest_set_or_over_the_forget_set(name):
    given = data(retain=40, forget=12)
    for epoch_of, expected in (("longest", 5), ("forget", 2)):
        options = {"epochs": 3, "lr": 1e-3, "batch_size": 8, "batches": "equal", "epoch_of": epoch_of}
        done = unlearn(name, network(), given, **options).fit
        assert done.steps == 3 * expected
        forget = list(itertools.islice(itertools.cycle(batch_sizes(12, 8)), expected))
        assert done.samples == 3 * (8 * expected + sum(forget)), "a set that is used up starts over"
    options = {"epochs": 1, "batch_size": 8, "batches": "equal", "epoch_of": "longest"}
    longer = unlearn(name, network(), data(retain=10, forget=30), **options).fit
    assert longer.steps == 4


def test_an_epoch_over_the_forget_set_needs_equal_batches():
    words = "epoch_of: forget is not allowed with batches mixed, .*; allowed: longest, or batches equal"
    for name in FAMILY:
        with pytest.raises(LacunaError, match=rf"^{name}\.{words}"):
            method(name, batches="mixed", epoch_of="forget")


@pytest.mark.parametrize("batches", ["mixed", "equal"])
def test_labels_are_drawn_for_every_visit_and_are_true_as_often_as_others(batches):
    given = data(retain=60, forget=12, shuffle=False)
    y = given.labels
    seen = Seen(given, epochs=20, batch_size=12, batches=batches)
    forgotten, index, labels = (torch.cat(parts) for parts in zip(*seen.steps, strict=True))
    visits = 20 * 12 * (1 if batches == "mixed" else 5)
    assert int(forgotten.sum()) == visits
    assert torch.equal(labels[~forgotten], y[index[~forgotten]])
    shares = labels[forgotten].bincount(minlength=3) / visits
    assert float((shares - 1 / 3).abs().max()) < 0.1
    assert float((labels == y[index])[forgotten].double().mean()) == pytest.approx(1 / 3, abs=0.1)
    first = given.parts["forget"][0]
    assert len(set(labels[forgotten & (index == first)].tolist())) == 3, "a new draw at each visit"

    seen = Seen(given, epochs=4, batch_size=12, batches=batches, exclude_true=True)
    forgotten, index, labels = (torch.cat(parts) for parts in zip(*seen.steps, strict=True))
    assert not (labels == y[index])[forgotten].any()


@pytest.mark.parametrize("batches", ["mixed", "equal"])
@pytest.mark.parametrize("name", FAMILY)
def test_shares_of_both_losses_sum_to_the_mean_loss_of_the_batch(name, batches):
    model = network().double()
    options = {"batch_size": 10, "forget_loss": "random_labels"} | formed((batches, "shares"))
    unlearner, work, read = probe(name, model, data(), **options)
    shown = unlearner.backward(model, read, work)
    x = torch.cat([batch.x for batch in read.values()])
    assert 0 < int(work.memory["forgotten"].sum()) < len(x)
    mean = cross_entropy(model(x), work.memory["labels"])
    assert float(shown) == pytest.approx(mean.item(), rel=1e-12)
    if name == "linear":
        expected = flat(torch.autograd.grad(mean, list(model.parameters())))
        assert torch.allclose(flat(p.grad for p in model.parameters()), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("weights", ["shares", "equal"])
@pytest.mark.parametrize("lacks", ["forget", "retain"])
@pytest.mark.parametrize("name", FAMILY)
def test_a_loss_without_a_sample_in_the_batch_is_0_and_has_no_gradient(name, lacks, weights):
    """So each step is that of its formula with a zero vector, and nothing that follows the losses moves by it."""
    model = network().double()
    options = {"forget_loss": "random_labels", "clip": None, "batch_size": 30} | formed(("mixed", weights))
    unlearner, work, batches = probe(name, model, data(), **options)
    if "lambda" in work.tensors:
        work.tensors["lambda"] = vector(0.7)
    mixed = batches["mixed"]
    batches = {"mixed": only(mixed, ~mixed.forgotten if lacks == "forget" else mixed.forgotten)}
    shown = unlearner.backward(model, batches, work)
    g_f, g_r, l_f, l_r = by_hand(model, unlearner, work, batches)
    assert not (g_f if lacks == "forget" else g_r).any()
    whole = g_r if lacks == "forget" else g_f
    assert float(whole.norm()) > 0.01
    assert float(shown) == pytest.approx(float(l_f + l_r))
    found = flat(p.grad for p in model.parameters())
    expected = {
        "ungrad": whole if lacks == "retain" else 0 * whole,
        "pcgrad": whole,
        "mgda": 0 * whole,
        "cagrad": whole / 2,
        "munba": whole if lacks == "forget" else 0.1 * whole,
        "gdr_gma": whole * torch.sigmoid(100 * (l_r - 0.02) * (1 if lacks == "forget" else -1)),
        "eupmu": 0.7 * whole if lacks == "forget" else whole,
        "eupmu_fast": 0.7 * whole if lacks == "forget" else whole,
        "famo": whole,
        "linear": whole,
    }[name]
    assert torch.allclose(found, expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(("name", "still"), [("mgda", 8), ("ungrad", 8), ("pcgrad", 0), ("munba", 0)])
def test_steps_without_a_direction_are_counted_and_said(name, still):
    """One forgotten sample in 40: of the five batches of an epoch it lies in one, and in the others d is 0."""
    said = []
    outcome = unlearn(name, network(), data(retain=39, forget=1), **QUICK, log=said.append)
    assert outcome.fit.steps == 10
    assert outcome.fit.facts.get("steps_without_direction", 0.0) == still
    words = f"warning: d is 0 in {still} steps: their batches lack a sample of D_f or of D_r, or the gradients cancel"
    assert (words in said[-1]) == bool(still)


@pytest.mark.parametrize("weights", ["shares", "equal"])
@pytest.mark.parametrize("sets", [(40, 1), (1, 40)], ids=str)
@pytest.mark.parametrize("name", FAMILY)
def test_one_sample_of_a_set_in_many_batches_is_enough(name, sets, weights):
    retain, forget = sets
    options = QUICK | {"epochs": 1, "forget_loss": "random_labels"} | formed(("mixed", weights))
    outcome = unlearn(name, network(), data(retain=retain, forget=forget), **options)
    assert all(bool(torch.isfinite(v).all()) for v in outcome.model.state_dict().values())
    assert all(math.isfinite(row["loss"]) for row in outcome.fit.history)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adam_is_adam(dtype):
    work = SimpleNamespace(tensors={"w": torch.tensor([0.3, -0.2], dtype=dtype)})
    reference = Adam([0.3, -0.2], lr=0.1, decay=0.05)
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        gradient = torch.randn(2, generator=generator, dtype=dtype)
        adam(work, "w", gradient, 0.1, 0.05)
        reference.step(gradient.tolist())
        assert work.tensors["w"].tolist() == pytest.approx(reference.x, rel=1e-5 if dtype == torch.float32 else 1e-11)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("famo", {}, "famo.forget_loss: ascent is not allowed"),
        (
            "eupmu",
            {"log_losses": True, "variant": "released"},
            "eupmu.forget_loss: ascent is not allowed with log_losses",
        ),
        ("eupmu_fast", {"log_losses": True}, "eupmu_fast.forget_loss: ascent is not allowed with log_losses"),
    ],
)
def test_logarithms_of_negative_losses_are_refused(name, options, words):
    with pytest.raises(LacunaError, match=words):
        method(name, forget_loss="ascent", **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cagrad", {"c": 1.0}),
        ("munba", {"fallback": -0.1}),
        ("gdr_gma", {"sharpness": 0}),
        ("eupmu", {"beta": 0}),
        ("eupmu", {"variant": "other"}),
        ("linear", {"clip": 0}),
        ("ungrad", {"epoch_of": "retain"}),
        ("pcgrad", {"forget_loss": "none"}),
        ("mgda", {"batches": "forget"}),
        ("eupmu", {"weights": "retain"}),
    ],
)
def test_values_out_of_range_are_refused(name, options):
    with pytest.raises(LacunaError, match=rf"^{name}\.{next(iter(options))}: .* is not allowed; allowed: "):
        unlearn(name, network(), data(), **options)


STATEFUL = [("eupmu", {}), ("eupmu", {"variant": "released"}), ("eupmu_fast", {"beta": 0.01}), ("famo", {})]


@pytest.mark.parametrize(("name", "options"), STATEFUL, ids=lambda v: v if isinstance(v, str) else "-".join(v) or "-")
def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one(name, options, tmp_path):
    cls = UNLEARNERS[name]
    ended = []

    class Fragile(cls):
        fuses = iter(())
        fuse = None

        def backward(self, model, batches, work):
            if work.step == Fragile.fuse:
                Fragile.fuse = None
                raise KeyError
            return super().backward(model, batches, work)

        def finish(self, model, data, work):
            ended.append({k: v.clone() for k, v in work.tensors.items()})

    unlearner = Fragile(**QUICK, **options, epsilon=-0.3) if name != "famo" else Fragile(**QUICK)
    given = data(augment=Augment(1))
    states = []
    for stops in ((), (3, 6)):
        fuses = iter(stops)
        for _ in range(len(stops) + 1):
            model = network()
            mask = half(model)
            Fragile.fuse = next(fuses, None)
            try:
                fit(model, unlearner, given, seed=5, mask=mask, checkpoint=Checkpoint(tmp_path / "run", every=0))
            except KeyError:
                continue
        states.append(state(model))
    assert len(ended) == 2
    assert same(*states)
    assert same(*ended)
    key = "w" if name == "famo" else "lambda"
    assert ended[0][key].any(), "there was a state to lose"


def test_methods_are_registered_once_and_need_no_compiler():
    assert set(FAMILY) <= set(UNLEARNERS)
    assert len(set(map(UNLEARNERS.module, FAMILY))) == len(FAMILY), "one file each"
    assert all(UNLEARNERS[a] is not UNLEARNERS[b] for a, b in itertools.pairwise(FAMILY))
