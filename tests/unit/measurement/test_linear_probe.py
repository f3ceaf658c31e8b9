"""Linear probes on frozen features: the optimum, the features, and how foreign images are shown."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tiny import Deep, data, network, same, state
from torch import nn

from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.measurement.linear_probe import Probing, Source, features, fit_probe, probe, transfer
from lacuna.models import MODELS
from lacuna.models.inference import logits
from lacuna.models.init import reinitialise

# below this the loss cannot tell two points apart in float64
EXACT = Probing(tolerance=1e-8)
GREY = Source((1, 6, 6), (0.4,), (0.3,))


def cloud(n=300, d=6, classes=4, seed=0, apart=0.6):
    """Samples of overlapping Gaussians, float64 [n, d], and their labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    return torch.from_numpy(rng.normal(size=(n, d)) + apart * rng.normal(size=(classes, d))[y]), torch.from_numpy(y)


def parts_of(n, cuts=(0.6, 0.8)):
    return dict(zip(("train", "val", "test"), np.split(np.arange(n), [int(c * n) for c in cuts]), strict=True))


def split(x):
    return {part: x[torch.from_numpy(index)] for part, index in parts_of(len(x)).items()}


# ---- the optimum ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-3])
def test_probe_is_the_logistic_regression_of_another_library(l2):
    """scikit-learn sums the loss over n samples and weights that by C: the same minimum at C = 1/(n l2)."""
    z, y = cloud()
    found = fit_probe(z, y, 4, l2, EXACT)
    theirs = LogisticRegression(C=1 / (len(z) * l2), tol=1e-12, max_iter=100_000).fit(z.numpy(), y.numpy())
    assert found.derivative <= EXACT.tolerance
    assert np.allclose(found.weight.numpy(), theirs.coef_, atol=1e-4)
    # a constant added to every class changes nothing
    bias = found.bias.numpy()
    assert np.allclose(bias - bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-4)


def test_a_free_bias_predicts_each_class_as_often_as_it_is():
    """Where the derivative by the bias is 0, the mean probability of a class is its share, whatever l2 is."""
    z, y = cloud()
    for l2 in (10.0, 1e-3):
        found = fit_probe(z, y, 4, l2, EXACT)
        p = (z @ found.weight.T + found.bias).softmax(1)
        assert torch.allclose(p.mean(0), torch.bincount(y, minlength=4).double() / len(y), atol=1e-7)


def test_where_a_fit_begins_does_not_matter():
    z, y = cloud()
    strong = fit_probe(z, y, 4, 1.0, EXACT)
    cold, warm = fit_probe(z, y, 4, 1e-2, EXACT), fit_probe(z, y, 4, 1e-2, EXACT, strong)
    assert torch.allclose(cold.weight, warm.weight, atol=1e-6)


def test_a_fit_that_ends_early_says_so():
    z, y = cloud()
    assert fit_probe(z, y, 4, 1e-3, Probing(iterations=2)).derivative > 1e-3


def test_features_that_separate_the_classes_give_100():
    y = torch.arange(200) % 5
    x = torch.eye(5)[y] + 0.05 * torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    found = probe(split(x), split(y), 5, Probing())
    assert found["accuracy"] == 100
    assert set(found["val_accuracy"].values()) == {100.0}
    assert found["l2"] == 1.0, "of equals the strongest"


def test_labels_without_rhyme_give_chance():
    y = torch.from_numpy(np.random.default_rng(1).integers(0, 4, 4000))
    found = probe(split(torch.randn(4000, 6, generator=torch.Generator().manual_seed(0))), split(y), 4, Probing())
    assert found["accuracy"] == pytest.approx(25, abs=5)


