"""What makes each classic and each distilling method right."""

import copy
import dataclasses
import os
import signal
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from tiny import data, network, same, state
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax, softmax

from lacuna import unlearn
from lacuna.data.batches import Augment, Batch
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.inference import logits
from lacuna.models.init import reinitialise
from lacuna.sparsity.mask import Mask, prunable
from lacuna.training.checkpoints import Checkpoint, Interrupted
from lacuna.training.loop import fit
from lacuna.training.state import LoopState
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.base import LossUnlearner
from lacuna.unlearning.last_blocks import blocks
from lacuna.unlearning.methods.scrub import Scrub

FAMILY = ("neggrad_plus", "l1_sparse", "l1_sparse_ga", "cf_k", "eu_k", "scrub", "bad_teacher", "delete")
# an lr with which a run of two epochs moves the small network, whatever the method
QUICK = {"epochs": 2, "lr": 0.02, "batch_size": 8}


def magnitude_mask(model, sparsity="0.5"):
    return Mask.from_scores({name: w.detach().abs() for name, w in prunable(model).items()}, sparsity)


def trained(seed=0, dtype=torch.float32, **rest):
    """A network that knows its data, so that there is something to forget."""
    model = network(seed=seed, **rest).to(dtype)
    return unlearn("ft", model, data(classes=3), epochs=15, lr=0.1, batch_size=16).model


@pytest.fixture(scope="module")
def original():
    return trained()


def batch_of(x, y, forgotten=None, classes=3):
    forgotten = torch.zeros(len(y), dtype=torch.bool) if forgotten is None else forgotten
    return Batch(x, y, torch.arange(len(y)), forgotten, classes, torch.Generator())


def whole(given, part):
    """All samples of a part, as one batch would hold them."""
    ((x, y),) = given.plain_batches(part, 10_000, torch.float64)
    return x, y


def gradients(model, loss):
    return torch.autograd.grad(loss, list(model.parameters()))


def one_step(method, model, given, **options):
    """(θ_0 − θ_1) / lr of a single plain step on whole parts, batch norm frozen."""
    plain = {"epochs": 1, "batch_size": 10_000, "momentum": 0.0, "weight_decay": 0.0, "lr": 1e-3, "batchnorm": "frozen"}
    outcome = unlearn(method, model, given, **(plain | options))
    assert outcome.fit.steps == 1
    pairs = zip(model.parameters(), outcome.model.parameters(), strict=True)
    return [(before - after).detach() / 1e-3 for before, after in pairs]


def close(found, expected, atol=1e-9):
    # torch.testing would import sympy, two seconds
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert torch.allclose(f, e, rtol=0, atol=atol), float((f - e).detach().abs().max())


# ---- what all of them keep


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("method", FAMILY)
def test_mask_and_given_model_are_kept_and_the_weights_move(method, masked, original):
    mask = magnitude_mask(original) if masked else None
    before, randomness = state(original), torch.get_rng_state()
    outcome = unlearn(method, original, data(), mask=mask, **QUICK)
    assert outcome.mask is mask
    assert same(state(original), before)
    assert torch.equal(torch.get_rng_state(), randomness), "the global random stream was used"
    assert all(p.requires_grad for p in outcome.model.parameters())
    assert not same(state(outcome.model), before)
    for name in mask or ():
        weight = outcome.model.state_dict()[name]
        assert not weight[~mask[name]].any()
        assert weight[mask[name]].any()


@pytest.mark.parametrize("method", FAMILY)
def test_runs_in_double_channels_last_with_augmentation_and_bf16(method):
    """resnet8 is channels-last and has shortcuts; the same seed gives the same bits."""
    model = build(MODELS["resnet8"], {"width": 2}).build(3, 1)
    reinitialise(model, 0)
    mask = magnitude_mask(model)
    given = data(augment=Augment(crop=1, flip=True))
    options = QUICK | {"epochs": 1, "mask": mask}
    first, second = (unlearn(method, model.double(), given, **options) for _ in range(2))
    assert same(state(first.model), state(second.model))
    assert all(v.dtype != torch.float32 for v in first.model.state_dict().values())
    mask.check(first.model)
    mask.check(unlearn(method, model.float(), given, precision="bf16", **options).model)


@pytest.mark.parametrize("method", FAMILY)
def test_works_without_batch_norm(method):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
    outcome = unlearn(method, model, data(), mask=magnitude_mask(model), **QUICK)
    assert not same(state(outcome.model), state(model))


