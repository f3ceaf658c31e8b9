"""Second-order unlearners and the gradients of single samples they are made of."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from places import ROOT, TESTS
from scipy.stats import chisquare, kstest
from tiny import data, half, network, same, state, trained_on
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax, softmax
from torch.utils.checkpoint import checkpoint

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.gradients import memory, per_sample
from lacuna.gradients.memory import memory_at_hand
from lacuna.gradients.per_sample import each_gradient, mean_squares, true_label
from lacuna.gradients.whole import mean_gradient, squared_batch_means, trained, unmasked
from lacuna.models import MODELS
from lacuna.models.inference import copy_of
from lacuna.randomness import derive
from lacuna.unlearning import UNLEARNERS, unlearn
from lacuna.unlearning.methods.ff import FisherForgetting, drawn_label, every_label, squares_of_batches, whole_class
from lacuna.unlearning.methods.iu import InfluenceUnlearning
from lacuna.unlearning.methods.ssd import SynapticDampening

SOURCE = data()
# all samples of class 1 are forgotten, and nothing else
PARTS = {"forget": (SOURCE.labels == 1).nonzero().flatten(), "retain": (SOURCE.labels != 1).nonzero().flatten()}
WHOLE = dataclasses.replace(SOURCE, parts=SOURCE.parts | PARTS)
METHODS = {
    "iu": ("iu", {}),
    "iu-few": ("iu", {"samples": 7}),
    "iu-collinear": ("iu", {"variant": "collinear"}),
    "ff": ("ff", {"alpha": 1e-5}),
    "ff-sampled": ("ff", {"alpha": 1e-5, "labels": "sampled"}),
    "ff-batch32": ("ff", {"alpha": 1e-5, "variant": "batch32"}),
    "ssd": ("ssd", {"alpha": 1.0}),
    "ssd-batch": ("ssd", {"alpha": 1.0, "variant": "batch", "batch_size": 7}),
    "lfssd": ("lfssd", {"alpha": 1.0}),
}
ALL = pytest.mark.parametrize("case", METHODS)
SPARSE = pytest.mark.parametrize("sparse", [False, True])


@pytest.fixture(scope="module")
def trained_model():
    """Copy it, do not change it."""
    return trained_on(SOURCE)


def run(case, model, source=SOURCE, **more):
    method, options = METHODS[case]
    return unlearn(method, model, source, **(options | more))


def close(found, expected, rtol=1e-9, atol=1e-14, msg=""):
    found, expected = (t.detach().numpy() for t in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, err_msg=msg)


def looped(model, source, index, loss=None):
    """The gradient of each sample by one backward pass each, by parameter: [n, *shape]."""
    loss = loss or (lambda logits, y: cross_entropy(logits, y))
    model, rows = copy_of(model).eval(), []
    x = source.normalised(source.images[index], next(model.parameters()).dtype)
    for i, y in enumerate(source.labels[index]):
        model.zero_grad()
        loss(model(x[i : i + 1]), y[None]).backward()
        rows.append({name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in trained(model).items()})
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def flat(scores):
    return torch.cat([s.flatten(1) if s.dim() > 1 else s[:, None] for s in scores.values()], 1)


# ---- gradients of single samples -------------------------------------------------------------------------------------


class Twice(nn.Module):
    """One layer, applied twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(36, 3)

    def forward(self, x):
        return self.fc(self.conv(torch.tanh(self.conv(x))).flatten(1))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Linear(36, 36), nn.Linear(36, 36), nn.Linear(36, 3)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.fc(self.b(torch.tanh(self.a(x.flatten(1)))))


class Borrowed(nn.Module):
    """A weight that is used outside its layer too."""

    def __init__(self):
        super().__init__()
        self.a, self.fc = nn.Linear(36, 36), nn.Linear(36, 3)

    def forward(self, x):
        return self.fc(torch.tanh(self.a(x.flatten(1))) @ self.a.weight)


class Folded(nn.Module):
    """A layer whose first axis holds more than samples."""

    def __init__(self):
        super().__init__()
        self.a, self.fc = nn.Linear(6, 4), nn.Linear(24, 3)

    def forward(self, x):
        return self.fc(torch.tanh(self.a(x.flatten(0, 2))).view(len(x), -1))


class Bare(nn.Module):
    """A parameter in no layer, and one that is never used."""

    def __init__(self):
        super().__init__()
        self.scale, self.idle, self.fc = nn.Parameter(torch.rand(36)), nn.Parameter(torch.rand(2)), nn.Linear(36, 3)

    def forward(self, x):
        return self.fc(x.flatten(1) * self.scale)


class Doubling(nn.Linear):
    """Not what its base class computes."""

    def forward(self, x):
        return 2 * super().forward(x)


