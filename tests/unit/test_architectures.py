"""Every architecture × every pruner × every unlearner: what works, and what is refused with a reason."""

import dataclasses

import pytest
import torch
from tiny import data, state
from torch import nn

from lacuna.data.batches import UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models import MODELS
from lacuna.models.init import reinitialise
from lacuna.pruning import PRUNERS
from lacuna.pruning.base import Origin
from lacuna.pruning.mask import Mask, prunable
from lacuna.training import Recipe, copy_of, fit
from lacuna.unlearning import UNLEARNERS, unlearn

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
    origin: Origin

    def fresh(self) -> nn.Module:
        return network(self.name)

    def half(self) -> Mask:
        return Mask.from_scores({name: w.detach().abs() for name, w in prunable(self.model).items()}, "0.5")


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
    return Kind(request.param, source, model, Origin(state(model), initial, initial))


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