# whose images, and whose labels, decide the result; bad_teacher learns from teachers alone
READS = {
    "neggrad_plus": ("retain forget", "retain forget"),
    "l1_sparse": ("retain", "retain"),
    "l1_sparse_ga": ("forget", "forget"),
    "cf_k": ("retain", "retain"),
    "eu_k": ("retain", "retain"),
    "scrub": ("retain forget", "retain"),
    "bad_teacher": ("retain forget", ""),
    "delete": ("forget", "forget"),
}


@pytest.mark.parametrize("method", FAMILY)
def test_only_the_data_that_it_reads_has_influence(method, original):
    given = data()
    end = state(unlearn(method, original, given, **QUICK).model)
    for part in ("retain", "forget", "val", "test"):
        index = given.parts[part]
        images, labels = given.images.clone(), given.labels.clone()
        images[index], labels[index] = 255 - images[index], (labels[index] + 1) % 3
        changed = {"images": images}, {"labels": labels}
        for change, read in zip(changed, READS[method], strict=True):
            moved = not same(state(unlearn(method, original, dataclasses.replace(given, **change), **QUICK).model), end)
            assert moved == (part in read.split()), f"{list(change)} of {part}"


INTERRUPTED = [(m, {}) for m in FAMILY] + [
    ("scrub", {"rewind": True, "msteps": 1}),
    ("scrub", {"order": "passes", "schedule": "cosine", "msteps": 1}),
    ("l1_sparse", {"threshold_to": 0.8}),
]


@pytest.mark.parametrize("where", ["mid-epoch", "end of epoch 1"])
@pytest.mark.parametrize(("method", "options"), INTERRUPTED, ids=lambda v: v if isinstance(v, str) else "-".join(v))
def test_interrupted_run_ends_with_the_same_bits(method, options, where, original, tmp_path):
    options = QUICK | options
    given = data()
    straight = unlearn(method, original, given, **options)
    per_epoch = first_epoch_steps(method, options, given)
    step = per_epoch - 1 if where == "end of epoch 1" else per_epoch + 1
    halted = []

    def after_step(self, model, batches, work):
        if work.step == step and not halted:
            halted.append(work.step)
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = type("Stopped", (UNLEARNERS[method],), {"after_step": after_step})
    objective = build(stopped, options, method)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors")
    model = copy.deepcopy(original)
    with pytest.raises(Interrupted):
        fit(model, objective, given, seed=0, checkpoint=checkpoint)
    assert checkpoint.path.exists()
    model = copy.deepcopy(original)
    done = fit(model, objective, given, seed=0, checkpoint=checkpoint)
    assert halted == [step]
    assert done.steps == straight.fit.steps
    assert done.mask == straight.mask
    assert same(state(model), state(straight.model))
    assert [r["loss"] for r in done.history] == [r["loss"] for r in straight.fit.history]


def first_epoch_steps(method, options, given):
    objective = build(UNLEARNERS[method], options, method)
    given = objective.begin(copy.deepcopy(network()), given, LoopState(0, torch.device("cpu"), 3))
    return len(objective.plan(0, {s: given.steps(s, objective.batch_size) for s in objective.streams}))


@pytest.mark.parametrize("method", FAMILY)
def test_docstring_names_every_own_field(method):
    cls = UNLEARNERS[method]
    shared = {f.name for f in dataclasses.fields(LossUnlearner)}
    own = cls.__mro__[: cls.__mro__.index(LossUnlearner)]
    lines = [line.strip() for c in own for line in c.__doc__.splitlines()]
    for field in dataclasses.fields(cls):
        if field.name not in shared:
            assert sum(line.startswith(f"{field.name}: ") for line in lines) == 1, field.name
    for word in ("Published values", "Cost: ", "Source: "):
        assert sum(line.startswith(word) for line in lines) == 1, word


# ---- NegGrad+


def test_neggrad_plus_steps_along_the_stated_combination():
    model, given = trained(dtype=torch.float64).double(), data()
    losses = {}
    for part in ("retain", "forget"):
        x, y = whole(given, part)
        losses[part] = gradients(model, cross_entropy(model(x), y))
    expected = [0.9 * r - 0.1 * f for r, f in zip(losses["retain"], losses["forget"], strict=True)]
    close(one_step("neggrad_plus", model, given, alpha=0.9), expected)
    close(one_step("neggrad_plus", model, given, alpha=1.0), losses["retain"])