class Scaled(nn.Module):
    """A parameter without axes."""

    def __init__(self):
        super().__init__()
        self.scale, self.fc = nn.Parameter(torch.ones(())), nn.Linear(36, 3)

    def forward(self, x):
        return self.scale * self.fc(x.flatten(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows, self.fc = nn.LSTM(6, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(self.rows(x[:, 0])[0][:, -1])


class Cube(torch.autograd.Function):
    """Written as before torch.func was there."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        return 3 * ctx.saved_tensors[0] ** 2 * g


class Cubed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.fc = nn.Linear(36, 4), nn.Linear(4, 3)
        self.shift = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return self.fc(Cube.apply(self.a(x.flatten(1)) + self.shift))


class Counting(Cubed):
    """A number out of a tensor."""

    def forward(self, x):
        a = self.a(x.flatten(1)) + self.shift
        return self.fc(a if a.sum().item() > 1e9 else a.tanh())


class Checkpointed(Cubed):
    def forward(self, x):
        return self.fc(checkpoint(lambda x: self.a(x.flatten(1)).tanh() + self.shift, x, use_reentrant=False))


def assembled(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


NETWORKS = {
    "tiny": (network, True),
    "resnet8": (lambda: build(MODELS["resnet8"], {"width": 4}).build(3, 1), True),
    "rows further apart than columns": (
        lambda: assembled(nn.Conv2d(1, 4, (2, 3), (1, 2), (1, 2), (3, 2)), nn.BatchNorm2d(4), nn.ReLU()),
        True,
    ),
    "strides, padding and dilation": (
        lambda: assembled(nn.Conv2d(1, 4, (3, 2), (2, 1), (2, 1), (1, 2)), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        True,
    ),
    "batch norm of vectors": (lambda: assembled(nn.Flatten(), nn.Linear(36, 5, bias=False), nn.BatchNorm1d(5)), True),
    "batch norm of sequences": (lambda: assembled(nn.Flatten(2), nn.BatchNorm1d(1), nn.Tanh()), True),
    "batch norm without weights": (lambda: assembled(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False)), True),
    "batch norm without statistics": (
        lambda: assembled(nn.Conv2d(1, 2, 3), nn.GroupNorm(1, 2), nn.InstanceNorm2d(2, affine=True)),
        False,
    ),
    "groups": (lambda: assembled(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3, groups=2), nn.GroupNorm(2, 6)), False),
    "reflecting": (lambda: assembled(nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect")), False),
    "same": (lambda: assembled(nn.Conv2d(1, 4, 3, padding="same")), False),
    "sequence": (lambda: assembled(nn.Flatten(1, 2), nn.Linear(6, 4), nn.Tanh()), False),
    "twice": (Twice, False),
    "tied": (Tied, False),
    "borrowed": (Borrowed, False),
    "folded": (Folded, False),
    "bare": (Bare, False),
    "subclass": (lambda: nn.Sequential(nn.Flatten(), Doubling(36, 3)), False),
    "scaled": (Scaled, False),
    "recurrent": (Recurrent, False),
    "custom function": (Cubed, False),
    "number out of a tensor": (Counting, False),
    "checkpoint": (Checkpointed, False),
}
# those that torch.func cannot follow either
SINGLY = ["recurrent", "custom function", "number out of a tensor", "checkpoint"]


def made(name):
    """The network, with statistics and affine parameters that are not the neutral ones, in float64."""
    torch.manual_seed(0)
    model = NETWORKS[name][0]()
    model.double().train()
    for _ in range(3):
        model(torch.randn(30, 1, 6, 6, dtype=torch.float64) * 2 + 1)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
    return model


@pytest.mark.parametrize("chunk", [1, 5, 100])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_a_loop(name, chunk):
    model, index = made(name), SOURCE.index("retain")[:11]
    expected = looped(model, SOURCE, index)
    found = {key: torch.zeros_like(g) for key, g in expected.items()}
    count = dict.fromkeys(found, 0)

    def sink(where, key, gradients):
        found[key][where] += gradients
        count[key] += len(gradients)

    before, modes = state(model), [m.training for m in model.modules()]
    each_gradient(model, SOURCE, index, true_label, sink, chunk=chunk)
    for key, gradients in found.items():
        close(gradients, expected[key], rtol=1e-8, atol=1e-13, msg=key)
        assert count[key] == (0 if key == "idle" else 11)
    assert same(state(model), before), "neither weights nor batch norm statistics"
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert not any("forward" in vars(m) for m in model.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_known_layers_are_derived_by_hand_and_no_others(name, monkeypatch):
    ways, by_sample = [], per_sample._by_sample
    monkeypatch.setattr(per_sample, "_by_sample", lambda *given: ways.append("by sample") or by_sample(*given))
    each_gradient(made(name), SOURCE, SOURCE.index("retain")[:5], true_label, lambda *_: None)
    assert (not ways) == NETWORKS[name][1]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_log_tells_of_samples_that_go_one_by_one(name):
    lines: list[str] = []
    mean_squares(made(name), SOURCE, "forget", log=lines.append)
    expected = f"{type(made(name)).__name__} cannot be derived many samples at a time: one by one, which is slow"
    assert lines == ([expected] if name in SINGLY else [])


@pytest.mark.parametrize("name", ["scaled", "recurrent"])
@ALL
def test_methods_work_on_any_network(case, name):
    model = made(name)
    outcome = run(case, model, log=lambda line: None)
    assert not same(state(outcome.model), state(model))


def test_parameters_that_take_no_gradient_are_left_out():
    model = made("resnet8")
    frozen = [name for name, _ in model.named_parameters() if name.startswith(("stem", "groups.0"))]
    for name, p in model.named_parameters():
        p.requires_grad_(name not in frozen)
    expected = looped(model, SOURCE, SOURCE.index("forget"))
    found = mean_squares(model, SOURCE, "forget")
    assert set(found) == set(expected) == set(dict(model.named_parameters())) - set(frozen)
    for name, squares in found.items():
        close(squares, expected[name].square().mean(0), rtol=1e-8)


def test_a_forward_of_ones_own_is_kept():
    """A module whose forward was replaced is no known layer, and keeps its replacement."""
    model = made("tiny")
    plain = model.fc.forward
    model.fc.forward = lambda x: 3 * plain(x)
    own = model.fc.forward
    twin = made("tiny")
    with torch.no_grad():
        twin.fc.weight.mul_(3), twin.fc.bias.mul_(3)
    found, expected = mean_squares(model, SOURCE, "forget"), mean_squares(twin, SOURCE, "forget")
    assert model.fc.forward is own
    close(found["fc.weight"], 9 * expected["fc.weight"])
    close(found["conv1.weight"], expected["conv1.weight"])


@pytest.mark.parametrize("name", ["tiny", "groups", "custom function"])
def test_squares_of_several_losses_add_up(name):
    model = made(name)

    def two(logits, labels, where):
        return [logits[:, 0], *true_label(logits, labels, where)]

    both = [lambda z, y: z[:, 0].sum(), None]
    expected = [looped(model, SOURCE, SOURCE.index("forget"), loss) for loss in both]
    for key, squares in mean_squares(model, SOURCE, "forget", two).items():
        close(squares, sum(e[key].square().mean(0) for e in expected), rtol=1e-8, msg=key)


@pytest.mark.parametrize("name", ["tiny", "groups"])
def test_memory_at_hand_decides_the_chunk_but_not_the_result(name, monkeypatch):
    model = made(name)
    expected, sizes = mean_squares(model, SOURCE, "retain"), []
    for free in (0, 10**6, 2**40):
        seen = []
        monkeypatch.setattr(memory, "_free_bytes", lambda free=free: iter([2**50, free]))

        def watched(logits, labels, where, seen=seen):
            seen.append(len(labels))
            return true_label(logits, labels, where)

        for key, squares in mean_squares(model, SOURCE, "retain", watched).items():
            close(squares, expected[key], rtol=1e-10, msg=key)
        assert sum(seen) == len(SOURCE.index("retain"))
        sizes.append(seen[0])
    assert sizes[0] == 1 < sizes[1] < sizes[2] == len(SOURCE.index("retain"))
    # on a CPU never more than is useful, however much is free
    monkeypatch.setattr(per_sample, "CHUNK_BYTES", 1)
    seen = []
    mean_squares(model, SOURCE, "retain", lambda z, y, where: seen.append(where) or true_label(z, y, where))
    assert seen == [slice(i, i + 1) for i in range(len(SOURCE.index("retain")))]


def test_memory_at_hand_is_within_that_of_the_machine():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024 if Path("/proc/meminfo").exists() else 2**60
    assert 2**20 < memory_at_hand(torch.device("cpu")) <= total


# ---- all four --------------------------------------------------------------------------------------------------------


@SPARSE
@ALL
def test_masked_weights_are_exactly_zero_and_the_others_are_not(trained_model, case, sparse):
    mask = half(trained_model) if sparse else None
    weights = run(case, trained_model, mask=mask).model.state_dict()
    for name in mask or ():
        assert not weights[name][~mask[name]].any()
        assert weights[name][mask[name]].all()
    statistics = {k: v for k, v in weights.items() if "running" in k or "num_batches" in k}
    assert all(torch.equal(v, trained_model.state_dict()[k]) for k, v in statistics.items())
    assert not same(weights, state(trained_model))


@ALL
def test_seed_alone_decides_and_the_global_generator_rests(trained_model, case):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(run(case, trained_model, seed=5).model)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(state(run(case, trained_model, seed=5).model), first)
    drawn = case.startswith("ff") or case in ("iu-few", "ssd-batch")
    assert same(state(run(case, trained_model, seed=6).model), first) != drawn


@ALL
def test_layout_and_precision_of_the_weights_do_not_matter(trained_model, case):
    ours = run(case, trained_model, mask=half(trained_model))
    theirs = run(case, copy_of(trained_model).to(memory_format=torch.channels_last), mask=half(trained_model))
    single = run(case, copy_of(trained_model).float(), mask=half(trained_model))
    for name, a in ours.model.state_dict().items():
        close(theirs.model.state_dict()[name], a, rtol=1e-6, atol=1e-9, msg=name)
        assert single.model.state_dict()[name].dtype in (torch.float32, torch.int64)
        close(single.model.state_dict()[name], a, rtol=1e-2, atol=1e-4, msg=name)


@ALL
def test_user_model_without_batch_norm_and_float_images(case):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 3))
    x, y = torch.randn(30, 2, 6, 6, generator=generator), torch.arange(30) % 3
    source = UnlearningData.from_tensors(retain=(x[:20], y[:20]), forget=(x[20:], y[20:]))
    outcome = run(case, model, source)
    assert outcome.model(x).shape == (30, 3)
    assert outcome.fit.seconds > 0


@pytest.mark.parametrize(("part", "labels"), [("forget", False), ("forget", True), ("retain", False), ("retain", True)])
@ALL
def test_only_the_right_samples_have_influence(trained_model, case, part, labels):
    """Labels never for lfssd; images of D_f never for ff, whose Fisher information needs no labels either."""
    images, y, index = SOURCE.images.clone(), SOURCE.labels.clone(), SOURCE.parts[part]
    if labels:
        y[index] = (y[index] + 1) % 3
    else:
        images[index] = 255 - images[index]
    changed = dataclasses.replace(SOURCE, images=images, labels=y)
    blind = {"lfssd": labels, "ff": labels or part == "forget"}.get(case.partition("-")[0], False)
    assert same(state(run(case, trained_model, changed).model), state(run(case, trained_model).model)) == blind


@ALL
def test_data_without_a_forget_set_is_refused(trained_model, case):
    source = dataclasses.replace(SOURCE, parts={"retain": SOURCE.parts["retain"]})
    with pytest.raises(LacunaError, match="the data has no 'forget' samples; it has: retain"):
        run(case, trained_model, source)


def test_a_result_that_is_not_finite_is_refused(trained_model):
    with pytest.raises(LacunaError, match=r"^iu: a weight is not finite after the edit; try a weaker one$"):
        unlearn("iu", copy_of(trained_model).float(), SOURCE, alpha=1e38, damping=1e-10)


def test_compiler_is_not_loaded():
    """Neither torch's compiler nor sympy, on networks of known layers and on others."""
    script = """
import sys, torch
from tiny import data, network
from lacuna.unlearning import unlearn
torch.set_num_threads(1)
other = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3, padding="same"), torch.nn.Flatten(), torch.nn.Linear(108, 3))
for method, options in eval(sys.argv[1]):
    unlearn(method, network(), data(), **options)
    unlearn(method, other, data(), **options)
print([m for m in ("torch._dynamo", "torch._inductor", "sympy", "torchvision") if m in sys.modules])
"""
    paths = {"PYTHONPATH": f"{TESTS}:{ROOT / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-c", script, repr(list(METHODS.values()))],
        capture_output=True,
        text=True,
        check=True,
        env=paths,
    )
    assert done.stdout == "[]\n"


# ---- influence -------------------------------------------------------------------------------------------------------


def linear_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3)).double()


