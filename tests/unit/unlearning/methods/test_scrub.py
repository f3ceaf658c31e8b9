"""SCRUB: a student that leaves its teacher on D_f alone."""

import copy
import dataclasses
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from tiny import data, network, same, state
from torch.nn.functional import cross_entropy, log_softmax

from lacuna import unlearn
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.models.inference import logits
from lacuna.training.loop import fit
from lacuna.training.state import LoopState
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning.methods.scrub import Scrub
from unit.unlearning.methods.classic import QUICK, batch_of, close, gradients, trained, whole


@dataclass(frozen=True, kw_only=True)
class Followed(Scrub):
    """SCRUB that writes down what every step read, the lr, and the state after each epoch."""

    def begin(self, model, given, work):
        work.memory["steps"], work.memory["states"] = [], []
        given = super().begin(model, given, work)
        self.seen.update(work.memory)
        return given

    def after_step(self, model, batches, work):
        self.seen["steps"].append((work.epoch, *batches, work.lr, work.step))

    def after_epoch(self, model, given, work):
        super().after_epoch(model, given, work)
        self.seen["states"].append(state(model))


def followed(**options):
    method = Followed(**options)
    object.__setattr__(method, "seen", {})
    return method


@pytest.mark.parametrize(("retain", "forget"), [(40, 12), (12, 40), (24, 24), (40, 3)])
def test_scrub_interleaves_max_and_min_steps(retain, forget, original):
    method = followed(epochs=4, msteps=2, batch_size=4, lr=1e-3)
    run = fit(copy.deepcopy(original), method, data(retain=retain, forget=forget), seed=0)
    maxima, minima = -(-forget // 4), -(-retain // 4)
    assert run.steps == 2 * maxima + 4 * minima
    for epoch in range(4):
        order = [read for e, read, *_ in method.seen["steps"] if e == epoch]
        if epoch >= 2:
            assert order == ["retain"] * minima
            continue
        assert order.count("forget") == maxima
        assert order.count("retain") == minima
        assert order[-1] == "retain"
        for end in range(1, len(order) + 1):
            # at any moment the max steps are ahead of their even share by less than one step of either kind
            done, kept = order[:end].count("forget"), order[:end].count("retain")
            assert -1 < done - kept * maxima / minima < 1 + maxima / minima
        if maxima <= minima:
            assert "forget forget" not in " ".join(order)


def test_scrub_can_take_whole_passes_in_turn(original):
    method = followed(epochs=2, msteps=1, batch_size=4, lr=1e-3, order="passes")
    fit(copy.deepcopy(original), method, data(), seed=0)
    assert [read for e, read, *_ in method.seen["steps"]] == ["forget"] * 3 + ["retain"] * 10 + ["retain"] * 10


def test_schedule_follows_the_epochs_though_they_differ_in_length(original):
    """Epochs with and without max steps: the cosine reaches each epoch's value when the epoch starts."""
    method = followed(epochs=4, msteps=2, batch_size=4, lr=1e-3, schedule="cosine", warmup_epochs=1)
    run = fit(copy.deepcopy(original), method, data(), seed=0)
    steps = method.seen["steps"]
    assert [s[-1] for s in steps] == list(range(run.steps))
    for epoch in range(1, 4):
        first = next(lr for e, _, lr, _ in steps if e == epoch)
        assert first == pytest.approx(1e-3 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * epoch / 4)).item()), rel=1e-6)
    assert [r["lr"] for r in run.history] == [[lr for e, _, lr, _ in steps if e == epoch][-1] for epoch in range(4)]


def kl_from(teacher, model, x, t):
    p, q = log_softmax(teacher(x) / t, 1), log_softmax(model(x) / t, 1)
    return t * t * (p.exp() * (p - q)).sum(1).mean()