def test_what_was_learnt_by_heart_is_no_merit():
    """More features than samples fit any labels; the validation part, which was not fitted, knows nothing of them."""
    y = torch.from_numpy(np.random.default_rng(1).integers(0, 4, 300))
    x = torch.randn(300, 200, generator=torch.Generator().manual_seed(0))
    found = probe(split(x), split(y), 4, Probing(l2=(1e-5,)))
    assert (
        fit_probe(split(x)["train"].double(), split(y)["train"], 4, 1e-5).accuracy(
            split(x)["train"].double(), split(y)["train"]
        )
        == 100
    )
    assert found["val_accuracy"]["1e-05"] < 50


def test_validation_chooses_and_the_test_set_is_not_asked():
    x, y = cloud(n=120, d=30, apart=0.5)
    how = Probing(l2=(1e-6, 10.0, 1e-1))
    found = probe(split(x), split(y), 4, how)
    scores = found["val_accuracy"]
    assert list(scores) == ["10.0", "0.1", "1e-06"], "from strong to weak"
    assert len(set(scores.values())) > 1
    assert scores[repr(found["l2"])] == max(scores.values())
    other = probe(split(x), split(y) | {"test": 3 - split(y)["test"]}, 4, how)
    assert other["l2"] == found["l2"] and other["accuracy"] != found["accuracy"]


def test_the_scale_and_place_of_features_do_not_matter():
    """Only so does one l2 mean the same for every network; features that never change say nothing."""
    x, y = cloud()
    ours = probe(split(x), split(y), 4, EXACT)
    moved = probe(split(1000 + 7 * x), split(y), 4, EXACT)
    assert moved["l2"] == ours["l2"] and moved["val_accuracy"] == ours["val_accuracy"]
    dead = probe(split(torch.ones(len(x), 3)), split(y), 4, Probing())
    most_common = torch.bincount(split(y)["train"]).argmax()
    assert dead["accuracy"] == pytest.approx(100 * float((split(y)["test"] == most_common).double().mean()))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"l2": []}, "a list of at least 1"), ({"l2": [0]}, "a number > 0"), ({"l2": [0.1, 0.1]}, "listed twice")],
)
def test_settings_are_checked(options, said):
    assert build(Probing, {"l2": [1, 0.1]}).l2 == (1.0, 0.1)
    with pytest.raises(LacunaError, match=said):
        build(Probing, options, "transfer.probe")


# ---- the features ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["resnet8", "tiny", "deep"])
def test_classifier_on_features_gives_the_logits(model):
    """So the features are the network without its classifier: in evaluation mode, batch by batch, in stored order."""
    source = data()
    net = {"resnet8": lambda: MODELS["resnet8"](width=4).build(3, 1), "tiny": network, "deep": Deep}[model]()
    reinitialise(net, 1)
    net.train()
    found = features(net, (x for x, _ in source.plain_batches("retain", 7, torch.float32)))
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    assert torch.allclose(head(found), logits(net, source, "retain"), atol=1e-6)
    assert net.training and not found.requires_grad