def dense_solution(model, source, index, alpha, damping, exists=None):
    """α (λI + GᵀG/N)⁻¹ v with the whole matrix, over the entries that exist."""
    exists = torch.ones(sum(p.numel() for p in model.parameters()), dtype=torch.bool) if exists is None else exists
    rows = flat(looped(model, source, index))[:, exists]
    forget, retain = (flat(looped(model, source, source.index(part)))[:, exists] for part in ("forget", "retain"))
    v = len(forget) / (len(forget) + len(retain)) * (forget.mean(0) - retain.mean(0))
    matrix = damping * torch.eye(len(v), dtype=v.dtype) + rows.T @ rows / len(rows)
    update = torch.zeros(len(exists), dtype=v.dtype)
    update[exists] = alpha * torch.linalg.solve(matrix, v)
    return update, v


def moved(case, model, mask=None, **options):
    end = run(case, model, mask=mask, **options).model
    start = copy_of(model)
    if mask is not None:
        mask.apply(start)
    return torch.cat([(b - a).flatten() for a, b in zip(start.parameters(), end.parameters(), strict=True)]).detach()


@pytest.mark.parametrize("damping", [1.0, 1e-2, 1e-4])
def test_influence_is_the_dense_solution_of_a_linear_model(damping):
    model = linear_model()
    expected, v = dense_solution(model, SOURCE, SOURCE.index("retain"), 1.5, damping)
    close(moved("iu", model, alpha=1.5, damping=damping), expected, rtol=1e-8, atol=1e-12)
    # and curvature is no detail
    assert torch.nn.functional.cosine_similarity(expected, v, 0) < (0.999 if damping == 1 else 0.5)


