"""Gradients of single samples: those of a loop, whatever the network, in chunks of any size."""

from pathlib import Path

import pytest
import torch
from tiny import same, state

from lacuna.gradients import memory, per_sample
from lacuna.gradients.memory import memory_at_hand
from lacuna.gradients.per_sample import each_gradient, mean_squares, true_label
from unit.gradients.networks import NETWORKS, SINGLY, SOURCE, close, looped, made


@pytest.mark.parametrize("chunk", [1, 5, 100])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_a_loop(name, chunk):
    model, index = made(name), SOURCE.index("retain")[:11]
    expected = looped(model, SOURCE, index)
    found = {key: torch.zeros_like(g) for key, g in expected.items()}
    count = dict.fromkeys(found, 0)

    def sink(where, key, gradients):
        found[key][where] += gradients
        count[key] += len(gradients)

    before, modes = state(model), [m.training for m in model.modules()]
    each_gradient(model, SOURCE, index, true_label, sink, chunk=chunk)
    for key, gradients in found.items():
        close(gradients, expected[key], rtol=1e-8, atol=1e-13, msg=key)
        assert count[key] == (0 if key == "idle" else 11)
    assert same(state(model), before), "neither weights nor batch norm statistics"
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert not any("forward" in vars(m) for m in model.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_known_layers_are_derived_by_hand_and_no_others(name, monkeypatch):
    ways, by_sample = [], per_sample._by_sample
    monkeypatch.setattr(per_sample, "_by_sample", lambda *given: ways.append("by sample") or by_sample(*given))
    each_gradient(made(name), SOURCE, SOURCE.index("retain")[:5], true_label, lambda *_: None)
    assert (not ways) == NETWORKS[name][1]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_log_tells_of_samples_that_go_one_by_one(name):
    lines: list[str] = []
    mean_squares(made(name), SOURCE, "forget", log=lines.append)
    expected = f"{type(made(name)).__name__} cannot be derived many samples at a time: one by one, which is slow"
    assert lines == ([expected] if name in SINGLY else [])


def test_parameters_that_take_no_gradient_are_left_out():
    model = made("resnet8")
    frozen = [name for name, _ in model.named_parameters() if name.startswith(("stem", "groups.0"))]
    for name, p in model.named_parameters():
        p.requires_grad_(name not in frozen)
    expected = looped(model, SOURCE, SOURCE.index("forget"))
    found = mean_squares(model, SOURCE, "forget")
    assert set(found) == set(expected) == set(dict(model.named_parameters())) - set(frozen)
    for name, squares in found.items():
        close(squares, expected[name].square().mean(0), rtol=1e-8)


def test_a_forward_of_ones_own_is_kept():
    """A module whose forward was replaced is no known layer, and keeps its replacement."""
    model = made("tiny")
    plain = model.fc.forward
    model.fc.forward = lambda x: 3 * plain(x)
    own = model.fc.forward
    twin = made("tiny")
    with torch.no_grad():
        twin.fc.weight.mul_(3), twin.fc.bias.mul_(3)
    found, expected = mean_squares(model, SOURCE, "forget"), mean_squares(twin, SOURCE, "forget")
    assert model.fc.forward is own
    close(found["fc.weight"], 9 * expected["fc.weight"])
    close(found["conv1.weight"], expected["conv1.weight"])


@pytest.mark.parametrize("name", ["tiny", "groups", "custom function"])
def test_squares_of_several_losses_add_up(name):
    model = made(name)

    def two(logits, labels, where):
        return [logits[:, 0], *true_label(logits, labels, where)]

    both = [lambda z, y: z[:, 0].sum(), None]
    expected = [looped(model, SOURCE, SOURCE.index("forget"), loss) for loss in both]
    for key, squares in mean_squares(model, SOURCE, "forget", two).items():
        close(squares, sum(e[key].square().mean(0) for e in expected), rtol=1e-8, msg=key)


@pytest.mark.parametrize("name", ["tiny", "groups"])
def test_memory_at_hand_decides_the_chunk_but_not_the_result(name, monkeypatch):
    model = made(name)
    expected, sizes = mean_squares(model, SOURCE, "retain"), []
    for free in (0, 10**6, 2**40):
        seen = []
        monkeypatch.setattr(memory, "_free_bytes", lambda free=free: iter([2**50, free]))

        def watched(logits, labels, where, seen=seen):
            seen.append(len(labels))
            return true_label(logits, labels, where)

        for key, squares in mean_squares(model, SOURCE, "retain", watched).items():
            close(squares, expected[key], rtol=1e-10, msg=key)
        assert sum(seen) == len(SOURCE.index("retain"))
        sizes.append(seen[0])
    assert sizes[0] == 1 < sizes[1] < sizes[2] == len(SOURCE.index("retain"))
    # on a CPU never more than is useful, however much is free
    monkeypatch.setattr(per_sample, "CHUNK_BYTES", 1)
    seen = []
    mean_squares(model, SOURCE, "retain", lambda z, y, where: seen.append(where) or true_label(z, y, where))
    assert seen == [slice(i, i + 1) for i in range(len(SOURCE.index("retain")))]


def test_memory_at_hand_is_within_that_of_the_machine():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024 if Path("/proc/meminfo").exists() else 2**60
    assert 2**20 < memory_at_hand(torch.device("cpu")) <= total