class Unusual(nn.Module):
    """Its logits are not what its last Linear gives."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.body, self.head = kind, nn.Flatten(), nn.Linear(36, 3)

    def forward(self, x):
        if self.kind == "twice":
            return self.head(self.body(x) + self.head(self.body(x)).sum())
        return {"softmax": lambda y: y.log_softmax(1), "scaled": lambda y: 2 * y}[self.kind](self.head(self.body(x)))


@pytest.mark.parametrize("kind", ["softmax", "scaled", "twice"])
def test_a_network_that_does_not_end_with_its_classifier_is_refused(kind):
    with pytest.raises(LacunaError, match=r"Unusual: its logits are not what its last Linear 'head' gives; allowed"):
        features(Unusual(kind), iter([torch.randn(4, 1, 6, 6)]))


def test_a_network_without_a_classifier_is_refused():
    with pytest.raises(LacunaError, match="has no classifier"):
        features(nn.Sequential(nn.Conv2d(1, 2, 3)), iter([torch.randn(4, 1, 6, 6)]))


# ---- foreign images -------------------------------------------------------------------------------------------------


def test_images_of_the_same_shape_are_seen_as_the_source_s_own():
    source = data()
    own = source.normalised(source.images, torch.float32)
    assert torch.allclose(GREY.seen(source.images), own)


def test_grey_and_colour_become_each_other():
    grey = torch.arange(36, dtype=torch.uint8).reshape(1, 1, 6, 6)
    colour = Source((3, 6, 6), (0.0,) * 3, (1.0,) * 3)
    shown = colour.seen(grey)
    assert shown.shape == (1, 3, 6, 6) and torch.equal(shown[:, 0], shown[:, 2])
    plain = Source((1, 6, 6), (0.0,), (1.0,))
    assert torch.allclose(plain.seen(grey.expand(-1, 3, -1, -1)), plain.seen(grey)), "grey in colour stays as bright"
    pure = torch.zeros(3, 3, 6, 6, dtype=torch.uint8)
    for channel in range(3):
        pure[channel, channel] = 255
    assert plain.seen(pure)[:, 0, 0, 0].tolist() == pytest.approx([0.299, 0.587, 0.114]), "green is the brightest"


def test_channels_that_nothing_becomes_are_refused():
    with pytest.raises(LacunaError, match="a network for 1 channels cannot take images with 4; allowed: 1, 1, or 3"):
        GREY.seen(torch.zeros(1, 4, 6, 6, dtype=torch.uint8))


def test_a_small_picture_of_a_fine_pattern_is_its_mean():
    """Stripes of one pixel in four are a quarter as bright; without antialiasing they would vanish."""
    stripes = torch.zeros(1, 1, 48, 48, dtype=torch.uint8)
    stripes[..., ::4] = 255
    shown = Source((1, 12, 12), (0.0,), (1.0,)).seen(stripes)
    assert shown.shape == (1, 1, 12, 12)
    assert torch.allclose(shown[..., 2:-2], torch.tensor(0.25), atol=0.02)
    flat = torch.full((2, 1, 5, 9), 102, dtype=torch.uint8)
    assert torch.allclose(GREY.seen(flat), torch.tensor(0.0), atol=1e-5), "102/255 is the source's mean"


# ---- together -------------------------------------------------------------------------------------------------------


def target(n=150, seed=3):
    """Larger colour images whose half tells the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = rng.integers(0, 60, (n, 3, 9, 12), dtype=np.uint8)
    x[y == 1, :, :5] += 150
    x[y == 2, :, :, :6] += 150
    return x, y


def test_the_network_stays_as_it_is_and_the_result_the_same():
    net = network()
    before = state(net)
    x, y = target()
    first, again = (transfer(net, x, y, parts_of(150), source=GREY, classes=3) for _ in range(2))
    assert same(state(net), before) and all(p.grad is None for p in net.parameters())
    timed = {"feature_seconds", "probe_seconds"}
    assert {k: v for k, v in first.items() if k not in timed} == {k: v for k, v in again.items() if k not in timed}
    assert first["features"] == 6 and all(first[k] > 0 for k in timed)
    assert first["accuracy"] > 60, "even random filters tell halves apart"


def test_batches_decide_speed_alone():
    x, y = target()
    one, many = (
        transfer(network(), x, y, parts_of(150), source=GREY, classes=3, how=Probing(batch_size=size))
        for size in (1000, 11)
    )
    assert one["accuracy"] == many["accuracy"] and one["val_accuracy"] == many["val_accuracy"]


def test_the_features_decide():
    """A network whose features say the class gives 100 %, one that sees nothing the share of a class."""
    x, y = target()
    sight = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 2))
    assert transfer(sight, x, y, parts_of(150), source=GREY, classes=3)["accuracy"] == 100
    blind = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        blind[2].weight.zero_()
    assert transfer(blind, x, y, parts_of(150), source=GREY, classes=3)["accuracy"] == pytest.approx(100 / 3, abs=1)