# ---- ℓ1


def test_l1_sparse_ga_steps_along_ascent_plus_sign():
    model, given = trained(dtype=torch.float64).double(), data()
    mask = magnitude_mask(model)
    mask.apply(model)
    x, y = whole(given, "forget")
    ascent = gradients(model, -cross_entropy(model(x), y))
    kept = dict(mask.pairs(model))
    for on in ("all", "weights"):
        found = one_step("l1_sparse_ga", model, given, penalty=0.3, l1_on=on, mask=mask)
        for p, g, f in zip(model.parameters(), ascent, found, strict=True):
            penalty = 0.3 * p.detach().sign() if on == "all" or p.dim() > 1 else 0.0
            close([f], [(g + penalty) * kept.get(p, torch.ones_like(p))])


@pytest.mark.parametrize("method", ["l1_sparse", "l1_sparse_ga"])
@pytest.mark.parametrize("masked", [True, False])
def test_threshold_reaches_the_sparsity_to_one_weight(method, masked, original):
    mask = magnitude_mask(original, "0.3") if masked else None
    plain = unlearn(method, original, data(), mask=mask, **QUICK)
    total = sum(w.numel() for w in prunable(original).values())
    for s in (0.3, 0.5, 0.77):
        pruned = unlearn(method, original, data(), mask=mask, threshold_to=s, **QUICK)
        removed = sum(int((~pruned.mask[name]).sum()) for name in pruned.mask)
        assert removed == round(Fraction(str(s)) * total)
        kept, gone = [], []
        for name in pruned.mask:
            before, after = plain.model.state_dict()[name], pruned.model.state_dict()[name]
            assert not after[~pruned.mask[name]].any()
            assert torch.equal(after[pruned.mask[name]], before[pruned.mask[name]]), "a survivor changed"
            kept.append(before[pruned.mask[name]].abs())
            gone.append(before[~pruned.mask[name]].abs())
            assert mask is None or not (pruned.mask[name] & ~mask[name]).any(), "a removed weight is back"
        assert torch.cat(kept).min() >= torch.cat(gone).max(), "not the smallest weights of all layers together"
        if masked and s == 0.3:
            assert pruned.mask == mask


def test_threshold_below_the_mask_is_refused_before_training(original):
    mask = magnitude_mask(original, "0.6")
    with pytest.raises(LacunaError, match=r"^l1_sparse\.threshold_to: 0\.5 .* sparsity 0\.5992.*allowed"):
        unlearn("l1_sparse", original, data(), mask=mask, threshold_to=0.5, **QUICK)
    with pytest.raises(LacunaError, match="threshold_to"):
        unlearn("l1_sparse", original, data(), threshold_to=1.0)


def test_a_kept_weight_that_is_zero_goes_after_the_removed_ones(original):
    model = copy.deepcopy(original)
    mask = magnitude_mask(model, "0.3")
    with torch.no_grad():
        for name, weight in prunable(model).items():
            weight.mul_(mask[name]).view(-1)[:5] = 0.0
    method = build(UNLEARNERS["l1_sparse"], {"threshold_to": 0.32})
    work = LoopState(0, torch.device("cpu"), 3, mask)
    method.finish(model, data(), work)
    assert not any((work.mask[name] & ~mask[name]).any() for name in mask)


def test_realised_sparsity_counts_weights_near_zero(original):
    model = copy.deepcopy(original)
    weights = prunable(model)
    with torch.no_grad():
        for w in weights.values():
            w.fill_(1.0).view(-1)[:3] = torch.tensor([9.9e-5, -9.9e-5, 1.1e-4])
    work = LoopState(0, torch.device("cpu"), 3)
    build(UNLEARNERS["l1_sparse"], {}).finish(model, data(), work)
    assert work.facts["realised_sparsity"] == pytest.approx(2 * len(weights) / sum(w.numel() for w in weights.values()))
    assert work.mask is None
    assert "realised_sparsity" in unlearn("l1_sparse", original, data(), **QUICK).fit.facts


# ---- the last k blocks


class PreActivation(nn.Module):
    """A body that is one module, a norm layer before the first weight and one after the last block."""

    class Body(nn.Module):
        def __init__(self):
            super().__init__()
            self.start = nn.BatchNorm2d(1)
            self.first = nn.Conv2d(1, 4, 3, padding=1)
            self.second = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1, bias=False))
            self.end = nn.BatchNorm2d(4)

        def forward(self, x):
            return self.end(self.second(self.first(self.start(x))))

    def __init__(self):
        super().__init__()
        self.body = self.Body()
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def convolutional():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1))


