"""Boundary, noise, edit and saliency unlearners: the property that makes each right."""

import dataclasses
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from places import ROOT, TESTS
from tiny import data, half, network, same, state, trained_on
from torch import nn
from torch.nn.functional import cross_entropy, softmax

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.gradients.per_sample import mean_squares
from lacuna.gradients.whole import lowest, mean_gradient
from lacuna.models.inference import copy_of
from lacuna.sparsity.mask import Mask, prunable
from lacuna.training.checkpoints import Checkpoint, Interrupted
from lacuna.training.state import LoopState
from lacuna.unlearning import UNLEARNERS, base, unlearn
from lacuna.unlearning.methods.boundary_expand import BoundaryExpand
from lacuna.unlearning.methods.boundary_shrink import BoundaryShrink
from lacuna.unlearning.methods.conv_transpose import transpose
from lacuna.unlearning.methods.msg import MaskedSmallGradients
from lacuna.unlearning.methods.prmq import Prmq, entropy
from lacuna.unlearning.methods.salun import SalUn
from lacuna.unlearning.methods.salun_soft import SoftSalUn
from lacuna.unlearning.methods.sfr_on import SFRon
from lacuna.unlearning.methods.unsir import Unsir

SOURCE = data()
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.05}
# methods with their options; the settings that change which code runs stand apart
METHODS = {
    "boundary_expand": ("boundary_expand", {}),
    "boundary_shrink": ("boundary_shrink", {}),
    "unsir": ("unsir", {"noise_samples": 8, "noise_steps": 5, "retain_per_class": 9}),
    "msg": ("msg", {}),
    "msg-global": ("msg", {"scope": "global"}),
    "conv_transpose": ("conv_transpose", {}),
    "prmq": ("prmq", {}),
    "salun": ("salun", {}),
    "salun-mixed": ("salun", {"order": "mixed", "exclude_true": True}),
    "salun_soft": ("salun_soft", {}),
    "salun_soft-penalty": ("salun_soft", {"penalty": 0.01}),
    "sfr_on": ("sfr_on", {}),
    "sfr_on-slow": ("sfr_on", {"slow": 0.5, "every": 2}),
}
ALL = pytest.mark.parametrize("case", METHODS)


@pytest.fixture(scope="module")
def trained():
    """Copy it, do not change it."""
    return trained_on(SOURCE)


def run(case, model, source=SOURCE, **more):
    method, options = METHODS[case]
    return unlearn(method, model, source, **(QUICK | options | more))


def working(model, mask=None, seed=0):
    return LoopState(seed=seed, device=torch.device("cpu"), classes=3, mask=mask)


def one_batch(source, part, dtype=torch.float64, epoch=0):
    return next(source.train_batches(part, 1000, 0, epoch, dtype))


def close(found, expected, rtol=1e-7, atol=0.0, msg=""):
    """As torch.testing.assert_close, which takes seconds to load."""
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=rtol, atol=atol, err_msg=msg)


def everything_of(source, part):
    return next(source.plain_batches(part, 1000, torch.float64))


# ---- all of them -----------------------------------------------------------------------------------------------------


@ALL
def test_masked_weights_are_exactly_zero_and_the_others_are_not(trained, case):
    given = half(trained)
    outcome = run(case, trained, mask=given)
    weights = outcome.model.state_dict()
    assert (outcome.mask == given) == (case != "conv_transpose")
    assert outcome.mask.sparsity == given.sparsity
    for name in outcome.mask:
        assert not weights[name][~outcome.mask[name]].any()
        assert weights[name][outcome.mask[name]].all()


@ALL
def test_shapes_names_and_types_stay(trained, case):
    outcome = run(case, trained)
    before, after = trained.state_dict(), outcome.model.state_dict()
    assert {k: (v.shape, v.dtype) for k, v in before.items()} == {k: (v.shape, v.dtype) for k, v in after.items()}
    assert all(p.requires_grad for p in outcome.model.parameters())
    assert not same(before, after)


@ALL
def test_seed_alone_decides_and_the_global_generator_rests(trained, case):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(run(case, trained, seed=5).model)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(state(run(case, trained, seed=5).model), first)
    assert not same(state(run(case, trained, seed=6).model), first)


@pytest.mark.parametrize("sparse", [False, True])
@ALL
def test_interrupted_run_ends_like_an_uninterrupted_one(trained, case, sparse, tmp_path):
    mask = half(trained) if sparse else None
    whole = run(case, trained, mask=mask)
    checkpoint = Checkpoint(tmp_path / "checkpoint", every=1e9)
    with pytest.raises(Interrupted):
        run(case, trained, mask=mask, checkpoint=checkpoint, log=lambda _: signal.raise_signal(signal.SIGTERM))
    resumed = run(case, trained, mask=mask, checkpoint=checkpoint)
    assert same(state(resumed.model), state(whole.model))
    assert resumed.mask == whole.mask
    assert [row["loss"] for row in resumed.fit.history] == [row["loss"] for row in whole.fit.history]


