"""What makes each unlearner right, and what holds for all of them."""

import dataclasses
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tiny import data, half, network, same, state
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import prune

import lacuna
from lacuna.commands.docstrings import parts_of
from lacuna.data.batches import Augment, Batch, UnlearningData
from lacuna.errors import LacunaError
from lacuna.fields import build
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.pruning.omp import MagnitudePruning
from lacuna.sparsity.mask import Mask
from lacuna.training.checkpoints import Checkpoint
from lacuna.training.loop import fit
from lacuna.training.objective import Objective
from lacuna.training.recipe import Recipe
from lacuna.training.starting_point import StartingPoint
from lacuna.unlearning import UNLEARNERS, base, unlearn
from lacuna.unlearning.methods import retrain, retrain_exact
from lacuna.unlearning.methods.l1_sparse import L1Sparse
from lacuna.unlearning.methods.rl import RandomLabels

METHODS = list(UNLEARNERS)
STREAMS = {name: getattr(method, "streams", ()) for name, method in UNLEARNERS.items()}
WITH_LOOP = [name for name, streams in STREAMS.items() if streams]


def as_inherited(method, *hooks):
    """Whether a method leaves these hooks of the loop as they are."""
    return all(getattr(UNLEARNERS[method], hook) is getattr(Objective, hook) for hook in hooks)


SOURCE = data(augment=Augment(1))
# fields that every method with a loop has, set for speed
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.05, "rewind_epoch": 1}


def options(method, **more):
    known = {f.name for f in dataclasses.fields(UNLEARNERS[method])}
    return {k: v for k, v in QUICK.items() if k in known} | more


@pytest.fixture(scope="module")
def trained():
    """A model trained on everything; copy it, do not change it."""
    model = network()
    everything = {"retain": SOURCE.index("mixed")}
    source = UnlearningData(SOURCE.images, SOURCE.labels, everything, 3, SOURCE.mean, SOURCE.std, SOURCE.augment)
    fit(model, Recipe(epochs=4, lr=0.1, batch_size=16, schedule="constant", crop=1, flip=False), source, seed=0)
    model.zero_grad(set_to_none=True)
    return model


def own(outcome):
    return state(outcome.model)


# ---- every method ----------------------------------------------------------------------------------------------------


def run(method, model, source=SOURCE, sparse=True, seed=0, **more):
    """The method on a sparse or dense model, however it takes its mask."""
    if sparse and method == "retrain_exact":
        more |= {"pruner": MagnitudePruning(), "sparsity": "0.5"}
    elif sparse:
        more |= {"mask": half(model)}
    return unlearn(method, model, source, seed=seed, **options(method, **more))


@pytest.mark.parametrize("method", METHODS)
def test_masked_weights_stay_exactly_zero(trained, method):
    outcome = run(method, trained)
    assert outcome.mask.sparsity == pytest.approx(0.5, abs=0.01)
    weights = own(outcome)
    for name in outcome.mask:
        assert not weights[name][~outcome.mask[name]].any()
        assert weights[name][outcome.mask[name]].any()
    assert not outcome.model.training


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_given_model_is_not_touched(trained, method, sparse):
    before, modes = state(trained), [m.training for m in trained.modules()]
    outcome = run(method, trained, sparse=sparse)
    assert same(state(trained), before)
    assert [m.training for m in trained.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in trained.parameters())
    ours = {p.data_ptr() for p in trained.parameters()} | {b.data_ptr() for b in trained.buffers()}
    theirs = {p.data_ptr() for p in outcome.model.parameters()} | {b.data_ptr() for b in outcome.model.buffers()}
    assert not ours & theirs


@pytest.mark.parametrize("method", METHODS)
def test_result_is_a_function_of_the_seed(trained, method):
    torch.manual_seed(1)
    one = own(run(method, trained))
    torch.manual_seed(2)
    assert same(own(run(method, trained)), one)
    if method in WITH_LOOP:
        assert not same(own(run(method, trained, seed=1)), one)