def test_scrub_steps_away_on_forgotten_and_towards_on_retained_data():
    """One step of each kind is one step of gradient ascent, or descent, on the stated objective."""
    teacher = trained(dtype=torch.float64).double().eval()
    student, given = copy.deepcopy(teacher), data()
    with torch.no_grad():  # where student and teacher agree the divergence has no gradient
        for p in student.parameters():
            p.mul_(0.8)
    method = build(UNLEARNERS["scrub"], {"temperature": 3.0, "ce_weight": 0.7, "kl_weight": 0.2})
    work = LoopState(0, torch.device("cpu"), 3, memory={"teacher": teacher})
    xf, yf = whole(given, "forget")
    xr, yr = whole(given, "retain")
    found = gradients(student, method.loss(student, batch_of(xf, yf), None, work))
    close(found, gradients(student, -kl_from(teacher, student, xf, 3.0)))
    found = gradients(student, method.loss(student, None, batch_of(xr, yr), work))
    stated = 0.7 * cross_entropy(student(xr), yr) + 0.2 * kl_from(teacher, student, xr, 3.0)
    close(found, gradients(student, stated))


def test_scrub_teacher_is_the_original_in_evaluation_mode(original):
    method = followed(epochs=2, batch_size=8, lr=0.05)
    fit(copy.deepcopy(original).train(), method, data(), seed=0)
    teacher = method.seen["teacher"]
    assert same(state(teacher), state(original))
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())


def errors(state_dict, given, index):
    model = network()
    model.load_state_dict(state_dict)
    given = dataclasses.replace(given, parts={"retain": index})
    return int((logits(model, given, "retain").argmax(1) != given.labels[index]).sum())


def by_class(given, forget_class):
    """The same images with one class to forget; half of what remains is retained, the rest is validation."""
    everything = torch.cat(list(given.parts.values()))
    of_class = given.labels[everything] == forget_class
    members, others = everything[of_class], everything[~of_class]
    parts = {"retain": others[: len(others) // 2], "forget": members[:-6]}
    return dataclasses.replace(given, parts=parts | {"val": torch.cat([members[-6:], others[len(others) // 2 :]])})


@pytest.mark.parametrize("scenario", ["class", "random"])
def test_rewind_ends_with_the_epoch_closest_to_the_reference_error(scenario, original):
    given = data(retain=30, forget=40)
    given = by_class(given, 1) if scenario == "class" else given
    val = given.parts["val"]
    if scenario == "class":
        alike = val[given.labels[val] == 1]
        assert 0 < len(alike) < len(val)
    else:
        alike = val
    rewound = []
    for lr in (0.003, 0.01, 0.03):
        options = {"epochs": 8, "msteps": 4, "lr": lr, "batch_size": 8}
        method = followed(rewind=True, **options)
        model = copy.deepcopy(original)
        run = fit(model, method, given, seed=0)
        forget = given.parts["forget"]
        aim = Fraction(errors(method.seen["states"][-1], given, alike), len(alike))
        distance = [abs(Fraction(errors(s, given, forget), len(forget)) - aim) for s in method.seen["states"]]
        chosen = int(run.facts["epoch"]) - 1
        assert distance[chosen] == min(distance)
        assert run.facts["aim"] == float(aim)
        assert same(state(model), method.seen["states"][chosen])
        rewound.append(chosen)
        # without rewind the run is the same and ends with its last epoch
        plain = copy.deepcopy(original)
        fit(plain, Scrub(**options), given, seed=0)
        assert same(state(plain), method.seen["states"][-1])
    assert any(chosen < 7 for chosen in rewound), "no run was rewound: the test shows nothing"


def test_rewind_uses_only_validation_samples_of_forgotten_classes(original):
    """In the class scenario other validation labels may be anything."""
    given = by_class(data(retain=30, forget=40), 1)
    val = given.parts["val"]
    labels = given.labels.clone()
    labels[val[given.labels[val] != 1]] = 2 - labels[val[given.labels[val] != 1]]
    options = {"epochs": 4, "msteps": 2, "lr": 0.01, "batch_size": 8, "rewind": True}
    one, other = (unlearn("scrub", original, d, **options) for d in (given, dataclasses.replace(given, labels=labels)))
    assert one.fit.facts == other.fit.facts
    assert same(state(one.model), state(other.model))


def test_rewind_without_validation_samples_is_refused(original):
    given = data()
    parts = {k: v for k, v in given.parts.items() if k != "val"}
    with pytest.raises(LacunaError, match=r"^scrub\.rewind: true"):
        unlearn("scrub", original, dataclasses.replace(given, parts=parts), rewind=True, **QUICK)
    unlearn("scrub", original, dataclasses.replace(given, parts=parts), **QUICK)
