"""Every architecture × every pruner × every unlearner: what works, and what is refused with a reason."""

import dataclasses

import pytest
import torch
from tiny import data, half, state
from torch import nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.gradients.per_sample import each_gradient, true_label
from lacuna.measurement.curvature import largest_singular_value
from lacuna.models import MODELS
from lacuna.models.anatomy import classifier
from lacuna.models.cost import parameters
from lacuna.models.inference import copy_of
from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS
from lacuna.pruning.criteria.grasp import grasp
from lacuna.sparsity.compaction import compact
from lacuna.sparsity.mask import Mask, prunable
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning import UNLEARNERS, unlearn
from lacuna.unlearning.last_blocks import blocks
from lacuna.unlearning.methods.conv_transpose import transpose

# options that make a network as small as it can be, and the side of an image that it then takes
SMALL = {
    "resnet50": ({"width": 2}, 8),
    "vgg16_bn": ({"width": 2}, 32),
    "vit": ({"patch": 2, "width": 8, "depth": 2, "heads": 2}, 4),
    "swin_t": ({"patch": 2, "width": 8, "depths": [1, 1], "window": 2}, 8),
}
FILTERS = [name for name in PRUNERS if PRUNERS[name].structured]
REFUSED = {(name, pruner) for name in ("vit", "swin_t") for pruner in ("synflow", *FILTERS)}
QUICK = {"epochs": 1, "batch_size": 32, "lr": 0.01, "rewind_epoch": 0}
RECIPE = Recipe(schedule="constant", crop=0, flip=False, **QUICK)
# few rounds, few labels, few images of noise: as much as shows that a method can work
FAST = {"synflow": {"rounds": 3}, "imp": {"rate": 0.4}}
BRIEF = {"ff": {"labels": "sampled"}, "iu": {"samples": 4}, "unsir": {"noise_samples": 4, "noise_steps": 1}}
BRIEF |= {"ssd": {"alpha": 1.0}, "lfssd": {"alpha": 1.0}}


@dataclasses.dataclass
class Kind:
    """An architecture with tiny data, trained a little."""

    name: str
    source: UnlearningData
    model: nn.Module
    origin: StartingPoint

    def fresh(self) -> nn.Module:
        return network(self.name)

    def half(self) -> Mask:
        return half(self.model)


def network(name: str) -> nn.Module:
    model = build(MODELS[name], SMALL[name][0]).build(3, 1)
    reinitialise(model, 0)
    return model


@pytest.fixture(scope="module", params=SMALL)
def kind(request):
    source = data(retain=22, forget=6, size=SMALL[request.param][1])
    everything = UnlearningData(source.images, source.labels, {"retain": source.index("mixed")}, 3, (0.4,), (0.3,))
    model = network(request.param)
    initial = state(model)
    fit(model, RECIPE, everything, seed=0)
    model.zero_grad(set_to_none=True)
    return Kind(request.param, source, model, StartingPoint(state(model), initial, initial))


@pytest.mark.parametrize("pruner", PRUNERS)
def test_pruner_reaches_the_sparsity_or_says_why_not(kind, pruner):
    method = build(PRUNERS[pruner], FAST.get(pruner, {}))
    model = kind.fresh()
    if (kind.name, pruner) in REFUSED:
        with pytest.raises(LacunaError, match="allowed: a "):
            method.check(model.to("meta"), "0.5")
        return
    method.check(kind.fresh().to("meta"), "0.5")
    mask, _ = method.prune(model, kind.origin, "0.5", RECIPE, kind.source, seed=0)
    assert set(mask.weights) == set(prunable(model))
    assert mask.sparsity == pytest.approx(0.5, abs=0.02)
    mask.check(model)


@pytest.mark.parametrize("method", UNLEARNERS)
def test_unlearner_works_under_a_mask(kind, method):
    known = {f.name for f in dataclasses.fields(UNLEARNERS[method])}
    options = {k: v for k, v in QUICK.items() if k in known} | BRIEF.get(method, {})
    build(UNLEARNERS[method], options).check(kind.fresh().to("meta"))
    sparse = copy_of(kind.model)
    kind.half().apply(sparse)
    if method == "retrain_exact":
        options |= {"pruner": build(PRUNERS["omp"], {}), "sparsity": "0.5"}
    else:
        options["mask"] = kind.half()
    outcome = unlearn(method, sparse, kind.source, seed=0, **options)
    outcome.mask.check(outcome.model)
    assert outcome.mask.sparsity == pytest.approx(0.5, abs=0.01)
    assert outcome.model(torch.zeros(2, *kind.source.images.shape[1:])).shape == (2, 3)
    before = dict(sparse.named_parameters())
    moved = [name for name, value in outcome.model.named_parameters() if not torch.equal(value, before[name])]
    assert (method == "original") == (not moved)