@pytest.mark.parametrize("method", WITH_LOOP)
def test_what_it_cost_is_told(trained, method):
    outcome = run(method, trained, sparse=False)
    if as_inherited(method, "begin", "plan"):
        assert outcome.fit.steps == 2 * max(SOURCE.steps(stream, 16) for stream in STREAMS[method])
    assert outcome.fit.samples >= outcome.fit.steps > 0
    assert outcome.fit.seconds > 0
    assert [row["epoch"] for row in outcome.fit.history] == [1, 2]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_logs_what_it_did(trained, method):
    """One line at the end; the facts of a run say how far the weights are from the original's, but for an oracle."""
    said = []
    outcome = run(method, trained, log=said.append, name="a cell")
    line, facts = said[-1], outcome.fit.facts
    assert line.startswith("a cell: ")
    if method in WITH_LOOP:
        rows = outcome.fit.history
        assert f"{outcome.fit.steps} steps, loss {rows[0]['loss']:.4f} → {rows[-1]['loss']:.4f}" in line
    if UNLEARNERS[method].oracle:
        assert not {"changed", "unchanged", "relative_change"} & set(facts) and "‖Δθ‖" not in line
        return
    mask = half(trained)
    before = {n: p.detach() * mask[n] if n in mask else p.detach() for n, p in trained.named_parameters()}
    after = {n: p.detach() for n, p in outcome.model.named_parameters()}
    origin, end = (torch.cat([p.flatten() for p in of.values()]).double() for of in (before, after))
    assert facts["changed"] == int((origin != end).sum())
    assert facts["relative_change"] == pytest.approx(float((end - origin).norm() / origin.norm()), rel=1e-6)
    assert ("unchanged" in facts) == (method != "original")
    if facts["changed"]:
        share = (
            f"{facts['changed']:,.0f} of {len(origin):,} parameters changed, ‖Δθ‖/‖θ‖ {facts['relative_change']:.3g}"
        )
        assert share in line and facts["unchanged"] == 0.0
    else:
        assert "the model is the original bit for bit" in line and facts.get("unchanged", 1.0) == 1.0


def test_a_model_of_which_only_batch_norm_statistics_moved_is_not_unchanged(trained):
    @dataclass(frozen=True, kw_only=True)
    class Drifting(base.EditUnlearner):
        name: ClassVar[str] = "drifting"

        def edit(self, model, data, run):
            model.bn1.running_mean += 1
            return {"by_how_much": 1.0}

    said = []
    facts = base.run(Drifting, trained, SOURCE, log=said.append).fit.facts
    assert facts == {"by_how_much": 1.0, "changed": 0.0, "relative_change": 0.0, "unchanged": 0.0}
    assert said == [
        f"drifting: by how much 1; 0 of {sum(p.numel() for p in trained.parameters())} parameters changed, "
        "‖Δθ‖/‖θ‖ 0, batch norm statistics changed"
    ]


# a method that does more than its steps says so after a semicolon
PER_STEP = {
    method: tuple(map(int, found.groups()))
    for method in METHODS
    if (
        found := re.match(
            r"(\d) forward[^;]*?, (\d) backward a step[^;]*$", parts_of(UNLEARNERS[method])["notes"]["Cost"]
        )
    )
}


@pytest.mark.parametrize("method", PER_STEP)
def test_passes_are_as_many_as_the_docs_say(trained, method):
    done = run(method, trained, sparse=False).fit
    assert (done.forwards, done.backwards) == tuple(n * done.steps for n in PER_STEP[method])


def test_passes_of_the_published_gradient_surgery():
    """One joint forward pass; EUPMU has no second backward pass."""
    expected = {"ft": (1, 1), "pcgrad": (1, 2), "mgda": (1, 2), "ungrad": (1, 2), "eupmu": (2, 1), "eupmu_fast": (1, 1)}
    assert expected.items() <= PER_STEP.items()


def test_an_edit_tells_what_it_put_through_the_network(trained):
    @dataclass(frozen=True, kw_only=True)
    class Looking(base.EditUnlearner):
        name: ClassVar[str] = "looking"

        def edit(self, model, data, run):
            for x, y in data.plain_batches("forget", 5, torch.float32):
                cross_entropy(model(x), y).backward()

    done = base.run(Looking, trained, SOURCE).fit
    assert (done.steps, done.forwards, done.backwards, done.samples) == (0, 3, 3, len(SOURCE.parts["forget"]))


def test_streams_are_those_of_the_publications():
    published = {"ft": ("retain",), "l1_sparse": ("retain",), "ga": ("forget",), "original": ()}
    published |= {"rl": ("forget", "retain", "mixed"), "retrain": ("retain",), "retrain_exact": ("retain",)}
    assert published.items() <= STREAMS.items()


def altered(part, labels=False):
    """The same data with other images, or labels, in one part."""
    images, y = SOURCE.images.clone(), SOURCE.labels.clone()
    index = SOURCE.parts[part]
    if labels:
        y[index] = (y[index] + 1) % 3
    else:
        images[index] = 255 - images[index]
    return dataclasses.replace(SOURCE, images=images, labels=y)


