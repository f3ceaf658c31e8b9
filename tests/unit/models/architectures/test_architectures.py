"""Architectures have the shapes and sizes they claim; initialisation is a function of the seed."""

import contextlib
import inspect
import math
import random

import numpy as np
import pytest
import torch
import torchvision
from tiny import network, same, state
from torch import nn
from torch.nn.utils import parametrizations, parametrize
from torch.overrides import TorchFunctionMode
from torchvision.models.vgg import cfgs, make_layers

from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.gradients.by_layer import by_layer
from lacuna.gradients.per_sample import _by_sample
from lacuna.models import MODELS
from lacuna.models.architectures import vit
from lacuna.models.architectures.vit import Attention, positions
from lacuna.models.inference import copy_of
from lacuna.models.init import check_initialisation, reinitialise

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


# vgg16_bn halves the image five times; a network of the user's is tried in test_imported
SMALLEST = {name: 32 if name == "vgg16_bn" else 1 for name in MODELS if name != "import"}
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 40, 64)]


@pytest.mark.parametrize(
    ("name", "shape"), [(name, shape) for name, least in SMALLEST.items() for shape in SHAPES if shape[1] >= least]
)
def test_any_image_size_gives_finite_logits(name, shape):
    model = build(MODELS[name], {"width": 4} | THIN.get(name, {})).build(classes=7, channels=shape[0])
    x = torch.rand(2, *shape)
    assert model(x).shape == (2, 7)
    assert torch.isfinite(model.eval()(x)).all()


SIZES = {"resnet50": 23.5e6, "vgg16_bn": 14.7e6, "vit": 5.3e6, "swin_t": 27.5e6}


@pytest.mark.parametrize("name", SIZES)
def test_size_of_a_large_network_is_the_one_in_the_docstring(name):
    with torch.device("meta"):
        model = build(MODELS[name], {}).build(classes=10, channels=3)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(SIZES[name], rel=0.01)
    assert f"{SIZES[name] / 1e6:g} million parameters" in inspect.getdoc(MODELS[name])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16_bn"])
def test_network_is_the_one_of_torchvision(name):
    """With its weights, tensor by tensor in order, it gives its features; its stem for large images included."""
    with torch.device("meta"):
        if name == "vgg16_bn":
            features = make_layers(cfgs["D"], batch_norm=True)
            for conv in (m for m in features if isinstance(m, nn.Conv2d)):
                conv.bias = None  # batch norm follows
            theirs = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 5))
        else:
            theirs = getattr(torchvision.models, name)(weights=None, num_classes=5)
    ours = build(MODELS[name], {} if name == "vgg16_bn" else {"stem": "imagenet"}).build(5, 3)
    reinitialise(ours, 0)
    values = ours.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)), assign=True)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(ours.eval()(x), theirs.eval()(x), atol=1e-5)


def test_swin_is_the_one_of_torchvision_with_its_initialisation():
    with torch.device("meta"):
        whole, theirs = build(MODELS["swin_t"], {}).build(1000, 3), torchvision.models.swin_t(weights=None)
    shapes, expected = ({k: v.shape for k, v in m.state_dict().items()} for m in (whole.body, theirs))
    assert shapes == expected
    theirs = build(MODELS["swin_t"], {"width": 64, "depths": [1, 1]}).build(5, 3)  # as torchvision made it
    ours = copy_of(theirs)
    reinitialise(ours, 0)
    for (name, value), made in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if value.numel() > 300 and not (made == made.flatten()[0]).all():
            assert value.std().item() == pytest.approx(made.std().item(), rel=0.15), name
            assert not torch.equal(value, made)
        elif name != "body.features.0.0.bias":
            assert torch.equal(value, made), name


# ---- the vision transformer ------------------------------------------------------------------------------------------


def test_attention_is_a_mean_of_values_weighted_by_softmax():
    attention = Attention(6, 2)
    x = torch.randn(3, 5, 6)
    q, k, v = attention.qkv(x).split(6, 2)
    heads = []
    for own in (slice(0, 3), slice(3, 6)):
        weights = (q[..., own] @ k[..., own].transpose(1, 2) / 3**0.5).softmax(2)
        heads.append(weights @ v[..., own])
    assert torch.allclose(attention(x), attention.project(torch.cat(heads, 2)), atol=1e-6)


def test_codes_of_places_are_sines_and_cosines_of_column_and_row():
    code = positions(3, 5, 8, torch.device("cpu")).view(3, 5, 4, 2)
    for row in range(3):
        for column in range(5):
            for i, rate in enumerate((1.0, 1e-4)):
                expected = [f(rate * at) for at in (column, row) for f in (math.sin, math.cos)]
                assert code[row, column, :, i].tolist() == pytest.approx(expected, abs=1e-6)


