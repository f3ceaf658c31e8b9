"""The last k blocks of a network, and the two methods that train them alone."""

import pytest
import torch
from tiny import data, network, same, state
from torch import nn

from lacuna import unlearn
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.training.state import LoopState
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.last_blocks import blocks
from unit.unlearning.methods.classic import QUICK, magnitude_mask


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