def vgg():
    features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
    return nn.ModuleDict(
        {"features": features, "classifier": nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3))}
    )


def resnet(name, width=2):
    return build(MODELS[name], {"width": width}).build(3, 1)


def test_blocks_of_known_networks():
    stem = ["stem.0", "stem.1"]
    assert blocks(resnet("resnet8")) == [stem, ["groups.0.0"], ["groups.1.0"], ["groups.2.0"], ["classifier"]]
    residual = [[f"groups.{g}.{b}"] for g in range(3) for b in range(3)]
    assert blocks(resnet("resnet20")) == [stem, *residual, ["classifier"]]
    assert len(blocks(resnet("resnet18"))) == 1 + 8 + 1
    assert blocks(network()) == [["conv1", "bn1"], ["conv2", "bn2"], ["fc"]]
    assert blocks(PreActivation()) == [["body.start", "body.first"], ["body.second.1", "body.end"], ["head"]]
    assert blocks(convolutional()) == [["0", "1"], ["3"]]
    assert blocks(vgg()) == [
        ["features.0", "features.1"],
        ["features.3", "features.4"],
        ["classifier.0"],
        ["classifier.3"],
    ]
    wrapped = blocks(nn.ModuleDict({"net": resnet("resnet8")}))
    assert wrapped == [[f"net.{name}" for name in block] for block in blocks(resnet("resnet8"))]


@pytest.mark.parametrize("method", ["cf_k", "eu_k"])
@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("make", [lambda: resnet("resnet8"), network, PreActivation])
def test_blocks_before_the_last_k_stay_bit_for_bit(make, k, method):
    model = make()
    found = blocks(model)
    moving = [name for block in found[len(found) - 1 - k :] for name in block]
    mask = magnitude_mask(model)
    mask.apply(model)
    before, after = state(model), state(unlearn(method, model, data(), k=k, mask=mask, **QUICK).model)
    assert any(name.endswith("running_mean") for name in before)
    for name in before:
        moved = not torch.equal(before[name], after[name])
        assert moved == any(name.startswith(f"{m}.") for m in moving), name


def test_cf_k_of_all_blocks_is_fine_tuning(original):
    assert same(
        state(unlearn("cf_k", original, data(), k=2, **QUICK).model),
        state(unlearn("ft", original, data(), **QUICK).model),
    )


@pytest.mark.parametrize("method", ["cf_k", "eu_k"])
def test_k_beyond_the_network_is_refused(method, original):
    with pytest.raises(LacunaError, match=rf"^{method}\.k: 3 is not allowed for Sequential; allowed: 0 to 2"):
        unlearn(method, original, data(), k=3, **QUICK)


@pytest.mark.parametrize("make", [lambda: resnet("resnet8"), network, PreActivation])
def test_eu_k_does_not_depend_on_what_the_last_blocks_were(make):
    one, other = make(), make()
    other.load_state_dict(one.state_dict())
    moving = [name for block in blocks(one)[-2:] for name in block]
    with torch.no_grad():
        for name, value in other.state_dict().items():
            if any(name.startswith(f"{m}.") for m in moving) and value.is_floating_point():
                value.add_(1.0)
    mask = magnitude_mask(one)
    ends = [state(unlearn("eu_k", m, data(), mask=mask, seed=3, **QUICK).model) for m in (one, other)]
    assert same(*ends)
    assert not same(ends[0], state(unlearn("eu_k", one, data(), mask=mask, seed=4, **QUICK).model))


def test_eu_k_starts_from_the_networks_own_initialisation():
    model = resnet("resnet8", width=8)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(7.0)
    given, method = data(), build(UNLEARNERS["eu_k"], {"k": 1})
    work = LoopState(5, torch.device("cpu"), 3)
    method.begin(model, given, work)
    block = model.groups[2][0]
    # He, fan out: the network's own rule; a convolution alone would draw uniformly
    assert float(block.conv2.weight.detach().std()) == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)
    assert bool((block.bn1.weight == 1).all())
    assert float(model.groups[1][0].conv2.weight.detach().min()) == 7.0