@ALL
def test_layout_of_the_weights_does_not_matter(trained, case):
    ours = run(case, trained, mask=half(trained))
    theirs = run(case, copy_of(trained).to(memory_format=torch.channels_last), mask=half(trained))
    assert ours.mask == theirs.mask
    for (name, a), b in zip(ours.model.state_dict().items(), theirs.model.state_dict().values(), strict=True):
        close(a, b, rtol=1e-6, atol=1e-9, msg=name)


@ALL
def test_user_model_without_batch_norm_and_float_images(case):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 3))
    x, y = torch.randn(30, 2, 6, 6, generator=generator), torch.arange(30) % 3
    source = UnlearningData.from_tensors(retain=(x[:20], y[:20]), forget=(x[20:], y[20:]))
    outcome = run(case, model, source)
    assert outcome.model(x).shape == (30, 3)


def test_compiler_is_not_loaded():
    """Neither torch's compiler nor sympy: loading them costs more than a short job's whole training."""
    script = """
import sys, torch
from tiny import data, network
from lacuna.unlearning import unlearn
torch.set_num_threads(1)
for method, options in eval(sys.argv[1]):
    unlearn(method, network(), data(), epochs=1, **options)
print([m for m in ("torch._dynamo", "torch._inductor", "sympy", "torchvision") if m in sys.modules])
"""
    paths = {"PYTHONPATH": f"{TESTS}:{ROOT / 'src'}"}
    methods = repr(list(METHODS.values()))
    done = subprocess.run(
        [sys.executable, "-c", script, methods], capture_output=True, text=True, check=True, env=paths
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("part", "labels"), [("forget", False), ("forget", True), ("retain", False), ("retain", True)])
@ALL
def test_only_the_right_samples_have_influence(trained, case, part, labels):
    blind = {
        "boundary_expand": {"retain images", "retain labels", "forget labels"},
        "boundary_shrink": {"retain images", "retain labels"},
        "unsir": {"forget images"},
        "conv_transpose": {"forget images", "forget labels"},
        "prmq": {"forget images", "forget labels"},
        # random labels may be the true ones: only a saliency looks at them
        "salun_soft": {"forget labels"},
        "salun_soft-penalty": {"forget labels"},
    }
    images, y, index = SOURCE.images.clone(), SOURCE.labels.clone(), SOURCE.parts[part]
    if labels and case == "unsir" and part == "forget":
        index = index[y[index] == 0]  # for it a label is in D_f or not: take one out
    if labels:
        y[index] = (y[index] + 1) % 3
    else:
        images[index] = 255 - images[index]
    changed = dataclasses.replace(SOURCE, images=images, labels=y)
    unmoved = f"{part} {'labels' if labels else 'images'}" in blind.get(case, set())
    assert same(state(run(case, trained, changed).model), state(run(case, trained).model)) == unmoved


# ---- boundary --------------------------------------------------------------------------------------------------------


def test_shadow_class_is_added_learnt_and_dropped(trained):
    wide = {}

    @dataclass(frozen=True, kw_only=True)
    class Watched(BoundaryExpand):
        def begin(self, model, data, work):
            given = super().begin(model, data, work)
            wide["start"] = (model.fc.weight.detach().clone(), model.fc.bias.detach().clone())
            return given

        def finish(self, model, data, work):
            with torch.no_grad():
                wide["logits"] = copy_of(model).eval()(everything_of(SOURCE, "forget")[0])
            super().finish(model, data, work)

    outcome = base.run(Watched, trained, SOURCE, **QUICK)
    weight, bias = wide["start"]
    assert (weight.shape, bias.shape) == ((4, 6), (4,))
    assert torch.equal(weight[:3], trained.fc.weight)
    assert torch.equal(bias[:3], trained.fc.bias)
    assert 0 < weight[3].abs().max() <= 6**-0.5
    assert 0 < bias[3].abs() <= 6**-0.5
    # it learnt D_f, and what is left is the other classes' rows
    losses = [row["loss"] for row in outcome.fit.history]
    assert losses[1] < losses[0]
    with torch.no_grad():
        found = outcome.model(everything_of(SOURCE, "forget")[0])
    assert outcome.model.fc.out_features == 3
    close(found, wide["logits"][:, :3], rtol=1e-12, atol=1e-12)