# a method that reads data in `begin` too (a saliency, a teacher's labels) has a test of its own
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("method", [*(m for m in WITH_LOOP if as_inherited(m, "begin")), "original"])
def test_only_the_streams_have_influence(trained, method, sparse, labels):
    """An oracle that forgets, for one, must not change by a bit when the forget set does, its mask included."""
    seen = {part for part in ("forget", "retain") if {part, "mixed"} & set(STREAMS[method])}
    if labels and method == "rl":
        seen -= {"forget"}  # labels that may be the true ones are drawn without a look at them
    reference = run(method, trained, sparse=sparse)
    for part in ("forget", "retain", "val", "test"):
        outcome = run(method, trained, altered(part, labels), sparse=sparse)
        assert same(own(outcome), own(reference)) == (part not in seen), part
        assert part in seen or outcome.mask == reference.mask


@pytest.mark.parametrize("method", METHODS)
def test_unknown_hyper_parameter_is_refused_with_the_known_ones(trained, method):
    with pytest.raises(LacunaError) as caught:
        unlearn(method, trained, SOURCE, learning_rate=0.1)
    known = ", ".join(f.name for f in dataclasses.fields(UNLEARNERS[method])) or "no keys"
    assert str(caught.value) == f"{method}: unknown key 'learning_rate'; allowed: {known}"


def test_bad_value_and_unknown_method_are_refused(trained):
    with pytest.raises(LacunaError, match=r"^ga\.lr: -0.1 is not allowed; allowed: a number > 0$"):
        unlearn("ga", trained, SOURCE, lr=-0.1)
    said = rf"^unknown unlearner 'gaa' \(did you mean 'ga'\?\); allowed: {', '.join(METHODS)}$"
    with pytest.raises(LacunaError, match=said):
        unlearn("gaa", trained, SOURCE)


def test_data_without_forget_set_is_refused_where_one_is_needed(trained):
    source = dataclasses.replace(SOURCE, parts={"retain": SOURCE.parts["retain"]})
    for method in ("ga", "rl"):
        with pytest.raises(LacunaError, match="the data has no 'forget' samples; it has: retain"):
            run(method, trained, source)
    assert run("ft", trained, source).fit.steps == 6


def test_mask_of_another_model_is_refused(trained):
    with pytest.raises(LacunaError, match="does not fit the model"):
        unlearn("ft", trained, SOURCE, mask=Mask.full(network(widths=(5, 6))))


def test_public_names_are_the_real_ones(trained):
    assert lacuna.unlearn is unlearn
    assert lacuna.Mask is Mask
    assert lacuna.UnlearningData is UnlearningData
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lacuna.nothing


def test_edit_that_writes_behind_the_mask_fails(trained):
    @dataclass(frozen=True, kw_only=True)
    class Careless(base.EditUnlearner):
        name: ClassVar[str] = "careless"

        def edit(self, model, data, run):
            with torch.no_grad():
                model.conv2.weight.add_(0.1)

    with pytest.raises(LacunaError, match=r"^mask violated: 'conv2.weight'"):
        base.run(Careless, trained, SOURCE, mask=half(trained))


class Writing(base.EditUnlearner):
    name: ClassVar[str] = "writing"

    def edit(self, model, data, run):
        WRITES[type(self).what](data)


# how a method may write into what it was given: a view counts as the tensor that it shows
WRITES = {
    "images": lambda data: data.images[2:4].fill_(0),
    "labels": lambda data: data.labels.clamp_(max=0),
    "parts['forget']": lambda data: data.index("forget").fill_(0),
}


@pytest.mark.parametrize("what", WRITES)
def test_method_that_writes_into_its_data_is_named(trained, what):
    """All that follows would read other data: its own predictions, and in a notebook every later method."""
    method = dataclass(frozen=True, kw_only=True)(type("Writing", (Writing,), {"what": what}))
    source = dataclasses.replace(
        SOURCE,
        images=SOURCE.images.clone(),
        labels=SOURCE.labels.clone(),
        parts={name: index.clone() for name, index in SOURCE.parts.items()},
    )
    with pytest.raises(LacunaError, match=rf"^writing: it wrote into data\.{re.escape(what)}, .* a copy \(data\."):
        base.run(method, trained, source)