def test_gradient_of_each_sample_is_its_own(kind):
    """However a network is derived: by hand or, with attention, sample by sample."""
    model, index = copy_of(kind.model).double(), kind.source.index("forget")[:3]
    found = {name: torch.full((3, *p.shape), torch.nan, dtype=p.dtype) for name, p in model.named_parameters()}
    each_gradient(model, kind.source, index, true_label, lambda at, name, g: found[name].__setitem__(at, g), chunk=2)
    model.eval()
    for row, i in enumerate(index):
        x = kind.source.normalised(kind.source.images[i : i + 1], torch.float64)
        loss = cross_entropy(model(x), kind.source.labels[i : i + 1])
        for (name, _), expected in zip(
            model.named_parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            assert torch.allclose(found[name][row], expected, atol=1e-10), name


def test_blocks_are_those_of_the_architecture():
    assert len(blocks(network("resnet50"))) == 1 + 3 + 4 + 6 + 3 + 1
    assert len(blocks(network("vgg16_bn"))) == 13 + 1
    attention = [["blocks.0"], ["blocks.1", "norm"]]
    assert blocks(network("vit")) == [["patch"], *attention, ["classifier"]]
    stages = [["features.1.0"], ["features.2"], ["features.3.0", "norm"]]
    found = [[f"body.{name}" for name in block] for block in [["features.0.0", "features.0.2"], *stages, ["head"]]]
    assert blocks(network("swin_t")) == found


@pytest.mark.parametrize("name", ["vit", "swin_t"])
def test_linear_layers_of_a_transformer_are_prunable_but_its_classifier(name):
    model = network(name)
    every = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    every.remove(f"{classifier(model)[0]}.weight")
    assert set(prunable(model)) == set(prunable(model, include_linear=True)) == every
    assert set(Mask.full(model)) == set(prunable(model))
    model.prunes_linear = False
    assert len(prunable(model)) == 1, "the patches"


@pytest.mark.parametrize("name", ["vit", "swin_t"])
def test_second_derivatives_go_through_attention(name):
    model = network(name)
    source = data(retain=6, forget=2, size=SMALL[name][1])
    found = largest_singular_value(model, source, iterations=2)
    assert found.sigma > 0
    scores = grasp(model, data=source, seed=0, samples_per_class=2)
    assert all(bool(score.any()) for score in scores.values())
    assert torch.backends.cuda.flash_sdp_enabled(), "the faster kernels are in use again"


@pytest.mark.parametrize("name", ["resnet50", "vgg16_bn"])
def test_removed_filters_can_be_taken_out(name):
    """The smaller network gives the same logits, or `compact` would refuse it."""
    model = network(name)
    source = data(retain=6, forget=2, size=SMALL[name][1])
    mask = build(PRUNERS["filter_l2"], {}).find_mask(model, "0.5", source, seed=0)
    small = compact(model, mask, source.images.shape[1:])
    assert parameters(small) < 0.6 * parameters(model)


def test_only_a_convolution_can_be_transposed():
    method = build(UNLEARNERS["conv_transpose"], {})
    flat = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(LacunaError, match=r"^conv_transpose: Sequential has nothing to transpose; allowed: "):
        method.check(flat)
    flat[0] = nn.Conv2d(1, 4, (1, 3))
    with pytest.raises(LacunaError, match=r"^conv_transpose: '0.weight' has a 1×3 kernel; allowed: square kernels$"):
        method.check(flat)
    model = network("vit")
    before = state(model)
    transpose(model, None)
    changed = [name for name, value in state(model).items() if not torch.equal(value, before[name])]
    assert changed == ["patch.weight"]
    assert torch.equal(model.patch.weight, before["patch.weight"].mT)


def test_blocks_that_are_not_there_are_refused_before_a_run():
    with pytest.raises(LacunaError, match=r"^cf_k.k: 4 is not allowed for VisionTransformer; allowed: 0 to 3 "):
        unlearn("cf_k", network("vit"), data(size=4), k=4)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_one_sample_left_over_does_not_stop_a_deep_network(name):
    """On 8×8 images its last batch norm sees one value of each channel and sample."""
    model = build(MODELS[name], {"width": 2}).build(3, 1)
    source = data(retain=17, forget=2, size=8)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        model.train()(torch.zeros(1, 1, 8, 8))
    assert fit(model, RECIPE, source, seed=0).samples == 17
    assert fit(model, dataclasses.replace(RECIPE, batch_size=16), source, seed=0).steps == 2
    assert fit(model, dataclasses.replace(RECIPE, batch_size=8), source, seed=0).steps == 3
