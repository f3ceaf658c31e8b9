"""Architectures have the shapes and sizes they claim; initialisation is a function of the seed."""

import pytest
import torch
from tiny import network, same, state
from torch import nn

from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.init import reinitialise

# name: parameters claimed in the docstring for its default width and 10 classes, layers in its name
CLAIMS = {"resnet8": (78e3, 8), "resnet20": (0.27e6, 20), "resnet18": (11.2e6, 18)}
# options that make a network small
THIN = {"vit": {"depth": 2, "heads": 2}, "swin_t": {"depths": [1, 1], "window": 2}}


@pytest.mark.parametrize("name", CLAIMS)
def test_size_is_the_one_in_the_docstring(name):
    claimed, layers = CLAIMS[name]
    model = build(MODELS[name], {}).build(classes=10, channels=3)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(claimed, rel=0.02)
    weighted = [m for m in model.modules() if isinstance(m, nn.Linear) or getattr(m, "kernel_size", 0) == (3, 3)]
    assert len(weighted) == layers, "1×1 shortcuts are not counted"
    assert all(m.bias is None for m in model.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 40, 64)])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "import"])
def test_any_image_size_gives_finite_logits(name, shape):
    if name == "vgg16_bn" and shape[1] < 32:
        pytest.skip("it halves the image five times")
    model = build(MODELS[name], {"width": 4} | THIN.get(name, {})).build(classes=7, channels=shape[0])
    x = torch.rand(2, *shape)
    assert model(x).shape == (2, 7)
    assert torch.isfinite(model.eval()(x)).all()


def test_width_multiplies_every_group():
    widths = {
        width: [m.out_channels for m in build(MODELS["resnet18"], {"width": width}).build(10, 3).modules()
                if isinstance(m, nn.Conv2d)]
        for width in (2, 6)
    }  # fmt: skip
    assert [3 * w for w in widths[2]] == widths[6]
    assert widths[2][0] == 2
    assert max(widths[2]) == 16


def test_strides_halve_the_image_at_each_group_but_the_first():
    model = build(MODELS["resnet20"], {"width": 2}).build(10, 1)
    x = model.stem(torch.rand(1, 1, 32, 32))
    sizes = []
    for group in model.groups:
        x = group(x)
        sizes.append(x.shape[-1])
    assert sizes == [32, 16, 8]


def test_shortcut_is_added_before_the_last_relu():
    block = build(MODELS["resnet8"], {"width": 2}).build(10, 1).groups[0][0].eval()
    with torch.no_grad():
        block.conv2.weight.zero_()
        x = torch.randn(3, 2, 5, 5)
        assert torch.equal(block(x), x.relu())


# ---- initialisation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: build(MODELS["resnet8"], {"width": 4}).build(5, 1), network])
def test_initialisation_depends_on_the_seed_alone(make):
    one, other = make(), make()
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            tensor.copy_(torch.rand(tensor.shape) * 9)
    torch.manual_seed(1)
    reinitialise(one, 7)
    torch.manual_seed(2)
    reinitialise(other, 7)
    assert same(state(one), state(other)), "batch norm statistics included"
    reinitialise(other, 8)
    drawn = [n for n, m in one.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert not any(torch.equal(one.get_submodule(n).weight, other.get_submodule(n).weight) for n in drawn)


def test_global_random_state_is_left_alone():
    model = network()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    reinitialise(model, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_convolutions_have_he_variance_and_batch_norm_is_the_identity():
    model = build(MODELS["resnet18"], {"width": 16}).build(10, 3)
    reinitialise(model, 0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.08)
            assert abs(module.weight.mean().item()) < 0.05 * (2 / fan_out) ** 0.5 + 1e-3
        if isinstance(module, nn.BatchNorm2d):
            values = (module.weight, module.bias, module.running_mean, module.running_var)
            assert [v.unique().tolist() for v in values] == [[1.0], [0.0], [0.0], [1.0]]


def test_parameter_that_cannot_be_drawn_again_is_refused():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)
            self.scale = nn.Parameter(torch.ones(1))

    model = nn.Sequential(Scaled(), nn.Linear(2, 2))
    with pytest.raises(LacunaError, match=r"Scaled has parameters of its own .scale. but no reset_parameters"):
        reinitialise(model, 0)
    Scaled.reset_parameters = lambda self: (self.conv.reset_parameters(), nn.init.ones_(self.scale))
    reinitialise(model, 0)