def test_loss_or_criterion_that_writes_into_the_images_is_named(trained):
    source = dataclasses.replace(SOURCE, images=SOURCE.images.clone())

    @dataclass(frozen=True, kw_only=True)
    class Dark(Recipe):
        def begin(self, model, data, work):
            data.images.mul_(0)
            return data

    def dark(model, data):
        data.images.mul_(0)
        return magnitude(model)

    @dataclass(frozen=True, kw_only=True)
    class DarkPruner(MagnitudePruning):
        criterion = staticmethod(dark)

    start = state(trained)
    with pytest.raises(LacunaError, match=r"^training: it wrote into data\.images, "):
        fit(network(), Dark(epochs=1, batch_size=16, schedule="constant"), source, seed=0)
    with pytest.raises(LacunaError, match=r"^mine: it wrote into data\.images, "):
        DarkPruner().prune_once(
            network(), StartingPoint(start, start, start), "0.5", Recipe(epochs=1), source, seed=0, name="mine"
        )


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"norm": "large"}, "its fact 'norm' is 'large'; allowed: a text for the name, a finite int or float"),
        ({"norm": float("nan")}, "its fact 'norm' is nan; allowed: "),
        ({"norm": float("-inf")}, "its fact 'norm' is -inf; allowed: "),
        ({"norm": None}, "its fact 'norm' is None; allowed: "),
        ({"norm": torch.ones(())}, "its fact 'norm' is tensor(1.); allowed: "),
        ({"norm": np.float32(1)}, "its fact 'norm' is "),
        ({3: 1.0}, "its fact 3 is 1.0; allowed: a text for the name"),
        ("large", "`edit` returns a str; allowed: {name: number}, or None"),
    ],
)
def test_fact_that_no_record_can_hold_is_named(trained, facts, sentence):
    @dataclass(frozen=True, kw_only=True)
    class Telling(base.EditUnlearner):
        name: ClassVar[str] = "telling"

        def edit(self, model, data, run):
            return facts

    with pytest.raises(LacunaError, match=f"^telling: {re.escape(sentence)}"):
        base.run(Telling, trained, SOURCE)


# ---- one by one ------------------------------------------------------------------------------------------------------


def test_original_is_identical(trained):
    assert same(own(run("original", trained, sparse=False)), state(trained))
    masked = own(run("original", trained))
    mask = half(trained)
    assert all(
        torch.equal(v, state(trained)[k] * mask[k] if k in mask else state(trained)[k]) for k, v in masked.items()
    )


def test_ga_raises_the_loss_on_the_forget_set_and_ft_lowers_it_on_the_retain_set(trained):
    def loss(model, part):
        with torch.no_grad():
            x, y = next(SOURCE.plain_batches(part, 1000, torch.float32))
            return cross_entropy(model.eval()(x), y).item()

    copy = network()
    copy.load_state_dict(state(trained))
    assert loss(run("ga", trained, sparse=False, epochs=10).model, "forget") > loss(copy, "forget") + 0.1
    assert loss(run("ft", trained, sparse=False).model, "retain") < loss(copy, "retain")


@pytest.mark.parametrize("method", ["ga", "l1_sparse_ga"])
def test_ga_lets_batch_norm_statistics_drift_unless_frozen(trained, method):
    """As the published code, which ascends in training mode."""
    statistics = {k for k in state(trained) if "running" in k or "num_batches" in k}
    updated = own(run(method, trained, sparse=False))
    assert all(not torch.equal(updated[k], state(trained)[k]) for k in statistics)
    frozen = own(run(method, trained, sparse=False, batchnorm="frozen"))
    assert all(torch.equal(frozen[k], state(trained)[k]) for k in statistics)
    assert not torch.equal(frozen["bn1.weight"], state(trained)["bn1.weight"]), "its parameters are trained"


@pytest.mark.parametrize("method", [m for m in WITH_LOOP if not UNLEARNERS[m].oracle])
def test_batch_norm_trains_by_default(method):
    """No published code freezes the statistics."""
    assert build(UNLEARNERS[method], {}, method).batchnorm == "train"


def test_frozen_batch_norm_normalises_by_the_stored_statistics(trained):
    """One ascent step by hand, in evaluation mode."""
    model = network()
    model.load_state_dict(state(trained))
    source = dataclasses.replace(SOURCE, augment=Augment())
    x, y = next(source.plain_batches("forget", 100, torch.float32))
    (-cross_entropy(model.eval()(x), y)).backward()
    with torch.no_grad():
        expected = {k: p - 0.01 * (p.grad + 0.1 * p) for k, p in model.named_parameters()}
    options = {"lr": 0.01, "epochs": 1, "batch_size": 100, "weight_decay": 0.1, "batchnorm": "frozen"}
    found = unlearn("ga", trained, source, **options).model
    for name, parameter in found.named_parameters():
        torch.testing.assert_close(parameter, expected[name], rtol=1e-4, atol=1e-6)


def batch(n, classes, forgotten, seed=0):
    y = torch.arange(n) % classes
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.zeros(n, 1, 2, 2), y, torch.arange(n), torch.full((n,), forgotten), classes, generator)


def test_random_labels_are_uniform_on_the_wrong_ones_if_wanted():
    given = batch(50_000, 5, True)
    drawn = RandomLabels(exclude_true=True).draw(given)
    assert (drawn.min(), drawn.max()) == (0, 4)
    for label in range(5):
        counts = np.bincount(drawn[given.y == label], minlength=5)
        assert counts[label] == 0
        assert chisquare(np.delete(counts, label)).pvalue > 1e-3


