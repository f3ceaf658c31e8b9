"""DELETE: the original's opinion without the true class."""

import copy

import torch
from tiny import data
from torch.nn.functional import softmax

from lacuna import unlearn
from unit.unlearning.methods.classic import batch_of, begun, close, whole


def test_delete_target_is_the_original_opinion_without_the_true_class(original):
    given = data()
    x, y = whole(given, "forget")
    method, work, _ = begun("delete", original, given)
    teacher = work.memory["teacher"].double()
    target = method.target(teacher, batch_of(x, y))
    true = torch.nn.functional.one_hot(y, 3).bool()
    assert bool((target[true] == 0).all())
    close([target.sum(1)], [torch.ones(len(y), dtype=torch.float64)], 1e-14)
    p = softmax(teacher(x), 1)
    # the other classes in their old proportion: 1 − p_y is their sum
    close([target], [(p * ~true / (p * ~true).sum(1, keepdim=True)).detach()], 1e-12)
    # a teacher that is certain of the true class leaves a finite target and loss
    certain = torch.full((len(y), 3), -300.0, dtype=torch.float64).masked_fill(true, 300.0)
    work.memory["teacher"] = lambda _: certain
    free = certain.clone().requires_grad_()
    loss = method.loss(lambda _: free, batch_of(x, y), work)
    (gradient,) = torch.autograd.grad(loss, free)
    assert bool(torch.isfinite(loss))
    close([gradient], [(softmax(certain, 1) - 0.5 * ~true) / len(y)], 1e-12)


def test_delete_forgets_and_reads_no_retained_data(original):
    given = data()
    outcome = unlearn("delete", original, given, lr=0.05, epochs=10, batch_size=8)
    assert outcome.fit.samples == 10 * len(given.index("forget"))
    x, y = whole(given, "forget")
    before, after = (
        softmax(m.double().eval()(x), 1).gather(1, y[:, None]).mean().item()
        for m in (copy.deepcopy(original), outcome.model)
    )
    assert after < 0.5 * before