def test_shadow_class_step_by_hand(trained):
    """One step on D_f: the rows of the three classes move by their gradient under the label of the fourth."""
    method = BoundaryExpand(lr=0.1, epochs=1, batch_size=100, momentum=0.0, weight_decay=0.0)
    model = copy_of(trained)
    method.begin(model, SOURCE, working(model))
    x, y = everything_of(SOURCE, "forget")
    cross_entropy(model.train()(x), torch.full_like(y, 3)).backward()
    expected = model.fc.weight.detach() - 0.1 * model.fc.weight.grad
    source = dataclasses.replace(SOURCE, shuffle=False)
    found = unlearn("boundary_expand", trained, source, **dataclasses.asdict(method))
    close(found.model.fc.weight, expected[:3], rtol=1e-9, atol=1e-12)


def test_shadow_class_label_follows_the_classifier_not_the_data(trained):
    """A head with more outputs than the data has classes: the shadow class is still a new one."""
    fewer = dataclasses.replace(SOURCE, classes=2, labels=SOURCE.labels % 2)
    method, model = BoundaryExpand(), copy_of(trained)
    work = working(model)
    method.begin(model, fewer, work)
    given = one_batch(fewer, "forget")
    expected = cross_entropy(model(given.x), torch.full_like(given.y, 3))
    close(method.loss(model, given, work), expected)


def test_shadow_class_with_a_mask_on_the_classifier(trained):
    generator = torch.Generator().manual_seed(0)
    mask = Mask(
        {"fc.weight": torch.rand(3, 6, generator=generator) < 0.5, "conv1.weight": half(trained)["conv1.weight"]}
    )
    outcome = run("boundary_expand", trained, mask=mask)
    assert outcome.mask == mask
    weight = outcome.model.fc.weight
    assert not weight[~mask["fc.weight"]].any()
    assert weight[mask["fc.weight"]].all()


def test_model_without_linear_layer_has_no_shadow_class():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(
        LacunaError, match=r"^Sequential has no classifier: it holds no Linear layer; allowed: a network with one$"
    ):
        unlearn("boundary_expand", model, SOURCE)


@pytest.mark.parametrize("epsilon", [0.0, 0.03, 0.1, 0.5, 5.0])
def test_nearest_class_is_the_wrong_one_that_wins_after_the_step(trained, epsilon):
    """Sample by sample, with the step taken on pixels in [0, 1]."""
    model = copy_of(trained)
    found = BoundaryShrink(epsilon=epsilon, batch_size=5).begin(model, SOURCE, working(model))
    forget = SOURCE.index("forget")
    others = torch.ones(len(SOURCE.labels), dtype=torch.bool)
    others[forget] = False
    assert torch.equal(found.labels[others], SOURCE.labels[others])
    assert (found.labels[forget] != SOURCE.labels[forget]).all()
    model.eval()
    stayed = 0
    for i in forget:
        pixels = (SOURCE.images[i : i + 1].double() / 255).requires_grad_()
        loss = cross_entropy(model((pixels - 0.4) / 0.3), SOURCE.labels[i : i + 1])
        loss.backward()
        moved = (pixels.detach() + epsilon * pixels.grad.sign()).clamp(0, 1)
        scores = model((moved - 0.4) / 0.3)[0]
        stayed += int(scores.argmax() == SOURCE.labels[i])
        scores[SOURCE.labels[i]] = -torch.inf
        assert found.labels[i] == scores.argmax()
    if epsilon == 0:
        assert stayed > 0, "the true label wins somewhere, and yet it is never taken"


def test_step_is_taken_on_pixels_and_clipped_to_their_range(trained):
    model, seen = copy_of(trained).eval(), []
    model.register_forward_pre_hook(lambda _, given: seen.append((given[0].detach() * 0.3 + 0.4).numpy()))
    x, y = everything_of(SOURCE, "forget")
    BoundaryShrink(epsilon=0.4).nearest(model, x, y, SOURCE)
    before, after = seen
    assert (before.min(), before.max()) != (after.min(), after.max()) == pytest.approx((0, 1), abs=1e-12)
    inside = (after > 1e-9) & (after < 1 - 1e-9)
    assert 0 < inside.mean() < 1
    moved = np.abs(after - before)[inside]
    assert ((np.abs(moved - 0.4) < 1e-9) | (moved < 1e-9)).all()
    assert (moved > 0.1).any()
    # images that are given as floats have no known range
    floats = dataclasses.replace(SOURCE, images=x, mean=(0.0,), std=(1.0,))
    seen.clear()
    BoundaryShrink(epsilon=9.0).nearest(model, x, y, floats)
    assert np.abs(seen[1] - seen[0]).max() == pytest.approx(9.0 * 0.3)