def test_random_labels_are_uniform_and_may_be_true():
    given = batch(50_000, 5, True)
    drawn = RandomLabels().draw(given)
    for label in range(5):
        assert chisquare(np.bincount(drawn[given.y == label], minlength=5)).pvalue > 1e-3


@pytest.mark.parametrize("forgotten", [True, False])
def test_random_labels_replace_those_of_forgotten_samples_only(forgotten):
    logits = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    labels = RandomLabels().draw(batch(60, 3, forgotten)) if forgotten else torch.arange(60) % 3
    given = batch(60, 3, forgotten)
    for offered in ({"mixed": given}, {"forget" if forgotten else "retain": given}):
        given.generator.manual_seed(0)
        loss = RandomLabels().loss(lambda x: logits, **dict.fromkeys(("forget", "retain", "mixed")) | offered)
        torch.testing.assert_close(loss, cross_entropy(logits, labels))


class Seen:
    """The batches of a run of random labels, as (forgotten, index, label drawn), all tensors of one step."""

    def __init__(self, monkeypatch):
        self.steps = []
        draw = RandomLabels.draw

        def record(method, given):
            labels = draw(method, given)
            self.steps.append((given.forgotten, given.index, labels))
            return labels

        monkeypatch.setattr(RandomLabels, "draw", record)

    def epochs(self, n):
        """The steps of each of n epochs."""
        per = len(self.steps) // n
        assert len(self.steps) == n * per
        return [self.steps[k * per : (k + 1) * per] for k in range(n)]

    def labels(self, steps):
        """The label of each forgotten sample in these steps, each sample once."""
        pairs = [(int(i), int(v)) for f, index, drawn in steps for i, v in zip(index[f], drawn[f], strict=True)]
        assert len(dict(pairs)) == len(pairs), "a sample occurs twice"
        return dict(pairs)


@pytest.mark.parametrize("order", ["passes", "mixed"])
@pytest.mark.parametrize("method", ["rl", "salun", "salun_soft"])
def test_random_labels_are_drawn_anew_each_epoch(trained, monkeypatch, method, order):
    """An epoch has each sample of both sets once; labels of forgotten ones differ between epochs."""
    seen = Seen(monkeypatch)
    done = run(method, trained, epochs=3, order=order, exclude_true=True).fit
    assert done.steps == len(seen.steps)
    epochs = [seen.labels(steps) for steps in seen.epochs(3)]
    assert [sorted(e) for e in epochs] == [sorted(SOURCE.parts["forget"].tolist())] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert all(e[i] != SOURCE.labels[i] for e in epochs for i in e)
    for steps in seen.epochs(3):
        assert torch.cat([i for _, i, _ in steps]).sort().values.tolist() == sorted(SOURCE.index("mixed").tolist())
        kept = torch.cat([i[~f] for f, i, _ in steps])
        assert kept.sort().values.tolist() == sorted(SOURCE.parts["retain"].tolist())


@pytest.mark.parametrize("method", ["rl", "salun"])
def test_random_labels_pass_over_one_set_and_then_over_the_other(trained, monkeypatch, method):
    """As published for CIFAR-10: no batch holds both, D_f goes first, and the steps are those of both passes."""
    seen = Seen(monkeypatch)
    done = run(method, trained, epochs=2).fit
    passes = [SOURCE.steps(stream, 16) for stream in ("forget", "retain")]
    assert done.steps == 2 * sum(passes)
    for steps in seen.epochs(2):
        assert [bool(f.all()) for f, _, _ in steps] == [True] * passes[0] + [False] * passes[1]
        assert not any(f.any() for f, _, _ in steps[passes[0] :])


def test_soft_saliency_unlearning_mixes_both_sets_by_default(trained, monkeypatch):
    """As its published code does; `rl` does so where asked."""
    for method, options in (("salun_soft", {}), ("rl", {"order": "mixed"}), ("salun", {"order": "mixed"})):
        seen = Seen(monkeypatch)
        assert run(method, trained, epochs=1, **options).fit.steps == SOURCE.steps("mixed", 16)
        assert any(f.any() and not f.all() for f, _, _ in seen.steps)
        monkeypatch.undo()


def test_penalty_schedules_have_their_closed_forms():
    epochs, without, gamma = 10, 3, 2e-3
    terms = epochs - without
    closed = {
        "constant": lambda e: gamma,
        "linear_decay": lambda e: gamma * (1 - e / terms),
        "linear_increase": lambda e: gamma * e / terms,
    }
    for schedule, at in closed.items():
        method = L1Sparse(epochs=epochs, penalty=gamma, penalty_schedule=schedule, no_l1_epochs=without)
        found = [method.penalty_at(e) for e in range(epochs)]
        assert found == pytest.approx([at(e) for e in range(terms)] + [0.0] * without, rel=1e-12)


