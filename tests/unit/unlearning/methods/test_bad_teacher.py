"""Bad teacher: two teachers, one of which knows nothing."""

import torch
from tiny import data, network, same, state
from torch.nn.functional import log_softmax, softmax

from lacuna import unlearn
from unit.unlearning.methods.classic import batch_of, begun, close


def test_bad_teacher_is_minimal_at_the_mixture(original):
    given = data()
    for temperature in (1.0, 2.0):
        method, work, sampled = begun("bad_teacher", original, given, temperature=temperature)
        good, bad = work.memory["competent"].double(), work.memory["incompetent"].double()
        x, y = sampled.normalised(sampled.images[sampled.index("mixed")], torch.float64), None
        y = sampled.labels[sampled.index("mixed")]
        forgotten = torch.arange(len(y)) < len(sampled.index("forget"))
        batch = batch_of(x, y, forgotten)
        mixture = torch.where(forgotten[:, None], bad(x), good(x)).detach()
        free = mixture.clone().requires_grad_()
        loss = method.loss(lambda _, free=free: free, batch, work)
        assert abs(loss.item()) < 1e-12
        (gradient,) = torch.autograd.grad(loss, free)
        assert float(gradient.abs().max()) < 1e-12
        generator = torch.Generator().manual_seed(0)
        for size in (1e-3, 1.0, 30.0):
            off = mixture + size * torch.randn(mixture.shape, generator=generator, dtype=mixture.dtype)
            assert float(method.loss(lambda _, off=off: off, batch, work)) > 0
        # KL(mix ‖ p): summed over classes, mean over samples
        off = mixture.flip(1)
        p, q = softmax(mixture / temperature, 1), log_softmax(off / temperature, 1)
        expected = (p * (p.log() - q)).sum(1).mean()
        close([method.loss(lambda _, off=off: off, batch, work)], [expected], 1e-12)


def test_bad_teacher_sees_a_sample_of_the_retained_data(original):
    given = data(retain=40)
    samples = []
    for seed in (0, 0, 1):
        _, _, sampled = begun("bad_teacher", original, given, seed=seed)
        retain = sampled.index("retain")
        assert len(retain) == 12
        assert len(set(retain.tolist())) == 12
        assert set(retain.tolist()) <= set(given.index("retain").tolist())
        assert torch.equal(sampled.index("forget"), given.index("forget"))
        samples.append(retain.tolist())
    assert samples[0] == samples[1] != samples[2]
    assert len(given.index("retain")) == 40
    _, _, sampled = begun("bad_teacher", original, given, retain_share=1.0)
    assert torch.equal(sampled.index("retain"), given.index("retain"))
    outcome = unlearn("bad_teacher", original, given, epochs=2, batch_size=8)
    assert outcome.fit.samples == 2 * (12 + len(given.index("forget")))


def test_incompetent_teacher_knows_nothing_of_the_model(original):
    _, first, _ = begun("bad_teacher", original, data())
    _, second, _ = begun("bad_teacher", network(seed=9), data())
    _, third, _ = begun("bad_teacher", original, data(), seed=1)
    assert same(state(first.memory["incompetent"]), state(second.memory["incompetent"]))
    assert not same(state(first.memory["incompetent"]), state(third.memory["incompetent"]))
    assert same(state(first.memory["competent"]), state(original))