def test_places_alone_tell_tokens_apart(monkeypatch):
    """Without their codes the order of the patches makes no difference; with them it does."""
    model = build(MODELS["vit"], {"patch": 2, "width": 8, "depth": 2, "heads": 2}).build(3, 1)
    x = torch.rand(1, 1, 4, 4)
    turned = x.flip(2).view(1, 1, 2, 2, 4).flip(3).reshape(1, 1, 4, 4)  # the rows of patches change places
    assert torch.equal(turned[:, :, :2], x[:, :, 2:])
    assert not torch.allclose(model(x), model(turned), atol=1e-4)
    monkeypatch.setattr(vit, "positions", lambda *where: torch.zeros(()))
    assert torch.allclose(model(x), model(turned), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "vit",
            {"width": 10, "heads": 2},
            r"^vit.width: 10 is not allowed; allowed: a multiple of 4 and of heads \(2\)$",
        ),
        ("vit", {"width": 8, "heads": 3}, r"^vit.width: 8 is not allowed"),
        ("swin_t", {"width": 40}, r"^swin_t: width 40 .* allowed: a multiple of 32, or less"),
        ("swin_t", {"depths": []}, r"^swin_t: .* at least two blocks$"),
        ("swin_t", {"depths": [1]}, r"^swin_t: .* at least two blocks$"),
    ],
)
def test_width_must_be_divisible(name, options, said):
    with pytest.raises(LacunaError, match=said):
        build(MODELS[name], options).build(3, 1)


def test_image_must_be_divisible_by_the_patch():
    model = build(MODELS["vit"], {"patch": 4, "width": 8, "depth": 1, "heads": 2}).build(3, 1)
    with pytest.raises(LacunaError, match=r"^vit.patch: 4 does not divide 8×6; allowed: a patch that does$"):
        model(torch.zeros(1, 1, 8, 6))


def test_stochastic_depth_skips_in_training_alone():
    model = build(MODELS["swin_t"], {"width": 8, "depths": [2], "stochastic_depth": 0.9}).build(3, 1)
    x = torch.rand(1, 1, 8, 8)
    assert len({model(x).sum().item() for _ in range(20)}) > 1
    assert len({model.eval()(x).sum().item() for _ in range(3)}) == 1


# ---- residual networks -----------------------------------------------------------------------------------------------


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


class OutOfPlace(TorchFunctionMode):
    """ReLU and addition give new tensors while this is open. replaced: how many would have written into theirs."""

    replaced = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        # batch norm counts its batches in place
        if args and torch.is_tensor(args[0]) and args[0].is_floating_point():
            other = {torch.relu_: torch.relu, torch.Tensor.add_: torch.Tensor.add}.get(func, func)
            self.replaced += other is not func or (kwargs or {}).pop("inplace", False)
            func = other
        return func(*args, **(kwargs or {}))