def test_penalty_of_no_epoch_is_none():
    assert [L1Sparse(epochs=2, no_l1_epochs=5).penalty_at(e) for e in range(2)] == [0, 0]


@pytest.mark.parametrize("on", ["all", "weights"])
def test_gradient_of_the_penalty_is_gamma_times_the_sign(trained, on):
    gamma = 0.03
    model = network().double()
    model.load_state_dict(state(trained))
    with torch.no_grad():
        model.conv1.weight[0] = 0.0  # as if masked
    source = dataclasses.replace(SOURCE, augment=Augment())
    given = next(source.train_batches("retain", 16, 0, 0, torch.float64))
    gradients = []
    for penalty in (0.0, gamma):
        model.zero_grad()
        L1Sparse(penalty=penalty, l1_on=on).loss(model.eval(), given, epoch=0).backward()
        gradients.append({k: p.grad.clone() for k, p in model.named_parameters()})
    for name, parameter in model.named_parameters():
        penalised = on == "all" or parameter.dim() > 1
        expected = gamma * parameter.sign() * penalised
        torch.testing.assert_close(gradients[1][name] - gradients[0][name], expected, rtol=0, atol=1e-12)


def test_penalty_shrinks_the_weights(trained):
    def size(model):
        return sum(p.abs().sum().item() for p in model.parameters())

    sizes = [size(run("l1_sparse", trained, penalty=penalty).model) for penalty in (0.0, 0.01, 0.05)]
    assert sizes[0] > sizes[1] > sizes[2]


# ---- oracles ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("method", ["retrain", "retrain_exact"])
def test_oracles_ignore_what_the_given_model_has_learned(trained, method, sparse):
    mask = {"mask": half(trained)} if sparse and method == "retrain" else {}
    exact = {"pruner": MagnitudePruning(), "sparsity": "0.5"} if sparse and method == "retrain_exact" else {}
    strange = network(seed=9)
    with torch.no_grad():
        for buffer in strange.buffers():
            buffer.add_(3)
    one, other = (unlearn(method, m, SOURCE, seed=0, **options(method), **mask, **exact) for m in (trained, strange))
    assert same(own(one), own(other))


def test_oracle_starts_from_another_initialisation_than_its_seed_of_order(trained):
    """Two oracle seeds are two initialisations: the noise floor is not only the order of the batches."""
    nothing = {"epochs": 1, "batch_size": 1000, "lr": 1e-12, "weight_decay": 0.0, "warmup_epochs": 0}
    starts = [own(unlearn("retrain", trained, SOURCE, seed=seed, **nothing)) for seed in (0, 1)]
    assert not torch.allclose(starts[0]["conv1.weight"], starts[1]["conv1.weight"], atol=0.01)


@pytest.fixture
def entered(monkeypatch):
    """The state and the options with which each run of the loop began."""
    seen = []
    loop = base.fit

    def spy(model, *given, **named):
        seen.append((state(model), named))
        return loop(model, *given, **named)

    monkeypatch.setattr(base, "fit", spy)
    return seen


def masked(weights, mask):
    return {k: v * mask[k] if k in mask else v for k, v in weights.items()}


def origin_of(epochs=1):
    """States of a training: its start, after `epochs`, and its end."""
    model = network(seed=4)
    initial = state(model)
    done = fit(model, Recipe(epochs=2, batch_size=16, crop=1, flip=False), SOURCE, seed=7, snapshot_epoch=epochs)
    return StartingPoint(state(model), done.snapshot, initial)


def test_sparse_retraining_starts_from_the_original_s_own_initialisation(trained, entered):
    """m⊙θ_0, m⊙θ_k or m⊙ a new draw, bit for bit, batch norm included; seeds share a start and differ in the order."""
    origin, mask = origin_of(), half(trained)
    more = {"mask": mask, "origin": origin, **options("retrain")}
    ends = [own(unlearn("retrain", trained, SOURCE, seed=seed, **more)) for seed in (0, 1)]
    assert all(same(start, masked(origin.initial, mask)) for start, _ in entered)
    assert not same(*ends), "a twin has another order"
    assert same(own(unlearn("retrain", trained, SOURCE, start="theta0", **more)), ends[0]), "it is the default"
    entered.clear()
    rewound = unlearn("retrain", trained, SOURCE, start="rewind", **more)
    (start, named), *_ = entered
    assert same(start, masked(origin.rewind, mask))
    assert named["start_epoch"] == 1
    assert [row["epoch"] for row in rewound.fit.history] == [2], "the epochs of θ_k are not trained twice"
    entered.clear()
    for seed in (0, 1):
        unlearn("retrain", trained, SOURCE, seed=seed, start="fresh", **more)
    fresh = [start["conv1.weight"] for start, _ in entered]
    assert len({tuple(w.flatten().tolist()) for w in (*fresh, masked(origin.initial, mask)["conv1.weight"])}) == 3
    assert all(not w[~mask["conv1.weight"]].any() for w in fresh)