def test_nearest_labels_are_those_of_theta_o_in_every_epoch(trained):
    seen = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(BoundaryShrink):
        def loss(self, model, forget):
            seen.append(dict(zip(forget.index.tolist(), forget.y.tolist(), strict=True)))
            return super().loss(model, forget)

    base.run(Watched, trained, SOURCE, epochs=3, lr=0.5, batch_size=100)
    expected = BoundaryShrink().begin(copy_of(trained), SOURCE, working(trained)).labels
    forget = SOURCE.index("forget").tolist()
    assert seen == [{i: int(expected[i]) for i in sorted(epoch, key=list(epoch).index)} for epoch in seen]
    assert [sorted(epoch) for epoch in seen] == [sorted(forget)] * 3


# ---- noise -----------------------------------------------------------------------------------------------------------


def test_noise_raises_the_loss_and_is_adam(trained):
    model = copy_of(trained).train()
    start, labels = Unsir(noise_samples=4, noise_steps=0).noise(model, SOURCE, 3)
    found, _ = Unsir(noise_samples=4, noise_steps=12).noise(model, SOURCE, 3)
    assert same(state(model), state(trained)), "the model itself stays"
    model.eval()
    assert labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4, "this D_f holds all three classes"
    x, m, v = start.numpy().copy(), 0.0, 0.0
    for t in range(1, 13):
        leaf = torch.from_numpy(x).requires_grad_()
        (-cross_entropy(model(leaf), labels) + 0.1 * (leaf**2).sum((1, 2, 3)).mean()).backward()
        g = leaf.grad.numpy()
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = x - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(found, x, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        before, after = (cross_entropy(model(x), labels).item() for x in (start, found))
    assert after > before + 0.1


def test_impair_has_noise_under_forgotten_labels_and_repair_has_none(trained):
    shown = []

    class Model(nn.Module):
        def forward(self, x):
            shown.append(x)
            return torch.zeros(len(x), 3, dtype=x.dtype)

    method = Unsir(noise_ratio=0.5)
    noise = torch.arange(7.0).view(-1, 1, 1, 1).expand(7, 1, 6, 6) + 100
    work = working(trained)
    work.memory["noise"] = (noise.double(), torch.full((7,), 2))
    given = one_batch(SOURCE, "retain")
    method.loss(Model(), given, 0, work)
    method.loss(Model(), given, 1, work)
    impair, repair = shown
    assert torch.equal(repair, given.x)
    assert torch.equal(impair[: len(given.x)], given.x)
    drawn = impair[len(given.x) :]
    assert len(drawn) == round(0.5 * len(given.x))
    assert {v.item() for v in drawn[:, 0, 0, 0]} <= {v + 100 for v in range(7)}
    assert len(drawn[:, 0, 0, 0].unique()) > 3


def test_impair_labels_noise_as_the_forgotten_class(trained):
    logits = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    work = working(trained)
    work.memory["noise"] = (torch.zeros(1, 1, 6, 6, dtype=torch.float64), torch.tensor([2]))
    given = one_batch(SOURCE, "retain")
    loss = Unsir(noise_ratio=1.0).loss(lambda x: logits[: len(x)], given, 0, work)
    labels = torch.cat([given.y, torch.full_like(given.y, 2)])
    close(loss, cross_entropy(logits[: len(labels)], labels))


def test_rates_of_impair_and_repair():
    method = Unsir(epochs=5, impair_epochs=2)
    assert [method.lr_at(step, 3) for step in range(0, 15, 3)] == pytest.approx([0.02, 0.02, 0.01, 0.01, 0.01])
    assert [row["lr"] for row in unlearn("unsir", network(), SOURCE, noise_steps=1).fit.history] == [0.02, 0.01]


def test_retained_subset_has_so_many_of_each_class_and_is_used_alone(trained):
    method = Unsir(retain_per_class=7, noise_steps=1)
    model = copy_of(trained)
    subset = method.begin(model, SOURCE, working(model)).parts["retain"]
    assert SOURCE.labels[subset].bincount().tolist() == [7, 7, 7]
    assert set(subset.tolist()) <= set(SOURCE.parts["retain"].tolist())
    assert len(set(subset.tolist())) == 21
    assert not torch.equal(subset, method.subset(SOURCE, 1)), "another seed, another subset"
    whole = Unsir(retain_per_class=0, noise_steps=1).begin(model, SOURCE, working(model))
    assert torch.equal(whole.parts["retain"], SOURCE.parts["retain"])
    assert torch.equal(Unsir(retain_per_class=1000).subset(SOURCE, 0), SOURCE.parts["retain"])
    outcome = unlearn("unsir", trained, SOURCE, retain_per_class=7, noise_steps=1, batch_size=7)
    assert (outcome.fit.steps, outcome.fit.samples) == (6, 42)


def test_noise_stands_for_a_class_only():
    assert UNLEARNERS["unsir"].scenarios == ("class",)
    assert all(UNLEARNERS[method].scenarios is None for method, _ in METHODS.values() if method != "unsir")


# ---- edits -----------------------------------------------------------------------------------------------------------


def small_gradients(model, source, names):
    """|∇(ℓ_r − ℓ_f)| in evaluation mode, from whole batches."""
    twin = copy_of(model).eval()
    (xr, yr), (xf, yf) = everything_of(source, "retain"), everything_of(source, "forget")
    (cross_entropy(twin(xr), yr) - cross_entropy(twin(xf), yf)).backward()
    gradients = dict(twin.named_parameters())
    return {name: gradients[name].grad.abs() for name in names}


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("sparse", [False, True])
def test_msg_draws_exactly_the_smallest_gradients_again(trained, scope, sparse):
    # as many retained as forgotten samples: the random sample of D_r is D_r
    source = data(retain=25, forget=25)
    model = copy_of(trained)
    mask = half(model) if sparse else None
    if mask is not None:
        mask.apply(model)
    method, before = MaskedSmallGradients(scope=scope, batch_size=10), state(model)
    expected = small_gradients(model, source, prunable(model))
    method.begin(model, source, working(model, mask))
    after = state(model)
    changed = {name: after[name] != before[name] for name in before}
    kept = {
        name: mask[name] if mask is not None else torch.ones_like(g, dtype=torch.bool) for name, g in expected.items()
    }
    groups = [list(expected)] if scope == "global" else [[name] for name in expected]
    for group in groups:
        drawn, exists, scores = (torch.cat([t[name].flatten() for name in group]) for t in (changed, kept, expected))
        assert int(drawn.sum()) == int(0.3 * int(exists.sum()))
        assert not drawn[~exists].any()
        assert scores[drawn].max() <= scores[exists & ~drawn].min()
    assert not any(c.any() for name, c in changed.items() if name not in expected), "only convolutions"


def test_msg_samples_as_many_retained_as_forgotten(trained, monkeypatch):
    seen = {}

    def record(model, data, part, batch_size):
        seen[part] = data.index(part)
        return {name: torch.zeros_like(p) for name, p in model.named_parameters()}

    monkeypatch.setattr("lacuna.unlearning.methods.msg.mean_gradient", record)
    MaskedSmallGradients().choose(trained, SOURCE, working(trained))
    assert torch.equal(seen["forget"], SOURCE.parts["forget"])
    assert len(set(seen["retain"].tolist())) == len(seen["forget"]) < len(SOURCE.parts["retain"])
    assert set(seen["retain"].tolist()) <= set(SOURCE.parts["retain"].tolist())


def test_msg_damps_the_gradient_of_the_other_convolution_weights(trained):
    method, model = MaskedSmallGradients(damping=0.1), copy_of(trained)
    work = working(model)
    method.begin(model, SOURCE, work)
    given = one_batch(SOURCE, "retain")
    twin = copy_of(model)
    cross_entropy(twin(given.x), given.y).backward()
    method.backward(model, {"retain": given}, work)
    for name, p in twin.named_parameters():
        found = dict(model.named_parameters())[name].grad
        fresh = dict(trained.named_parameters())[name] != p
        factor = torch.where(fresh, 1.0, 0.1) if name in prunable(model) else 1.0
        close(found, p.grad * factor, rtol=1e-6, atol=1e-12)


def test_msg_draws_as_the_model_draws_its_own(trained):
    wide = network(widths=(40, 60))
    with torch.no_grad():
        wide.conv2.weight.fill_(5.0)
    MaskedSmallGradients(batch_size=16).begin(wide, SOURCE, working(wide))
    drawn = wide.conv2.weight[wide.conv2.weight != 5.0].detach()
    assert len(drawn) == int(0.3 * wide.conv2.weight.numel())
    bound = (40 * 9) ** -0.5
    assert drawn.abs().max() <= bound
    assert drawn.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_transposing_twice_is_the_identity(trained):
    model, mask = copy_of(trained), half(trained)
    mask.apply(model)
    before = state(model)
    once = transpose(model, mask)
    assert once != mask
    assert not same(state(model), before)
    once.check(model)
    assert transpose(model, once) == mask
    assert same(state(model), before)


def test_transposed_network_sees_transposed_images(trained):
    """f_Wᵀ(xᵀ) = f_W(x): every kernel was turned, and nothing else."""
    model = copy_of(trained).eval()
    x = everything_of(SOURCE, "forget")[0]
    with torch.no_grad():
        expected, plain = model(x), model(x.mT)
        assert transpose(model, None) is None
        close(model(x.mT), expected, rtol=1e-10, atol=1e-10)
        assert not torch.allclose(plain, expected, atol=1e-3)


def test_transposed_mask_is_the_outcome(trained):
    mask = half(trained)
    outcome = run("conv_transpose", trained, mask=mask)
    for name in mask:
        assert torch.equal(outcome.mask[name], mask[name].transpose(2, 3))


def test_kernel_that_is_not_square_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 2, (1, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    with pytest.raises(LacunaError, match=r"^conv_transpose: '0.weight' has a 1×3 kernel; allowed: square kernels$"):
        unlearn("conv_transpose", model, SOURCE)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("share", [0.29, 0.7, 0.99])
def test_prmq_draws_its_share_of_the_smallest_weights_again(trained, share, sparse):
    model = copy_of(trained)
    mask = half(model) if sparse else None
    if mask is not None:
        mask.apply(model)
    before = state(model)
    Prmq(share=share).begin(model, SOURCE, working(model, mask))
    after = state(model)
    names = ["conv1.weight", "conv2.weight", "fc.weight"]
    assert all(torch.equal(after[name], before[name]) for name in before if name not in names)
    old, new = (torch.cat([s[name].flatten() for name in names]) for s in (before, after))
    exists = old != 0
    drawn = old != new
    assert int(drawn.sum()) == int(round(100 * share) * int(exists.sum())) // 100
    assert not drawn[~exists].any()
    assert old[drawn].abs().max() <= old[exists & ~drawn].abs().min()


def test_prmq_loss_matches_entropies(trained):
    model, method = network(seed=7).double().eval(), Prmq()
    work = working(model)
    work.memory["original"] = copy_of(trained).eval()
    given = one_batch(SOURCE, "retain")
    with torch.no_grad():
        p, q = (softmax(m(given.x), 1).numpy() for m in (model, work.memory["original"]))
    h_p, h_q = (-(r * np.log(r)).sum(1) for r in (p, q))
    expected = -np.log(p[np.arange(len(p)), given.y]).mean() + ((h_p - h_q) ** 2).mean()
    assert method.loss(model, given, work).item() == pytest.approx(expected, rel=1e-9)
    # with the original itself only the cross-entropy is left
    own = method.loss(work.memory["original"], given, work)
    close(own, cross_entropy(work.memory["original"](given.x), given.y))


def test_entropy_of_a_certain_prediction_is_zero_and_finite():
    logits = torch.tensor([[500.0, 0.0, -500.0], [0.0, 0.0, 0.0]])
    close(entropy(logits), torch.tensor([0.0, np.log(3)], dtype=torch.float32))


def test_prmq_ends_in_half_precision_if_asked(trained):
    rounded = state(run("prmq", trained).model)
    whole = state(run("prmq", trained, quantise=False).model)
    for name, value in rounded.items():
        assert torch.equal(value, value.half().to(value.dtype)) or not value.is_floating_point()
        assert torch.equal(value, whole[name].half().to(value.dtype)) or not value.is_floating_point()
    assert not same(rounded, whole)


def test_prmq_teacher_is_the_original_and_never_moves(trained):
    works = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(Prmq):
        def finish(self, model, data, work):
            works.append(work)

    base.run(Watched, trained, SOURCE, **QUICK)
    assert same(state(works[0].memory["original"]), state(trained))


# ---- saliency --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [5, 12, 100])
def test_mean_gradient_does_not_depend_on_the_batches(trained, batch_size):
    model = copy_of(trained)
    x, y = everything_of(SOURCE, "forget")
    cross_entropy(model.eval()(x), y).backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    model.train()
    model.bn1.eval()
    found = mean_gradient(model, SOURCE, "forget", batch_size)
    for name, gradient in found.items():
        close(gradient, expected[name], rtol=1e-9, atol=1e-13)
    assert [m.training for m in (model, model.bn1, model.bn2)] == [True, False, True]
    assert all(p.grad is None for p in model.parameters())
    assert same(state(model), state(trained)), "batch norm statistics stay"


def test_lowest_counts_what_exists_and_takes_the_first_of_equals():
    scores = {"a": torch.tensor([[3.0, 1.0], [1.0, 0.0]]), "b": torch.tensor([1.0, 2.0])}
    found = lowest(scores, 0.5)
    assert found["a"].tolist() == [[False, True], [True, True]]
    assert found["b"].tolist() == [False, False]
    masked = lowest(scores, 0.5, Mask({"a": torch.tensor([[1, 1], [0, 0]])}))
    assert masked["a"].tolist() == [[False, True], [False, False]]
    assert masked["b"].tolist() == [True, False]
    tied = lowest({"a": torch.zeros(5000), "b": torch.zeros(5000)}, 0.6)
    assert torch.cat(list(tied.values())).tolist() == [True] * 6000 + [False] * 4000
    hundred = {"a": torch.arange(100.0)}
    assert [int(lowest(hundred, share)["a"].sum()) for share in (0.29, 0.57, 0.58)] == [29, 57, 58]


@pytest.mark.parametrize("batchnorm", ["train", "frozen"])
@pytest.mark.parametrize("sparse", [False, True])
def test_salun_moves_nothing_outside_its_mask(trained, sparse, batchnorm):
    """Bit for bit, after three epochs with momentum and weight decay."""
    mask = half(trained) if sparse else None
    options = {"epochs": 3, "momentum": 0.9, "weight_decay": 0.1, "lr": 0.1, "batch_size": 16, "batchnorm": batchnorm}
    outcome = unlearn("salun", trained, SOURCE, mask=mask, share=0.3, **options)
    start = copy_of(trained)
    if mask is not None:
        mask.apply(start)
    before, after = state(start), state(outcome.model)
    gradient = mean_gradient(start, SOURCE, "forget", 100)
    kept = {
        n: mask[n] if mask is not None and n in mask else torch.ones_like(g, dtype=torch.bool)
        for n, g in gradient.items()
    }
    saliency, exists, moved = (
        torch.cat([t.flatten() for t in values])
        for values in (
            [g.abs() for g in gradient.values()],
            kept.values(),
            [after[name] != before[name] for name in gradient],
        )
    )
    count = 3 * int(exists.sum()) // 10
    threshold = saliency[exists].sort(descending=True).values[count - 1]
    salient = exists & (saliency >= threshold)
    assert int(salient.sum()) == count
    assert torch.equal(moved, salient), "what is salient moves, nothing else does"
    assert any((after[name] != before[name]).any() for name in ("bn1.weight", "bn2.bias", "fc.weight"))
    for name in ("bn1.running_mean", "bn2.running_var", "bn1.num_batches_tracked"):
        assert torch.equal(after[name], before[name]) == (batchnorm == "frozen")


def test_salun_with_all_weights_salient_would_be_random_labels(trained):
    @dataclass(frozen=True, kw_only=True)
    class Everywhere(SalUn):
        def movable(self, model, data, work):
            return {name: torch.ones_like(p, dtype=torch.bool) for name, p in model.named_parameters()}

    options = QUICK | {"seed": 4}
    assert same(
        state(base.run(Everywhere, trained, SOURCE, **options).model),
        state(unlearn("rl", trained, SOURCE, **options).model),
    )


def test_soft_salun_with_a_huge_threshold_returns_the_original(trained):
    outcome = unlearn("salun_soft", trained, SOURCE, penalty=1e6, **QUICK)
    for (name, found), expected in zip(outcome.model.named_parameters(), trained.parameters(), strict=True):
        assert torch.equal(found, expected), name


@pytest.mark.parametrize("nothing", [{"penalty": 0.0}, {"share": 0.0}])
def test_soft_salun_without_threshold_is_random_labels(trained, nothing):
    options = {**QUICK, "order": "mixed"}
    soft, hard = (unlearn(m, trained, SOURCE, **options, **o).model for m, o in (("salun_soft", nothing), ("rl", {})))
    assert same(state(soft), state(hard))


def test_soft_step_is_the_proximal_operator(trained):
    """θ⁺ minimises ½‖z − θ‖² + s‖z − θ_o‖₁: (θ − θ⁺)/s is a subgradient of the norm."""
    method, model = SoftSalUn(penalty=0.4, epochs=4), copy_of(trained)
    work = working(model)
    method.begin(model, SOURCE, work)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn(p.shape, generator=generator, dtype=torch.float64)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    work.epoch, work.lr = 1, 2.0
    method.after_step(model, {}, work)
    threshold = 2.0 * 0.4 * (1 - 1 / 4)
    for (name, p), origin in zip(model.named_parameters(), trained.parameters(), strict=True):
        subgradient = (before[name] - p.detach()) / threshold
        assert subgradient.abs().max() <= 1 + 1e-12
        back = p == origin
        assert torch.equal(back, (before[name] - origin).abs() <= threshold)
        close(subgradient[~back], (p - origin)[~back].sign(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sparse", [False, True])
def test_soft_salun_puts_back_its_share_which_falls_linearly(trained, sparse):
    mask = half(trained) if sparse else None
    masked = int(sum((~mask[name]).sum() for name in mask)) if sparse else 0
    exists = sum(p.numel() for p in trained.parameters()) - masked
    returned = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(SoftSalUn):
        def after_step(self, model, batches, work):
            super().after_step(model, batches, work)
            back = sum(int((p == work.memory["anchors"][n]).sum()) for n, p in model.named_parameters())
            returned.append(back - masked)

    base.run(Watched, trained, SOURCE, mask=mask, share=0.6, epochs=3, batch_size=26, lr=0.05)
    assert len(returned) == 6
    expected = [int(0.6 * (1 - epoch / 3) * exists) for epoch in (0, 0, 1, 1, 2, 2)]
    assert returned == expected


# ---- SFRon -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
def test_sfr_on_weighs_by_the_inverse_power_of_the_loss(exponent):
    losses = torch.tensor([0.1, 1.0, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    values = losses.detach().numpy()
    weights = values**-exponent / (values**-exponent).sum()
    found = SFRon(exponent=exponent).weighted(losses)
    assert found.item() == pytest.approx((weights * values).sum(), rel=1e-12)
    found.backward()
    np.testing.assert_allclose(losses.grad, weights, rtol=1e-12, err_msg="the weights are constants for the gradient")


def test_sfr_on_survives_samples_without_loss():
    losses = torch.tensor([0.0, 1.0], requires_grad=True)
    found = SFRon().weighted(losses)
    found.backward()
    assert torch.isfinite(found)
    assert torch.isfinite(losses.grad).all()


def test_sfr_on_ascends_every_k_retain_steps():
    steps = SFRon(every=3).plan(0, {"retain": 7, "forget": 2})
    f, r = ("forget",), ("retain",)
    assert steps == [f, r, r, r, f, r, r, r, f, r]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("clip", [1e9, 0.01])
def test_sfr_on_ascent_gradient(trained, sparse, clip):
    """−α_t M ⊙ ∇Σ w ℓ, clipped: entries outside M count neither for the step nor for the norm."""
    model, mask = copy_of(trained).eval(), half(trained) if sparse else None
    if mask is not None:
        mask.apply(model)
    method, work = SFRon(alpha=3.0, clip=clip, balance=0.8), working(model, mask)
    method.begin(model, SOURCE, work)
    forget, retain = (mean_squares(model, SOURCE, part) for part in ("forget", "retain"))
    work.lr = method.lr / 2
    given = one_batch(SOURCE, "forget")
    twin = copy_of(model)
    losses = cross_entropy(twin(given.x), given.y, reduction="none")
    weights = (losses.detach() ** -0.5) / (losses.detach() ** -0.5).sum()
    (-1.5 * (weights * losses).sum()).backward()
    expected, inside = {}, 0
    for name, p in twin.named_parameters():
        salient = forget[name] >= 0.8 * retain[name]
        if mask is not None and name in mask:
            salient &= mask[name]
        expected[name] = p.grad * salient
        inside += int(salient.sum())
    assert 10 < inside < 100, "a mask that says something"
    norm = torch.cat([g.flatten() for g in expected.values()]).norm()
    method.backward(model, {"forget": given}, work)
    for name, p in model.named_parameters():
        close(p.grad, expected[name] * min(1.0, clip / norm.item()), rtol=1e-3, atol=1e-12)


def test_sfr_on_retain_step_is_plain_descent(trained):
    model, twin, method = copy_of(trained), copy_of(trained), SFRon(clip=1e-6)
    work = working(model)
    method.begin(model, SOURCE, work)
    given = one_batch(SOURCE, "retain")
    method.backward(model, {"retain": given}, work)
    cross_entropy(twin(given.x), given.y).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("slow", [0.0, 0.25])
def test_sfr_on_averages_each_round_with_its_start(trained, slow):
    rounds = []

    @dataclass(frozen=True, kw_only=True)
    class Watched(SFRon):
        def close_round(self, model, work):
            fast = {name: p.detach().clone() for name, p in model.named_parameters()}
            super().close_round(model, work)
            rounds.append((fast, {name: p.detach().clone() for name, p in model.named_parameters()}))

    outcome = base.run(Watched, trained, SOURCE, epochs=2, batch_size=10, every=2, slow=slow, lr=0.05)
    assert len(rounds) == 2 * 2 + 1, "four retain steps an epoch, two rounds, and the end"
    previous = dict(trained.named_parameters())
    for fast, after in rounds:
        for name, p in after.items():
            close(p, slow * previous[name] + (1 - slow) * fast[name], rtol=1e-9, atol=1e-12)
        previous = after
    assert same(previous, {name: p.detach() for name, p in outcome.model.named_parameters()})


def test_sfr_on_forgets_more_than_descent_alone(trained):
    def loss(model):
        x, y = everything_of(SOURCE, "forget")
        with torch.no_grad():
            return cross_entropy(model.eval()(x), y).item()

    options = {"epochs": 4, "batch_size": 16, "lr": 0.05, "every": 2}
    ascended, descended = (unlearn("sfr_on", trained, SOURCE, alpha=alpha, **options).model for alpha in (25.0, 0.0))
    assert loss(ascended) > loss(descended) + 0.1


def test_streams_of_each_method():
    expected = {
        "boundary_expand": ("forget",),
        "boundary_shrink": ("forget",),
        "unsir": ("retain",),
        "msg": ("retain",),
        "conv_transpose": ("retain",),
        "prmq": ("retain",),
        "salun": ("forget", "retain", "mixed"),
        "salun_soft": ("forget", "retain", "mixed"),
        "sfr_on": ("retain", "forget"),
    }
    assert {method: UNLEARNERS[method].streams for method in expected} == expected
