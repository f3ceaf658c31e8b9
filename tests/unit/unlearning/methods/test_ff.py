"""Fisher forgetting: the variance of the noise, and what sampled labels do to it."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from tiny import data, half, network
from torch.nn.functional import log_softmax, softmax

from lacuna.errors import LacunaError
from lacuna.gradients import per_sample
from lacuna.gradients.per_sample import each_gradient, mean_squares
from lacuna.gradients.whole import trained, unmasked
from lacuna.models.inference import copy_of
from lacuna.unlearning import unlearn
from lacuna.unlearning.methods.ff import FisherForgetting, drawn_label, every_label, squares_of_batches, whole_class
from unit.gradients.networks import SOURCE, close, looped
from unit.unlearning.methods.second_order import SPARSE, run

# all samples of class 1 are forgotten, and nothing else
PARTS = {"forget": (SOURCE.labels == 1).nonzero().flatten(), "retain": (SOURCE.labels != 1).nonzero().flatten()}
WHOLE = dataclasses.replace(SOURCE, parts=SOURCE.parts | PARTS)


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
