"""Convolutions by oneDNN's kernels answer and learn as PyTorch's do, up to rounding, and only where they may."""

import contextlib
import os

import pytest
import torch
from tiny import data, network, same, state
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models import MODELS, kernels
from lacuna.models.architectures.resnet import BasicBlock
from lacuna.models.inference import accuracy, copy_of, logits
from lacuna.models.init import reinitialise
from lacuna.models.kernels import blocked, folded
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe

IMAGES = UnlearningData.from_tensors(
    retain=(torch.rand(9, 3, 32, 32, generator=torch.Generator().manual_seed(3)), torch.arange(9) % 5)
)
# how many batch norms each has
NETWORKS = {
    "resnet8": (MODELS["resnet8"], {}, 9),
    "resnet20": (MODELS["resnet20"], {}, 21),
    "large images": (MODELS["resnet18"], {"stem": "imagenet"}, 20),
    "resnet50": (MODELS["resnet50"], {}, 53),
}


def trained_network(case: str = "resnet8", width: int = 4) -> nn.Module:
    """With statistics, scales and shifts that tell if one is left out, and weights that a mask has zeroed."""
    kind, options, _ = NETWORKS[case]
    model = build(kind, {"width": width} | options).build(5, 3)
    reinitialise(model, 0)
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.add_(0.3 * torch.randn(tensor.shape, generator=draws))
            elif isinstance(module, nn.Conv2d):
                module.weight.mul_(torch.rand(module.weight.shape, generator=draws) > 0.5)
        # statistics for which activations stay of one size
        model.train()(IMAGES.images)
    return model.eval()


@pytest.fixture
def plainly(monkeypatch):
    """A context in which PyTorch's own kernels compute."""

    @contextlib.contextmanager
    def switched():
        with monkeypatch.context() as patch:
            patch.setattr(kernels, "_has_onednn", lambda: False)
            yield

    return switched


# ---- folded


def batch_norms(run) -> int:
    """How many batch norms of torch a function computes."""
    with torch.profiler.profile() as seen:
        run()
    return sum(event.name == "aten::batch_norm" for event in seen.events())