@SPARSE
@pytest.mark.parametrize("samples", [1, 7, 39, 40, 1000])
def test_influence_is_the_dense_solution_over_its_samples(trained_model, samples, sparse):
    mask, start = half(trained_model) if sparse else None, copy_of(trained_model)
    if mask is not None:
        mask.apply(start)
    exists = torch.cat([e.flatten() for e in unmasked(trained(start), mask).values()])
    index = InfluenceUnlearning(samples=samples).chosen(SOURCE, seed=3)
    assert len(index) == min(samples, 40) == len(index.unique())
    assert set(index.tolist()) <= set(SOURCE.index("retain").tolist())
    expected, _ = dense_solution(start, SOURCE, index, 2.0, 0.01, exists)
    close(moved("iu", start, mask, alpha=2.0, damping=0.01, samples=samples, seed=3), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("rows", [3, 10, 20, 1000])
@pytest.mark.parametrize("case", ["iu", "iu-collinear"])
def test_gradients_that_do_not_fit_are_derived_again(trained_model, case, rows, monkeypatch):
    """However few rows of the span may be held at once."""
    expected = moved(case, trained_model, damping=0.01) if case == "iu" else moved(case, trained_model)
    size = sum(p.numel() for p in trained_model.parameters()) * 8
    monkeypatch.setattr("lacuna.unlearning.methods.iu.HELD_BYTES", 2 * rows * size)
    derived = []
    each = each_gradient
    monkeypatch.setattr(
        "lacuna.unlearning.methods.iu.each_gradient", lambda *given: derived.append(len(given[2])) or each(*given)
    )
    found = moved(case, trained_model, damping=0.01) if case == "iu" else moved(case, trained_model)
    close(found, expected, rtol=1e-9, atol=1e-13)
    assert max(derived) <= 2 * rows
    if case == "iu":
        assert (sum(derived) == 40) == (rows >= 20), "of up to two blocks each is derived once"


def test_strong_damping_leaves_the_plain_difference(trained_model):
    """λ → ∞: λ F̂⁻¹ v → v."""
    forget, retain = (mean_gradient(trained_model, SOURCE, part, 7) for part in ("forget", "retain"))
    v = torch.cat([12 / 52 * (forget[name] - retain[name]).flatten() for name in forget])
    close(moved("iu", trained_model, alpha=1e9, damping=1e9), v, rtol=1e-6, atol=1e-9)


def test_influence_leads_away_from_what_is_forgotten(trained_model):
    def loss(model, part):
        x, y = next(SOURCE.plain_batches(part, 1000, torch.float64))
        return cross_entropy(model.eval()(x), y).item()

    rises = [loss(run("iu", trained_model, alpha=a).model, "forget") - loss(trained_model, "forget") for a in (0.1, 1)]
    assert 0 < rises[0] < rises[1]


def test_collinear_variant_is_the_recursion_as_coded(trained_model):
    method = InfluenceUnlearning(samples=20, variant="collinear")
    index = method.chosen(SOURCE, seed=0)
    assert torch.equal(index, SOURCE.index("retain")[:22])
    rows = flat(looped(trained_model, SOURCE, index))
    _, v = dense_solution(trained_model, SOURCE, index, 1.0, 1.0)
    o, k = rows[0], v
    for g in rows[1:]:
        s = o @ g
        k = k - (k @ g) / (20 + s) * o
        o = (1 - s / (20 + s)) * o
    close(moved("iu-collinear", trained_model, samples=20), k, rtol=1e-9, atol=1e-14)


# ---- Fisher forgetting -----------------------------------------------------------------------------------------------


def fisher_by_loop(model, source):
    """E_x Σ_y p(y|x) (∂ log p(y|x)/∂θ)², a backward pass for each image and class."""
    index, total = source.index("retain"), {}
    for y in range(3):

        def weighted(logits, _, y=y):
            log_p = log_softmax(logits, 1)[0, y]
            return log_p.detach().div(2).exp() * log_p

        for name, rows in looped(model, source, index, weighted).items():
            total[name] = total.get(name, 0) + rows.square().mean(0)
    return total


def closed_form(fisher, alpha, kept):
    """The variance of each tensor, entry by entry; fc is the classifier."""
    variances = {}
    for name, f in fisher.items():
        head, v = name.startswith("fc"), torch.zeros_like(f)
        for at in np.ndindex(*f.shape):
            if kept[name][at]:
                over = [at] if f.dim() == 1 else [(at[0], c, *at[2:]) for c in range(f.shape[1])]
                over = [o for o in over if kept[name][o]]
                v[at] = np.mean([alpha * min(1 / (f[o].item() + 1e-8), 100 if head else 1000) for o in over])
        variances[name] = v * 10 if head or f.dim() == 1 else v
    return variances


@SPARSE
@pytest.mark.parametrize("source", ["random", "class"])
def test_noise_has_the_variance_of_the_closed_form(trained_model, source, sparse):
    """The variance entry by entry, and the drawn noise by its distribution."""
    given = SOURCE if source == "random" else WHOLE
    mask, start = half(trained_model) if sparse else None, copy_of(trained_model)
    if mask is not None:
        mask.apply(start)
    method, kept = FisherForgetting(alpha=3e-3), unmasked(trained(start), mask)
    fisher = method.fisher(start, given, seed=0)
    for name, expected in fisher_by_loop(start, given).items():
        close(fisher[name], expected, rtol=1e-8, atol=1e-15, msg=name)
    mean, variance = method.noise(start, fisher, kept, whole_class(given))
    expected = closed_form(fisher, 3e-3, kept)
    means = {name: p.detach().clone() for name, p in start.named_parameters()}
    if source == "class":
        for name in ("fc.weight", "fc.bias"):
            means[name][1], expected[name][1] = 0.0, 1e-3
    for name in fisher:
        close(variance[name], expected[name], msg=name)
        assert torch.equal(mean[name], means[name])
    assert len(torch.cat([v.flatten() for v in variance.values()]).unique()) > 30, "caps are not all there is"
    end = dict(unlearn("ff", trained_model, given, mask=mask, alpha=3e-3).model.named_parameters())
    z = torch.cat([((end[name] - mean[name]) / variance[name].sqrt())[kept[name]] for name in fisher])
    assert kstest(z.detach().numpy(), "norm").pvalue > 1e-3
    assert len(z.unique()) == len(z)


def test_only_a_whole_class_resets_its_row(trained_model):
    """A random forget set never does, even where all its samples are of one class."""
    assert whole_class(SOURCE) is None
    assert whole_class(WHOLE) == 1
    forget, retain = WHOLE.parts["forget"], WHOLE.parts["retain"]
    part = dataclasses.replace(SOURCE, parts={"forget": forget[1:], "retain": torch.cat([forget[:1], retain])})
    assert whole_class(part) is None
    two = (SOURCE.labels == 0).nonzero().flatten()
    both = {"forget": (SOURCE.labels != 0).nonzero().flatten(), "retain": two}
    assert whole_class(dataclasses.replace(SOURCE, parts=both)) is None
    for source, resets in ((SOURCE, False), (part, False), (WHOLE, True)):
        row = unlearn("ff", trained_model, source, alpha=1e-12).model.fc.weight[1]
        assert (row - trained_model.fc.weight[1]).abs().max() > 0.05 if resets else True
        if not resets:
            close(row, trained_model.fc.weight[1], rtol=0, atol=1e-3)


def test_a_layer_as_wide_as_the_classes_is_no_classifier():
    """Common code takes any tensor with as many rows as classes for one."""
    torch.manual_seed(0)
    model = network(widths=(3, 6)).double()
    method, kept = FisherForgetting(alpha=1.0), unmasked(trained(model), None)
    zero = {name: torch.zeros_like(p) for name, p in trained(model).items()}
    mean, variance = method.noise(model, zero, kept, forgotten=1)
    assert torch.equal(mean["conv1.weight"], model.conv1.weight)
    largest = {name: v.max().item() for name, v in variance.items()}
    assert largest == pytest.approx(
        {"conv1.weight": 1e3, "conv2.weight": 1e3, "fc.weight": 1e3, "fc.bias": 1e3}
        | {f"bn{i}.{key}": 1e4 for i in (1, 2) for key in ("weight", "bias")}
    )


def test_sampled_labels_are_drawn_from_the_model(trained_model):
    """u picks y where it falls between the sums of p up to y: its share of [0, 1) is p(y|x)."""
    torch.manual_seed(0)
    logits = torch.randn(4, 5, dtype=torch.float64) * 2
    p = softmax(logits, 1)
    for i in range(4):
        u = torch.rand(4000, 1, dtype=torch.float64)
        log_p = drawn_label(u, logits[i].expand(4000, 5), None, slice(0, 4000))[0]
        y = (log_p[:, None] == log_softmax(logits[i], 0)).double().argmax(1)
        assert chisquare(np.bincount(y, minlength=5), 4000 * p[i].numpy()).pvalue > 1e-3
    # the ends of [0, 1), a class without probability, a sum that rounds below 1
    sure = torch.tensor([[0.0, 800.0, 0.0]], dtype=torch.float64)
    for u in (0.0, 0.5, 1 - 1e-16):
        assert drawn_label(torch.tensor([[u]], dtype=torch.float64), sure, None, slice(0, 1))[0].item() == 0
    one = slice(2, 3)
    u = torch.tensor([[0.0], [0.0], [0.999]])
    assert drawn_label(u, torch.zeros(1, 5), None, one)[0].item() == pytest.approx(-np.log(5), rel=1e-6)


def test_sampled_labels_are_unbiased(trained_model):
    """Over every label that may be drawn, weighted by its probability, the squares add up to F exactly."""
    index = SOURCE.index("retain")
    x, _ = next(SOURCE.plain_batches("retain", 1000, torch.float64))
    p = softmax(copy_of(trained_model).eval()(x), 1).detach()
    upper = p.cumsum(1)
    expected = mean_squares(trained_model, SOURCE, "retain", every_label)
    found = {name: torch.zeros_like(f) for name, f in expected.items()}
    for y in range(3):
        middle = (upper[:, y] - p[:, y] / 2)[:, None]

        def weigh(where, name, gradients, y=y):
            found[name] += torch.einsum("n,n...->...", p[where, y], gradients.square()) / len(index)

        each_gradient(trained_model, SOURCE, index, lambda z, l, w, u=middle: drawn_label(u, z, l, w), weigh)
    for name, squares in found.items():
        close(squares, expected[name], rtol=1e-8, atol=1e-15, msg=name)


@pytest.mark.parametrize("case", ["ff", "ff-sampled", "ssd", "lfssd", "iu"])
def test_chunks_do_not_change_the_result(trained_model, case, monkeypatch):
    """The labels that ff draws, for one, belong to the image and not to its place in a chunk."""
    expected = run(case, trained_model).model.state_dict()
    monkeypatch.setattr(per_sample, "CHUNK_BYTES", 200_000)
    for name, value in run(case, trained_model).model.state_dict().items():
        close(value, expected[name], rtol=1e-8, atol=1e-13, msg=name)


def test_sampled_labels_with_batches_are_refused(trained_model):
    with pytest.raises(LacunaError, match=r"^ff.labels: sampled is not allowed with variant batch32; allowed: summed$"):
        unlearn("ff", trained_model, SOURCE, variant="batch32", labels="sampled")


def test_batches_whose_squares_are_meant_have_no_short_one(trained_model):
    """33 samples are batches of 17 and 16: of 32 and 1, half of F would be one sample's own square."""
    source = data(retain=33)
    images, labels = (torch.cat(part) for part in zip(*source.plain_batches("retain", 50, torch.float64), strict=True))
    assert len(labels) == 33
    model = copy_of(trained_model).eval()
    expected = {name: torch.zeros_like(p) for name, p in trained(model).items()}
    for x in (images[:17], images[17:]):
        for y in range(3):
            log_p = log_softmax(model(x), 1)[:, y]
            for name, g in zip(expected, torch.autograd.grad(log_p.mean(), [*trained(model).values()]), strict=True):
                expected[name] += log_p.detach().exp().mean() * g**2 / 2
    for name, found in squares_of_batches(trained_model, source).items():
        close(found, expected[name], rtol=1e-9, atol=1e-15, msg=name)


# ---- dampening -------------------------------------------------------------------------------------------------------


@SPARSE
@pytest.mark.parametrize("method", ["ssd", "lfssd"])
@pytest.mark.parametrize(("alpha", "dampening"), [(1.2, 1.0), (1.2, 0.3), (0.5, 1.0), (1.0, 0.0)])
def test_dampening_touches_only_selected_weights(trained_model, method, alpha, dampening, sparse):
    mask, start = half(trained_model) if sparse else None, copy_of(trained_model)
    if mask is not None:
        mask.apply(start)
    loss = None if method == "ssd" else (lambda logits, y: logits.square().sum())
    forget = looped(start, SOURCE, SOURCE.index("forget"), loss)
    everything = looped(start, SOURCE, SOURCE.index("mixed"), loss)
    end = unlearn(method, trained_model, SOURCE, mask=mask, alpha=alpha, dampening=dampening).model
    chosen_of_all = []
    for name, p in start.named_parameters():
        i_f, i_d = forget[name].square().mean(0), everything[name].square().mean(0)
        chosen = i_f > alpha * i_d
        found = dict(end.named_parameters())[name]
        assert torch.equal(found[~chosen], p[~chosen]), "bit for bit"
        close(found[chosen], (p * (dampening * i_d / i_f).clamp(max=1))[chosen], rtol=1e-8)
        chosen_of_all.append(chosen.flatten())
    assert 0 < torch.cat(chosen_of_all).double().mean() < 1


@pytest.mark.parametrize("method", ["ssd", "lfssd"])
@pytest.mark.parametrize("factor", [1 + 1e-9, 1.0])
def test_no_importance_is_more_than_all_of_it(trained_model, method, factor):
    """I_D holds n_f/n of I_f, so from α = n/n_f on nothing can be selected: said, and the model marked as unchanged."""
    said = []
    outcome = unlearn(method, trained_model, SOURCE, alpha=52 / 12 * factor, log=said.append)
    assert same(state(outcome.model), state(trained_model))
    assert outcome.fit.facts["unchanged"] == 1.0 and outcome.fit.facts["dampened"] == 0.0
    assert said[-1] == (
        f"{method}: 0 parameters dampened; warning: alpha 4.333 ≥ n/n_f 4.333, so that exact importances select "
        "nothing; the model is the original bit for bit"
    )


def test_equality_selects_nothing_whatever_rounding_does():
    """A weight that no retained sample moves has I_f = (n/n_f) I_D: at α = n/n_f it stays."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    x = torch.zeros(30, 1, 2, 2)
    x[:3, 0, 0, 0] = 0.7  # the first input is 0 in all retained samples
    x[3:, 0, 1, 1] = 1.0
    parts = {"forget": (x[:3], torch.zeros(3)), "retain": (x[3:], torch.arange(27) % 2)}
    source = UnlearningData.from_tensors(**parts)
    below, at = (unlearn("ssd", model, source, alpha=alpha).fit.facts for alpha in (9.99, 10.0))
    assert below["dampened"] == 2 and at["dampened"] == 0


@pytest.mark.parametrize("method", ["ssd", "lfssd"])
def test_squared_batch_means_select_where_exact_importances_cannot(trained_model, method):
    """The published importances are not nested: I_f may be more than n/n_f times I_D."""
    alpha = len(SOURCE.index("mixed")) / len(SOURCE.index("forget"))
    forget, everything = (
        squared_batch_means(trained_model, SOURCE, part, 64, build(UNLEARNERS[method], {}, method).losses, seed=0)
        for part in ("forget", "mixed")
    )
    beyond = sum(int((f > alpha * everything[name]).sum()) for name, f in forget.items())
    assert beyond > 0
    assert unlearn(method, trained_model, SOURCE, alpha=alpha).fit.facts["unchanged"] == 1.0
    outcome = unlearn(method, trained_model, SOURCE, alpha=alpha, variant="batch", seed=0)
    assert outcome.fit.facts["dampened"] == outcome.fit.facts["changed"] == beyond
    assert outcome.fit.facts["unchanged"] == 0.0
    for name, p in outcome.model.named_parameters():
        start = dict(trained_model.named_parameters())[name]
        selected = forget[name] > alpha * everything[name]
        close(p, torch.where(selected, start * everything[name] / forget[name], start), rtol=1e-8)


@pytest.mark.parametrize("seed", [None, 3])
def test_squared_batch_means_are_of_the_mean_gradient(trained_model, seed):
    """By hand; one batch of all gives the squared gradient of the whole, batches of one sample the exact importance."""
    found = squared_batch_means(trained_model, SOURCE, "retain", 16, true_label, seed)
    index = SOURCE.index("retain")
    if seed is not None:
        order = torch.Generator().manual_seed(derive(seed, "batches", "retain"))
        index = index[torch.randperm(len(index), generator=order)]
    singles = looped(trained_model, SOURCE, index)
    for name, squares in found.items():
        close(
            squares,
            torch.stack([g.mean(0).square() for g in singles[name].split(SOURCE.sizes("retain", 16))]).mean(0),
            rtol=1e-8,
            atol=1e-15,
        )
    one = squared_batch_means(trained_model, SOURCE, "retain", 1000, true_label, seed)
    each = squared_batch_means(trained_model, SOURCE, "retain", 1, true_label, seed)
    for name, expected in mean_squares(trained_model, SOURCE, "retain").items():
        close(one[name], singles[name].mean(0).square(), rtol=1e-8, atol=1e-15)
        close(each[name], expected, rtol=1e-8, atol=1e-15)


def test_dampening_never_enlarges_and_ties_are_not_selected():
    model = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    forget = {"weight": torch.tensor([[2.0, 1.0, 4.0, 0.0]])}
    everything = {"weight": torch.tensor([[1.0, 1.0, 1.0, 0.0]])}
    SynapticDampening(alpha=1.0, dampening=3.0).dampen(model, forget, everything)
    assert model.weight.tolist() == [[1.0, 2.0, 2.25, 4.0]]