WRITING = {
    "resnet8": ("resnet8", {}),
    "resnet20": ("resnet20", {}),
    "large images": ("resnet18", {"stem": "imagenet"}),
    "resnet50": ("resnet50", {}),
    "vgg16_bn": ("vgg16_bn", {}),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("case", WRITING)
def test_writing_into_the_output_of_batch_norm_changes_no_bit(case, precision):
    """A step of training: logits, gradients, also of the images, and statistics; then logits in evaluation mode."""
    name, options = WRITING[case]
    model = build(MODELS[name], {"width": 4} | options).build(5, 3)
    reinitialise(model, 0)
    images, found = torch.rand(8, 3, 32, 32), []
    for mode in (contextlib.nullcontext(), OutOfPlace()):
        one, x = copy_of(model), images.clone().requires_grad_()
        with mode, torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = one(x)
            with torch.no_grad():
                answers = one.eval()(images)
        logits.float().square().sum().backward()
        found.append([logits, answers, x.grad, *(p.grad for p in one.parameters()), *one.buffers()])
    assert mode.replaced > 0
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("way", [by_layer, _by_sample])
@pytest.mark.parametrize("case", WRITING)
def test_writing_into_the_output_of_batch_norm_changes_no_gradient_of_a_sample(case, way):
    name, options = WRITING[case]
    model = build(MODELS[name], {"width": 4} | options).build(5, 3).eval()
    reinitialise(model, 0)
    x, found = torch.rand(3, 3, 32, 32), []
    for mode in (contextlib.nullcontext(), OutOfPlace()):
        of = {}
        with mode:
            way(model, dict(model.named_parameters()), x, lambda logits: [logits.square().sum(1)], of.__setitem__)
        found.append(of)
    assert found[0].keys() == dict(model.named_parameters()).keys()
    assert same(*found)


# ---- initialisation --------------------------------------------------------------------------------------------------


def thin(name):
    return lambda: build(MODELS[name], {"width": 4} | THIN.get(name, {})).build(5, 1)


@pytest.mark.parametrize("make", [*map(thin, [n for n in MODELS if n != "import"]), network])
def test_initialisation_depends_on_the_seed_alone(make):
    one, other = make(), make()
    with torch.no_grad():
        for name, tensor in (*other.named_parameters(), *other.named_buffers()):
            if not name.endswith("relative_position_index"):  # a constant
                tensor.copy_(torch.rand(tensor.shape) * 9)
    torch.manual_seed(1)
    reinitialise(one, 7)
    torch.manual_seed(2)
    reinitialise(other, 7)
    assert same(state(one), state(other)), "batch norm statistics included"
    reinitialise(other, 8)
    drawn = [n for n, m in one.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert not any(torch.equal(one.get_submodule(n).weight, other.get_submodule(n).weight) for n in drawn)


class Drawn(nn.Module):
    """Draws its weights by NumPy or by Python's `random`."""

    def __init__(self, draw):
        super().__init__()
        self.conv, self.draw = nn.Conv2d(1, 4, 3), draw

    def reset_parameters(self):
        self.conv.reset_parameters()
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor(self.draw(self.conv.weight.numel())).view(self.conv.weight.shape))


DRAWS = {
    "numpy": lambda n: np.random.normal(0, 0.1, n),  # noqa: NPY002
    "random": lambda n: [random.gauss(0, 0.1) for _ in range(n)],
}


@pytest.mark.parametrize("draw", DRAWS)
def test_initialisation_by_numpy_or_random_depends_on_the_seed_alone(draw):
    model = nn.Sequential(Drawn(DRAWS[draw]))
    found = []
    for seed in (7, 7, 8, 2**62 + 7):
        reinitialise(model, seed)
        found.append(model[0].conv.weight.clone())
    assert torch.equal(found[0], found[1])
    assert not any(torch.equal(found[0], other) for other in found[2:])


def test_initialisation_by_a_generator_of_its_own_is_refused():
    for draw in DRAWS.values():
        check_initialisation(Drawn(draw))
    own = np.random.default_rng(0)
    with pytest.raises(
        LacunaError, match=r"^Drawn.reset_parameters draws 'conv.weight' differently from the same seed; "
    ):
        check_initialisation(Drawn(lambda n: own.normal(size=n)))


def test_global_random_states_are_left_alone():
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    model = network()
    before = states()
    reinitialise(model, 0)
    assert states() == before


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

    check_initialisation(network())
    model = nn.Sequential(Scaled(), nn.Linear(2, 2))
    with pytest.raises(LacunaError, match=r"Scaled has parameters of its own .scale. but no reset_parameters"):
        reinitialise(model, 0)
    Scaled.reset_parameters = lambda self: (self.conv.reset_parameters(), nn.init.ones_(self.scale))
    reinitialise(model, 0)
    check_initialisation(model)
    Scaled.reset_parameters = lambda self: self.conv.reset_parameters()
    with pytest.raises(LacunaError, match=r"^Scaled.reset_parameters leaves '0.scale' as it is; allowed: "):
        check_initialisation(model)


TORCHS_OWN = {
    "attention": lambda: nn.MultiheadAttention(8, 2),
    "encoder layer": lambda: nn.TransformerEncoderLayer(8, 2, 16),
    "transformer": lambda: nn.Transformer(8, 2, 1, 1, 16),
    "recurrent": lambda: nn.LSTM(3, 4),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(1, 4, 3)), nn.Linear(4, 2)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(4, 3)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(4, 4)),
}


@pytest.mark.parametrize("kind", TORCHS_OWN)
def test_torchs_own_modules_start_anew(kind):
    """Every parameter is drawn, from the seed alone, and no value of before is in it; weights, not only biases."""
    model, other = TORCHS_OWN[kind](), TORCHS_OWN[kind]()
    other.load_state_dict(model.state_dict())
    check_initialisation(model)
    reinitialise(model, 3)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    reinitialise(other, 3)
    assert same(state(model), state(other))
    reinitialise(other, 4)
    assert not same(state(model), state(other))
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and kind != "orthogonal":  # whose drawn value is kept in a buffer
            assert not torch.equal(parameter, other.get_parameter(name)), name


def test_a_parametrized_layer_starts_with_the_values_that_the_plain_one_draws():
    plain, normed = nn.Linear(4, 3), parametrizations.weight_norm(nn.Linear(4, 3))
    reinitialise(plain, 5)
    reinitialise(normed, 5)
    torch.testing.assert_close(normed.weight, plain.weight)
    assert torch.equal(normed.bias, plain.bias)
    assert type(normed).__name__ == "ParametrizedLinear"


def test_a_parametrization_without_an_inverse_is_refused_by_name():
    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    model = nn.Sequential(nn.Linear(2, 2))
    parametrize.register_parametrization(model[0], "weight", Doubled())
    with pytest.raises(
        LacunaError, match=r"^the parametrization Doubled of 'weight' cannot take a value that is drawn"
    ):
        check_initialisation(model)
