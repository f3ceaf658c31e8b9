"""What the tests of criteria share: scores and masks on small networks."""

import inspect

import torch
from tiny import data, network
from torch import nn
from torch.nn.functional import cross_entropy

from lacuna.fields import build
from lacuna.pruning import PRUNERS
from lacuna.pruning.criteria.grasp import grasp
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.pruning.criteria.random import random
from lacuna.pruning.criteria.snip import snip
from lacuna.pruning.criteria.synflow import synflow
from lacuna.pruning.criteria.taylor import taylor
from lacuna.sparsity.mask import prunable

SOURCE = data(retain=60, forget=12)
CRITERIA = {function.__name__: function for function in (magnitude, random, taylor, snip, grasp, synflow)}


def score(name, model, source=SOURCE, seed=0, **options):
    """A criterion's scores, given what its parameters name."""
    offered = {"data": source, "seed": seed} | options
    wanted = inspect.signature(CRITERIA[name]).parameters
    return CRITERIA[name](model, **{k: v for k, v in offered.items() if k in wanted})


def find_mask(pruner, model, sparsity, source=SOURCE, seed=0, mask=None, **options):
    return build(PRUNERS[pruner], options).find_mask(model, sparsity, source, seed=seed, mask=mask)


def worn(model, seed=1):
    """The model with batch norm statistics and affine parameters that are not those of the first day."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 3)
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model


def moved(model, name, entry, factor):
    """A copy with one entry of one weight multiplied."""
    copy = network()
    copy.double().load_state_dict(model.state_dict())
    copy.train(model.training)
    dict(copy.named_parameters())[name].data.flatten()[entry] *= factor
    return copy


def some_entries(model):
    return [(name, entry) for name, w in prunable(model).items() for entry in (0, 7, w.numel() - 1)]


def loss_on(model, chosen, temperature=1.0):
    x = SOURCE.normalised(SOURCE.images[chosen], torch.float64)
    return cross_entropy(model(x) / temperature, SOURCE.labels[chosen])
