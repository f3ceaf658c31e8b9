"""Second-order unlearners: influence, Fisher forgetting, dampening."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from places import ROOT, TESTS
from scipy.stats import chisquare, kstest
from tiny import data, half, network, same, state, trained_on
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax, softmax

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.gradients import per_sample
from lacuna.gradients.per_sample import each_gradient, mean_squares, true_label
from lacuna.gradients.whole import mean_gradient, squared_batch_means, trained, unmasked
from lacuna.models.inference import copy_of
from lacuna.randomness import derive
from lacuna.unlearning import UNLEARNERS, unlearn
from lacuna.unlearning.methods.ff import FisherForgetting, drawn_label, every_label, squares_of_batches, whole_class
from lacuna.unlearning.methods.iu import InfluenceUnlearning
from lacuna.unlearning.methods.ssd import SynapticDampening
from unit.gradients.networks import SOURCE, close, looped, made

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


def flat(scores):
    return torch.cat([s.flatten(1) if s.dim() > 1 else s[:, None] for s in scores.values()], 1)


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


@pytest.mark.parametrize("name", ["scaled", "recurrent"])
@ALL
def test_methods_work_on_any_network(case, name):
    model = made(name)
    outcome = run(case, model, log=lambda line: None)
    assert not same(state(outcome.model), state(model))


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