def test_retraining_without_an_origin_is_fresh_unless_a_start_is_asked_for(trained, entered):
    unlearn("retrain", trained, SOURCE, **options("retrain"))
    unlearn("retrain", trained, SOURCE, start="fresh", **options("retrain"))
    assert same(entered[0][0], entered[1][0])
    for start, needed in (("theta0", "initial"), ("rewind", "rewind")):
        said = (
            rf"^retrain.start: {start} starts from a state of the original's training, and none is given; "
            rf"allowed with: origin=StartingPoint\({needed}=...\); or start='fresh'$"
        )
        other = {"initial": "rewind", "rewind": "initial"}[needed]
        for mask in (None, half(trained)):
            for origin in (None, StartingPoint(**{other: state(trained)})):
                with pytest.raises(LacunaError, match=said):
                    unlearn("retrain", trained, SOURCE, start=start, mask=mask, origin=origin, **options("retrain"))


def test_retraining_refuses_a_start_of_another_network_or_beyond_the_schedule(trained):
    for wrong in (network(widths=(3, 6)), nn.Linear(2, 2)):
        with pytest.raises(LacunaError, match=r"^retrain.origin: initial is a state of another architecture; allowed:"):
            unlearn("retrain", trained, SOURCE, origin=StartingPoint(initial=state(wrong)), **options("retrain"))
    with pytest.raises(
        LacunaError,
        match=r"^origin: a OrderedDict is not allowed; allowed: lacuna.training.starting_point.StartingPoint",
    ):
        unlearn("retrain", trained, SOURCE, origin=trained.state_dict(), **options("retrain"))
    late = options("retrain") | {"rewind_epoch": 2}
    with pytest.raises(LacunaError, match=r"^retrain.rewind_epoch: 2 is not allowed; allowed: 0 to 1$"):
        unlearn("retrain", trained, SOURCE, start="rewind", origin=origin_of(), **late)


@pytest.mark.parametrize("start", ["theta0", "rewind"])
def test_interrupted_retraining_ends_with_the_same_bits(trained, tmp_path, monkeypatch, start):
    more = {"mask": half(trained), "origin": origin_of(), "start": start, **options("retrain", epochs=3)}
    whole = own(unlearn("retrain", trained, SOURCE, **more))
    left, step = [4], retrain.Retrain.loss

    def cut(self, model, retain):
        left[0] -= 1
        if left[0] < 0:
            raise KeyError("power cut")
        return step(self, model, retain)

    monkeypatch.setattr(retrain.Retrain, "loss", cut)
    checkpoint = Checkpoint(tmp_path / "c", every=0)
    with pytest.raises(KeyError):
        unlearn("retrain", trained, SOURCE, checkpoint=checkpoint, **more)
    steps = SOURCE.steps("retain", 16) * (3 if start == "theta0" else 2)
    left[0] = steps - 4
    assert same(own(unlearn("retrain", trained, SOURCE, checkpoint=checkpoint, **more)), whole)
    assert left[0] == 0, "it continued, it did not start over"


def test_exact_oracle_finds_its_own_mask(trained):
    outcome = run("retrain_exact", trained)
    assert outcome.mask.sparsity == pytest.approx(0.5, abs=0.01)
    assert outcome.mask != half(trained)
    # dense on D_r, magnitude of its last weights, rewound and trained again
    dense = unlearn("retrain_exact", trained, SOURCE, seed=0, **options("retrain_exact"))
    assert dense.mask == Mask.full(trained)
    assert outcome.mask == Mask.from_scores(magnitude(dense.model), "0.5")
    assert [row["epoch"] for row in outcome.fit.history] == [2], "the rewind epoch is not trained twice"


def test_exact_oracle_costs_its_dense_training_too(trained, monkeypatch):
    dense_fit = retrain_exact.fit

    def slow(*given, **named):
        done = dense_fit(*given, **named)
        done.seconds, done.forwards = 100.0, 1000
        return done

    monkeypatch.setattr(retrain_exact, "fit", slow)
    done = run("retrain_exact", trained).fit
    assert done.seconds > 100
    assert done.forwards > 1000