def test_eu_k_refuses_a_parameter_that_nothing_draws_anew():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4, 1))
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(x.mean((2, 3)) * self.scale[:, 0])

    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 1), Scaled())
    with pytest.raises(LacunaError, match=r"scale.*reset_parameters"):
        unlearn("eu_k", model, data(), k=0, **QUICK)


# ---- SCRUB


@dataclass(frozen=True, kw_only=True)
class Followed(Scrub):
    """SCRUB that writes down what every step read, the lr, and the state after each epoch."""

    def begin(self, model, given, work):
        work.memory["steps"], work.memory["states"] = [], []
        given = super().begin(model, given, work)
        self.seen.update(work.memory)
        return given

    def after_step(self, model, batches, work):
        self.seen["steps"].append((work.epoch, *batches, work.lr, work.step))

    def after_epoch(self, model, given, work):
        super().after_epoch(model, given, work)
        self.seen["states"].append(state(model))


def followed(**options):
    method = Followed(**options)
    object.__setattr__(method, "seen", {})
    return method


@pytest.mark.parametrize(("retain", "forget"), [(40, 12), (12, 40), (24, 24), (40, 3)])
def test_scrub_interleaves_max_and_min_steps(retain, forget, original):
    method = followed(epochs=4, msteps=2, batch_size=4, lr=1e-3)
    run = fit(copy.deepcopy(original), method, data(retain=retain, forget=forget), seed=0)
    maxima, minima = -(-forget // 4), -(-retain // 4)
    assert run.steps == 2 * maxima + 4 * minima
    for epoch in range(4):
        order = [read for e, read, *_ in method.seen["steps"] if e == epoch]
        if epoch >= 2:
            assert order == ["retain"] * minima
            continue
        assert order.count("forget") == maxima
        assert order.count("retain") == minima
        assert order[-1] == "retain"
        for end in range(1, len(order) + 1):
            # at any moment the max steps are ahead of their even share by less than one step of either kind
            done, kept = order[:end].count("forget"), order[:end].count("retain")
            assert -1 < done - kept * maxima / minima < 1 + maxima / minima
        if maxima <= minima:
            assert "forget forget" not in " ".join(order)


def test_scrub_can_take_whole_passes_in_turn(original):
    method = followed(epochs=2, msteps=1, batch_size=4, lr=1e-3, order="passes")
    fit(copy.deepcopy(original), method, data(), seed=0)
    assert [read for e, read, *_ in method.seen["steps"]] == ["forget"] * 3 + ["retain"] * 10 + ["retain"] * 10


def test_schedule_follows_the_epochs_though_they_differ_in_length(original):
    """Epochs with and without max steps: the cosine reaches each epoch's value when the epoch starts."""
    method = followed(epochs=4, msteps=2, batch_size=4, lr=1e-3, schedule="cosine", warmup_epochs=1)
    run = fit(copy.deepcopy(original), method, data(), seed=0)
    steps = method.seen["steps"]
    assert [s[-1] for s in steps] == list(range(run.steps))
    for epoch in range(1, 4):
        first = next(lr for e, _, lr, _ in steps if e == epoch)
        assert first == pytest.approx(1e-3 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * epoch / 4)).item()), rel=1e-6)
    assert [r["lr"] for r in run.history] == [[lr for e, _, lr, _ in steps if e == epoch][-1] for epoch in range(4)]


def kl_from(teacher, model, x, t):
    p, q = log_softmax(teacher(x) / t, 1), log_softmax(model(x) / t, 1)
    return t * t * (p.exp() * (p - q)).sum(1).mean()


def test_scrub_steps_away_on_forgotten_and_towards_on_retained_data():
    """One step of each kind is one step of gradient ascent, or descent, on the stated objective."""
    teacher = trained(dtype=torch.float64).double().eval()
    student, given = copy.deepcopy(teacher), data()
    with torch.no_grad():  # where student and teacher agree the divergence has no gradient
        for p in student.parameters():
            p.mul_(0.8)
    method = build(UNLEARNERS["scrub"], {"temperature": 3.0, "ce_weight": 0.7, "kl_weight": 0.2})
    work = LoopState(0, torch.device("cpu"), 3, memory={"teacher": teacher})
    xf, yf = whole(given, "forget")
    xr, yr = whole(given, "retain")
    found = gradients(student, method.loss(student, batch_of(xf, yf), None, work))
    close(found, gradients(student, -kl_from(teacher, student, xf, 3.0)))
    found = gradients(student, method.loss(student, None, batch_of(xr, yr), work))
    stated = 0.7 * cross_entropy(student(xr), yr) + 0.2 * kl_from(teacher, student, xr, 3.0)
    close(found, gradients(student, stated))