@pytest.mark.parametrize("case", NETWORKS)
def test_predictions_fold_every_batch_norm_and_answer_as_the_model_does(case, plainly):
    model, found = trained_network(case), []
    before, parts = state(model), [*map(id, model.parameters())]
    assert batch_norms(lambda: found.append(logits(model, IMAGES, "retain"))) == 0
    with plainly():
        expected = logits(model, IMAGES, "retain")
        assert batch_norms(lambda: logits(model, IMAGES, "retain")) == NETWORKS[case][2]
    assert expected.std() > 0.01
    torch.testing.assert_close(found[0] / expected.std(), expected / expected.std(), rtol=0, atol=2e-5)
    assert torch.equal(found[0], logits(model, IMAGES, "retain")), "the same bits at every call"
    assert torch.equal(found[0], logits(model, IMAGES, "retain", 3)), "in batches of any size above one"
    assert same(state(model), before) and [*map(id, model.parameters())] == parts


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 8, 8), (3, 28, 28), (3, 40, 64)])
@pytest.mark.parametrize("case", ["resnet8", "large images", "resnet50"])
def test_images_of_any_size_are_answered_as_the_model_does(case, shape, plainly):
    kind, options, _ = NETWORKS[case]
    model = build(kind, {"width": 3} | options).build(5, shape[0])
    reinitialise(model, 0)
    images = UnlearningData.from_tensors(retain=(torch.rand(3, *shape), torch.arange(3)))
    found = [logits(model, images, "retain", size) for size in (1, 2, 3)]
    with plainly():
        expected = logits(model, images, "retain")
    for one in found:
        torch.testing.assert_close(one, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_predictions_are_of_the_weights_as_they_are_now():
    model = trained_network()
    first = logits(model, IMAGES, "retain")
    with torch.no_grad():
        model.groups[1][0].bn2.running_mean.add_(1)
    assert not torch.allclose(first, logits(model, IMAGES, "retain"), atol=1e-3)


def test_a_trained_network_has_the_same_accuracy(plainly):
    source = data(retain=60)
    model = build(MODELS["resnet8"], {"width": 4}).build(3, 1)
    reinitialise(model, 0)
    fit(model, recipe("fp32", epochs=4), source, seed=0)
    found = [accuracy(model, source, part) for part in ("retain", "test")]
    with plainly():
        assert found == [accuracy(model, source, part) for part in ("retain", "test")]
    assert found[0] > 50


def test_a_training_in_fp32_does_not_depend_on_these_kernels(plainly):
    """Its validation neither: there the network is watched, for its passes are counted."""
    found = []
    for mode in (contextlib.nullcontext(), plainly()):
        with mode:
            model = build(MODELS["resnet8"], {"width": 16}).build(3, 1)
            reinitialise(model, 0)
            history = fit(model, recipe("fp32"), data(), seed=0).history
        found.append((state(model), [{k: v for k, v in row.items() if k != "seconds"} for row in history]))
    assert same(found[0][0], found[1][0]) and found[0][1] == found[1][1]


def watch(model: nn.Module) -> None:
    model.groups[0].register_forward_hook(lambda *_: None)


def watch_all(model: nn.Module) -> None:
    model.register_forward_pre_hook(lambda *_: None)


def patch(model: nn.Module) -> None:
    conv = model.stem[0]
    conv.forward = lambda x: nn.functional.conv2d(x, conv.weight, None, 1, 1)


@pytest.mark.parametrize("change", [watch, watch_all, patch])
def test_a_network_that_somebody_watches_is_computed_as_it_is(change):
    model = trained_network()
    change(model)
    assert batch_norms(lambda: logits(model, IMAGES, "retain")) == 9


def forget_statistics(model: nn.Module) -> None:
    model.stem[1].running_mean = model.stem[1].running_var = None


def be_of_another_type(model: nn.Module) -> None:
    model.stem[1].__class__ = type("Mine", (nn.BatchNorm2d,), {})


def convolve_otherwise(model: nn.Module) -> None:
    model.stem[0].__class__ = type("Mine", (nn.Conv2d,), {})


@pytest.mark.parametrize("change", [forget_statistics, be_of_another_type, convolve_otherwise])
def test_a_layer_that_may_be_another_thing_is_computed_as_it_is(change, plainly):
    model = trained_network()
    change(model)
    assert batch_norms(lambda: logits(model, IMAGES, "retain")) == 1
    found = logits(model, IMAGES, "retain")
    with plainly():
        torch.testing.assert_close(found, logits(model, IMAGES, "retain"), rtol=0, atol=1e-4)


def test_networks_of_users_and_of_another_precision_are_computed_as_they_are():
    assert batch_norms(lambda: logits(network(), data(), "test")) == 2
    precise = trained_network().double()
    assert batch_norms(lambda: logits(precise, IMAGES, "retain")) == 9
    mine = trained_network()
    mine.groups[0][0].__class__ = type(
        "Mine", (BasicBlock,), {"forward": lambda self, x: self.bn1(self.conv1(x)).relu()}
    )
    assert batch_norms(lambda: logits(mine, IMAGES, "retain")) == 1


def test_nothing_is_folded_with_gradients_nor_afterwards():
    model = trained_network()
    with folded(model):
        assert batch_norms(lambda: model(IMAGES.images)) == 9
    with torch.no_grad(), contextlib.suppress(KeyboardInterrupt), folded(model):
        assert batch_norms(lambda: model(IMAGES.images)) == 0
        raise KeyboardInterrupt
    with torch.no_grad():
        assert batch_norms(lambda: model(IMAGES.images)) == 9


def test_an_answer_that_is_not_finite_stays_so(plainly):
    """Weights are finite, and infinity less infinity is not. A kernel that rectifies would make 0 of it: an answer."""
    model = trained_network()
    with torch.no_grad():
        for module in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
            module.weight.mul_(1e20)
    found = logits(model, IMAGES, "retain")
    with plainly():
        assert torch.equal(found.isnan(), logits(model, IMAGES, "retain").isnan())
    assert found.isnan().all()


def test_a_batch_norm_that_counts_is_computed_as_it_is():
    """In training it normalises by the batch, which no fold knows."""
    ours, theirs = (copy_of(trained_network("resnet8", 16)).train() for _ in range(2))
    with torch.no_grad():
        expected = theirs(IMAGES.images)
        with folded(ours):
            assert torch.equal(ours(IMAGES.images), expected)
    assert same(state(ours), state(theirs))


# ---- blocked


def recipe(precision: str, epochs: int = 2) -> Recipe:
    return Recipe(
        epochs=epochs, batch_size=16, schedule="constant", rewind_epoch=0, crop=0, flip=False, precision=precision
    )


@pytest.fixture
def half(monkeypatch):
    """Autocast to bfloat16, as on a CPU that has numbers of it and no tiles."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        if os.environ.get("CI"):
            pytest.fail("CI must have a CPU that computes in bfloat16 (avx512)")
        pytest.skip("this CPU cannot compute in bfloat16")
    monkeypatch.setattr(kernels, "has_unit", lambda unit: unit == "avx512_bf16")
    return lambda: torch.autocast("cpu", torch.bfloat16)


def gradients(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """Of a loss by parameters and images, one after another; statistics behind them."""
    one, x = copy_of(model).train(), images.clone().requires_grad_()
    logits = one(x)
    nn.functional.cross_entropy(logits.float(), torch.arange(len(x)) % 5).backward()
    return [logits.float(), x.grad, *(p.grad for p in one.parameters()), *(b.float() for b in one.buffers())]


def errors(found: list[torch.Tensor], exact: list[torch.Tensor]) -> torch.Tensor:
    """The relative error of each tensor."""
    return torch.tensor([((a - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)])


@pytest.mark.parametrize("case", ["resnet8", "large images"])
def test_a_step_in_blocks_errs_no_more_than_a_plain_one_in_bfloat16(case, half, plainly, monkeypatch):
    monkeypatch.setattr(kernels, "_WIDTHS", range(16, 513, 16))
    model, images = trained_network(case, 16), IMAGES.images
    exact = gradients(model, images)
    with half():
        assert blocked(model.train(), images).is_mkldnn
        found, again = gradients(model, images), gradients(model, images)
        with plainly():
            assert not blocked(model, images).is_mkldnn
            usual = gradients(model, images)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True)), "the same bits at every call"
    assert not all(torch.equal(a, b) for a, b in zip(found, usual, strict=True))
    of_blocks, of_usual = errors(found, exact), errors(usual, exact)
    assert of_blocks.mean() < 1.2 * of_usual.mean() < 0.5 and (of_blocks < 2 * of_usual + 0.01).all()
    assert [g.stride() for g in found] == [g.stride() for g in usual]


def test_a_training_in_blocks_learns_as_a_plain_one_and_repeats_its_bits(half, plainly):
    found = []
    for mode in (contextlib.nullcontext(), contextlib.nullcontext(), plainly()):
        with mode:
            model = build(MODELS["resnet8"], {"width": 16}).build(3, 1)
            reinitialise(model, 0)
            found.append((fit(model, recipe("bf16", 3), data(), seed=0).history[-1]["loss"], state(model)))
    assert same(found[0][1], found[1][1]) and not same(found[0][1], found[2][1])
    assert found[0][0] == pytest.approx(found[2][0], rel=0.1)


def test_layers_that_do_not_move_get_no_gradient(half):
    model = trained_network(width=16).train()
    still = [model.stem[0].weight, model.groups[1][0].conv2.weight, model.groups[1][0].bn1.weight]
    for parameter in still:
        parameter.requires_grad_(False)
    with half():
        assert blocked(model, IMAGES.images).is_mkldnn
        model(IMAGES.images).sum().backward()
    assert {id(p) for p in model.parameters() if p.grad is None} == {*map(id, still)}


def freeze(model: nn.Module) -> None:
    model.groups[0][0].bn1.eval()


def watch_a_layer(model: nn.Module) -> None:
    model.groups[0][0].conv1.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize("change", [freeze, watch_a_layer, forget_statistics, be_of_another_type, convolve_otherwise])
def test_a_network_is_not_computed_in_blocks(change, half):
    model = trained_network(width=16).train()
    watch_all(model)
    with half():
        assert blocked(model, IMAGES.images).is_mkldnn
        change(model)
        assert blocked(model, IMAGES.images) is IMAGES.images


def test_nothing_is_computed_in_blocks_but_a_step_of_training_in_bfloat16(half, monkeypatch):
    model, x = trained_network(width=16).train(), IMAGES.images
    assert blocked(model, x) is x
    with half():
        assert blocked(model, x).is_mkldnn
        with torch.no_grad():
            assert blocked(model, x) is x
        assert blocked(model.eval(), x) is x
        assert blocked(trained_network(width=4).train(), x) is x, "no whole blocks"
        assert blocked(trained_network(width=32).train(), x) is x, "128 channels in its last group"
        for units in ((), ("avx512_bf16", "amx_tile")):
            monkeypatch.setattr(kernels, "has_unit", lambda unit, units=units: unit in units)
            assert blocked(model.train(), x) is x
    with torch.autocast("cpu", torch.float16):
        assert blocked(model, x) is x


@pytest.mark.parametrize("name", ["stem.0.weight", "groups.1.0.bn1.weight", "groups.2.0.bn2.bias", "classifier.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_diverged_in_blocks_does_not_answer(name, value, half):
    model = trained_network(width=16).train()
    with torch.no_grad():
        tensor = model.get_parameter(name)
        tensor[(0,) * tensor.dim()] = value
    with half():
        assert blocked(model, IMAGES.images).is_mkldnn
        assert not torch.isfinite(model(IMAGES.images).float()).all(1).any()


def test_a_second_derivative_in_blocks_is_refused(half):
    model = trained_network(width=16).train()
    with half():
        loss = model(IMAGES.images).sum()
    with pytest.raises(LacunaError, match=r"^a second derivative .* allowed: precision: fp32$"):
        torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
