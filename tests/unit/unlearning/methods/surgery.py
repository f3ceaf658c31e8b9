"""What the tests of gradient surgery share: methods by name, pairs of gradients, one step by hand."""

import dataclasses
import math

import pytest
import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from lacuna.data.batches import Batch
from lacuna.fields import build
from lacuna.training.state import LoopState
from lacuna.unlearning import UNLEARNERS

PLAIN = {"momentum": 0.0, "weight_decay": 0.0}
QUICK = {"epochs": 2, "lr": 0.02, "batch_size": 8}
# the published form first
FORMS = [("mixed", "shares"), ("mixed", "equal"), ("equal", "shares"), ("equal", "equal")]
FORM = pytest.mark.parametrize("form", FORMS, ids="-".join)


def formed(form):
    """The options of a form; an epoch over the forget set is only for equal batches."""
    return {"batches": form[0], "weights": form[1], "epoch_of": "longest"}


def method(name, **options):
    return build(UNLEARNERS[name], options)


def vector(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def direction(unlearner, g_f, g_r, l_f=1.0, l_r=1.0):
    return unlearner.combine(g_f, g_r, g_f.new_tensor(l_f), g_f.new_tensor(l_r), None)


# tenths make exact zeros, parallels, opposites and orthogonal pairs likely; the scales make norms differ
@st.composite
def pairs(draw):
    d = draw(st.integers(1, 5))
    tenths = st.lists(st.integers(-20, 20), min_size=d, max_size=d)
    made = []
    for _ in range(2):
        scale = draw(st.sampled_from([1e-3, 0.1, 1.0, 30.0]))
        made.append(torch.tensor(draw(tenths), dtype=torch.float64) * 0.1 * scale)
    if draw(st.booleans()):  # a multiple of the other, or nearly
        made[1] = made[0] * draw(st.sampled_from([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])) + made[1] * 1e-9
    return tuple(made)


def probe(name, model, given, mask=None, **options):
    """The method, its work and the batches of its first step, as the loop would hand them to it."""
    unlearner = method(name, **options)
    work = LoopState(7, torch.device("cpu"), given.classes, mask)
    work.lr = unlearner.lr
    model.train()
    if unlearner.freezes_batchnorm:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    given = unlearner.begin(model, given, work)
    dtype = next(model.parameters()).dtype
    read = unlearner.plan(0, {s: given.steps(s, unlearner.batch_size) for s in unlearner.streams})[0]
    batches = {s: next(given.train_batches(s, unlearner.batch_size, 7, 0, dtype)) for s in read}
    return unlearner, work, batches


def without_val(given):
    return dataclasses.replace(given, parts={part: given.parts[part] for part in ("retain", "forget")})


def flat(tensors):
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def by_hand(model, unlearner, work, batches):
    """g_f, g_r, L_f and L_r of one forward pass over all samples of a step, with the labels that the step drew."""
    forgotten = torch.cat([batch.forgotten for batch in batches.values()])
    labels = torch.cat([batch.y for batch in batches.values()])
    if unlearner.forget_loss != "ascent":
        assert torch.equal(work.memory["labels"][~forgotten], labels[~forgotten]), "retained samples keep theirs"
        labels = work.memory["labels"]
    out = model(torch.cat([batch.x for batch in batches.values()]))
    parameters = list(model.parameters())
    found = []
    for rows, sign in ((forgotten, -1 if unlearner.forget_loss == "ascent" else 1), (~forgotten, 1)):
        share = float(rows.double().mean()) if unlearner.weights == "shares" else 1.0
        loss = sign * share * cross_entropy(out[rows], labels[rows]) if rows.any() else 0 * out.sum()
        found.append((flat(torch.autograd.grad(loss, parameters, retain_graph=True)), loss.detach()))
    (g_f, l_f), (g_r, l_r) = found
    return g_f, g_r, l_f, l_r


def only(batch, rows):
    """Some samples of a batch."""
    return Batch(batch.x[rows], batch.y[rows], batch.index[rows], batch.forgotten[rows], batch.classes, batch.generator)


class Plane(nn.Module):
    """Parameters without a network: two losses that are linear in them."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, x):
        return x.new_zeros(len(x), 3)  # logits, for the look at them at the end of a run


A, B = vector([1.0, -2.0, 0.5]), vector([-0.6, 0.3, 0.4])


def on_a_plane(cls):
    """The method with L_f = 5 + ⟨A, θ⟩, L_r = 3 + ⟨B, θ⟩: gradients that stay what they are."""

    class Linearised(cls):
        def losses(self, model, forget, retain, mixed, work):
            return 5 + A @ model.theta, 3 + B @ model.theta

    return Linearised


class Adam:
    """Kingma and Ba's algorithm 1 with decay added to the gradient, one float at a time."""

    def __init__(self, start, lr, decay):
        self.x, self.lr, self.decay = list(start), lr, decay
        self.m, self.v, self.t = [0.0] * len(self.x), [0.0] * len(self.x), 0

    def step(self, gradient):
        self.t += 1
        for i, g in enumerate(gradient):
            g += self.decay * self.x[i]
            self.m[i] = 0.9 * self.m[i] + (1 - 0.9) * g
            self.v[i] = 0.999 * self.v[i] + (1 - 0.999) * g * g
            m, v = self.m[i] / (1 - 0.9**self.t), self.v[i] / (1 - 0.999**self.t)
            self.x[i] -= self.lr * m / (math.sqrt(v) + 1e-8)