def test_scrub_teacher_is_the_original_in_evaluation_mode(original):
    method = followed(epochs=2, batch_size=8, lr=0.05)
    fit(copy.deepcopy(original).train(), method, data(), seed=0)
    teacher = method.seen["teacher"]
    assert same(state(teacher), state(original))
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())


def errors(state_dict, given, index):
    model = network()
    model.load_state_dict(state_dict)
    given = dataclasses.replace(given, parts={"retain": index})
    return int((logits(model, given, "retain").argmax(1) != given.labels[index]).sum())


def by_class(given, forget_class):
    """The same images with one class to forget; half of what remains is retained, the rest is validation."""
    everything = torch.cat(list(given.parts.values()))
    of_class = given.labels[everything] == forget_class
    members, others = everything[of_class], everything[~of_class]
    parts = {"retain": others[: len(others) // 2], "forget": members[:-6]}
    return dataclasses.replace(given, parts=parts | {"val": torch.cat([members[-6:], others[len(others) // 2 :]])})


@pytest.mark.parametrize("scenario", ["class", "random"])
def test_rewind_ends_with_the_epoch_closest_to_the_reference_error(scenario, original):
    given = data(retain=30, forget=40)
    given = by_class(given, 1) if scenario == "class" else given
    val = given.parts["val"]
    if scenario == "class":
        alike = val[given.labels[val] == 1]
        assert 0 < len(alike) < len(val)
    else:
        alike = val
    rewound = []
    for lr in (0.003, 0.01, 0.03):
        options = {"epochs": 8, "msteps": 4, "lr": lr, "batch_size": 8}
        method = followed(rewind=True, **options)
        model = copy.deepcopy(original)
        run = fit(model, method, given, seed=0)
        forget = given.parts["forget"]
        aim = Fraction(errors(method.seen["states"][-1], given, alike), len(alike))
        distance = [abs(Fraction(errors(s, given, forget), len(forget)) - aim) for s in method.seen["states"]]
        chosen = int(run.facts["epoch"]) - 1
        assert distance[chosen] == min(distance)
        assert run.facts["aim"] == float(aim)
        assert same(state(model), method.seen["states"][chosen])
        rewound.append(chosen)
        # without rewind the run is the same and ends with its last epoch
        plain = copy.deepcopy(original)
        fit(plain, Scrub(**options), given, seed=0)
        assert same(state(plain), method.seen["states"][-1])
    assert any(chosen < 7 for chosen in rewound), "no run was rewound: the test shows nothing"


def test_rewind_uses_only_validation_samples_of_forgotten_classes(original):
    """In the class scenario other validation labels may be anything."""
    given = by_class(data(retain=30, forget=40), 1)
    val = given.parts["val"]
    labels = given.labels.clone()
    labels[val[given.labels[val] != 1]] = 2 - labels[val[given.labels[val] != 1]]
    options = {"epochs": 4, "msteps": 2, "lr": 0.01, "batch_size": 8, "rewind": True}
    one, other = (unlearn("scrub", original, d, **options) for d in (given, dataclasses.replace(given, labels=labels)))
    assert one.fit.facts == other.fit.facts
    assert same(state(one.model), state(other.model))


def test_rewind_without_validation_samples_is_refused(original):
    given = data()
    parts = {k: v for k, v in given.parts.items() if k != "val"}
    with pytest.raises(LacunaError, match=r"^scrub\.rewind: true"):
        unlearn("scrub", original, dataclasses.replace(given, parts=parts), rewind=True, **QUICK)
    unlearn("scrub", original, dataclasses.replace(given, parts=parts), **QUICK)


# ---- bad teacher


def begun(method, model, given, seed=0, **options):
    method = build(UNLEARNERS[method], options)
    work = LoopState(seed, torch.device("cpu"), given.classes)
    return method, work, method.begin(model, given, work)


def test_bad_teacher_is_minimal_at_the_mixture(original):
    given = data()
    for temperature in (1.0, 2.0):
        method, work, sampled = begun("bad_teacher", original, given, temperature=temperature)
        good, bad = work.memory["competent"].double(), work.memory["incompetent"].double()
        x, y = sampled.normalised(sampled.images[sampled.index("mixed")], torch.float64), None
        y = sampled.labels[sampled.index("mixed")]
        forgotten = torch.arange(len(y)) < len(sampled.index("forget"))
        batch = batch_of(x, y, forgotten)
        mixture = torch.where(forgotten[:, None], bad(x), good(x)).detach()
        free = mixture.clone().requires_grad_()
        loss = method.loss(lambda _, free=free: free, batch, work)
        assert abs(loss.item()) < 1e-12
        (gradient,) = torch.autograd.grad(loss, free)
        assert float(gradient.abs().max()) < 1e-12
        generator = torch.Generator().manual_seed(0)
        for size in (1e-3, 1.0, 30.0):
            off = mixture + size * torch.randn(mixture.shape, generator=generator, dtype=mixture.dtype)
            assert float(method.loss(lambda _, off=off: off, batch, work)) > 0
        # KL(mix ‖ p): summed over classes, mean over samples
        off = mixture.flip(1)
        p, q = softmax(mixture / temperature, 1), log_softmax(off / temperature, 1)
        expected = (p * (p.log() - q)).sum(1).mean()
        close([method.loss(lambda _, off=off: off, batch, work)], [expected], 1e-12)


def test_bad_teacher_sees_a_sample_of_the_retained_data(original):
    given = data(retain=40)
    samples = []
    for seed in (0, 0, 1):
        _, _, sampled = begun("bad_teacher", original, given, seed=seed)
        retain = sampled.index("retain")
        assert len(retain) == 12
        assert len(set(retain.tolist())) == 12
        assert set(retain.tolist()) <= set(given.index("retain").tolist())
        assert torch.equal(sampled.index("forget"), given.index("forget"))
        samples.append(retain.tolist())
    assert samples[0] == samples[1] != samples[2]
    assert len(given.index("retain")) == 40
    _, _, sampled = begun("bad_teacher", original, given, retain_share=1.0)
    assert torch.equal(sampled.index("retain"), given.index("retain"))
    outcome = unlearn("bad_teacher", original, given, epochs=2, batch_size=8)
    assert outcome.fit.samples == 2 * (12 + len(given.index("forget")))


def test_incompetent_teacher_knows_nothing_of_the_model(original):
    _, first, _ = begun("bad_teacher", original, data())
    _, second, _ = begun("bad_teacher", network(seed=9), data())
    _, third, _ = begun("bad_teacher", original, data(), seed=1)
    assert same(state(first.memory["incompetent"]), state(second.memory["incompetent"]))
    assert not same(state(first.memory["incompetent"]), state(third.memory["incompetent"]))
    assert same(state(first.memory["competent"]), state(original))


# ---- DELETE


def test_delete_target_is_the_original_opinion_without_the_true_class(original):
    given = data()
    x, y = whole(given, "forget")
    method, work, _ = begun("delete", original, given)
    teacher = work.memory["teacher"].double()
    target = method.target(teacher, batch_of(x, y))
    true = torch.nn.functional.one_hot(y, 3).bool()
    assert bool((target[true] == 0).all())
    close([target.sum(1)], [torch.ones(len(y), dtype=torch.float64)], 1e-14)
    p = softmax(teacher(x), 1)
    # the other classes in their old proportion: 1 − p_y is their sum
    close([target], [(p * ~true / (p * ~true).sum(1, keepdim=True)).detach()], 1e-12)
    # a teacher that is certain of the true class leaves a finite target and loss
    certain = torch.full((len(y), 3), -300.0, dtype=torch.float64).masked_fill(true, 300.0)
    work.memory["teacher"] = lambda _: certain
    free = certain.clone().requires_grad_()
    loss = method.loss(lambda _: free, batch_of(x, y), work)
    (gradient,) = torch.autograd.grad(loss, free)
    assert bool(torch.isfinite(loss))
    close([gradient], [(softmax(certain, 1) - 0.5 * ~true) / len(y)], 1e-12)


def test_delete_forgets_and_reads_no_retained_data(original):
    given = data()
    outcome = unlearn("delete", original, given, lr=0.05, epochs=10, batch_size=8)
    assert outcome.fit.samples == 10 * len(given.index("forget"))
    x, y = whole(given, "forget")
    before, after = (
        softmax(m.double().eval()(x), 1).gather(1, y[:, None]).mean().item()
        for m in (copy.deepcopy(original), outcome.model)
    )
    assert after < 0.5 * before