def test_exact_oracle_can_reuse_its_dense_model(trained):
    dense = unlearn("retrain_exact", trained, SOURCE, seed=0, **options("retrain_exact"))
    short = run("retrain_exact", network(seed=5), origin=dense.origin)
    whole = run("retrain_exact", trained)
    assert same(own(short), own(whole))
    assert short.mask == whole.mask


def test_exact_oracle_wants_pruner_and_sparsity_together_and_no_mask(trained):
    for wrong in ({"pruner": MagnitudePruning()}, {"sparsity": 0.5}):
        with pytest.raises(LacunaError, match=r"^retrain_exact: pruner and sparsity belong together"):
            unlearn("retrain_exact", trained, SOURCE, **wrong)
    with pytest.raises(LacunaError, match=r"^retrain_exact: a mask cannot be given"):
        unlearn("retrain_exact", trained, SOURCE, mask=half(trained))


def test_oracles_are_marked():
    oracles = {name for name, method in UNLEARNERS.items() if method.oracle}
    assert oracles >= {"retrain", "retrain_exact"}
    assert not oracles & {"original", "ft", "ga", "rl", "l1_sparse"}


def test_user_model_of_any_kind_can_be_unlearned():
    """From plain tensors, a model that is not lacuna's, defaults only."""
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 3))
    x, y = torch.randn(30, 1, 6, 6), torch.arange(30) % 3
    source = UnlearningData.from_tensors(retain=(x[:20], y[:20]), forget=(x[20:], y[20:]))
    for method in WITH_LOOP:
        outcome = unlearn(method, model, source, epochs=1)
        assert outcome.model(x).shape == (30, 3)


# ---- what a notebook may hand over -----------------------------------------------------------------------------------


def pruned(model):
    prune.l1_unstructured(next(m for m in model.modules() if isinstance(m, nn.Conv2d)), "weight", 0.5)
    return model


def seen_once(model):
    with torch.no_grad():
        model(SOURCE.example(torch.float32))
    return model


WIDTH = SOURCE.example(torch.float32).numel()


class Twice(nn.Linear):
    def forward(self, x):
        return (super().forward(x.flatten(1)),) * 2


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: {"model": lambda x: x}, "model: a function is not allowed; allowed: a torch.nn.Module"),
        (lambda: {"model": network().state_dict()}, "model: a OrderedDict is not allowed"),
        (lambda: {"model": nn.Flatten()}, "model: Flatten has no parameters"),
        (lambda: {"model": pruned(network())}, "is computed from other parameters (torch.nn.utils.prune, weight_norm)"),
        (lambda: {"model": seen_once(pruned(network()))}, "is computed from other parameters"),
        (lambda: {"model": nn.Sequential(nn.Conv2d(7, 3, 1), nn.Flatten())}, "model: it has no answer for images of"),
        (lambda: {"model": nn.Sequential(nn.Flatten(), nn.LazyLinear(3))}, "model: it has lazy parameters"),
        (lambda: {"model": torch.jit.script(network())}, "model: compiled by torch.jit"),
        (lambda: {"model": network().requires_grad_(False)}, "model: no parameter requires a gradient"),
        (
            lambda: {"model": nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, 2))},
            "data: label 2 is out of range; allowed: 0",
        ),
        (lambda: {"model": Twice(WIDTH, 3)}, "its answer to one image is a tuple"),
        (lambda: {"model": nn.Conv2d(SOURCE.images.shape[1], 3, 1)}, "its answer to one image is shape (1, 3,"),
        (lambda: {"data": (SOURCE.images, SOURCE.labels)}, "data: a tuple is not allowed; allowed: lacuna.Unlearning"),
        (lambda: {"mask": {}}, "mask: a dict is not allowed"),
        (lambda: {"mask": {"weight": torch.ones(1)}}, "mask: a dict is not allowed; allowed: lacuna.Mask({name: bool"),
    ],
)
def test_what_no_method_can_work_on_is_refused_in_a_sentence(change, said):
    given = {"model": network(), "data": SOURCE} | change()
    with pytest.raises(LacunaError) as caught:
        unlearn("ft", given.pop("model"), given.pop("data"), epochs=1, **given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_look_at_the_answer_changes_nothing():
    """Neither the random stream nor the modes of the network's parts."""
    model = network()
    model.train()
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    modes = [m.training for m in model.modules()]
    before, drawn = state(model), torch.get_rng_state()
    base.check_answer(model, SOURCE)
    assert same(state(model), before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert [m.training for m in model.modules()] == modes


def test_outcome_is_shown_in_one_line():
    shown = repr(unlearn("ft", network(), SOURCE, epochs=1, batch_size=16, mask=half(network())))
    assert re.fullmatch(
        r"Unlearned\(\w+ of \d+ parameters, a mask of sparsity 0\.5\d*; \d+ steps, \d+ samples, .* s\)", shown
    )
