"""A step that is recorded once and replayed does as the eager one; what no graph can hold stays eager, and says why.

There is no CUDA graph on a CPU: `Echo` stands for one. It reads its draws and its rate from the memory of its capture;
weights and momentum it takes from where they are, so that it tells nothing of memory that was exchanged.
"""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from lacuna.data.batches import Augment, UnlearningData
from lacuna.models.modes import arithmetic, arithmetic_told
from lacuna.pruning.criteria.magnitude import magnitude
from lacuna.sparsity.mask import Mask
from lacuna.training import captured, loop, steps
from lacuna.training.checkpoints import Checkpoint
from lacuna.training.counting import PassCounter
from lacuna.training.loop import fit
from lacuna.training.recipe import Recipe
from lacuna.training.sgd import Sgd
from lacuna.unlearning import unlearn

PASSES: list[PassCounter] = []


class Echo:
    """A graph in Python: a replay calls the recorded step on the memory of its capture, and counts nothing."""

    replays = 0

    def capture(self, body, generators):
        self.body, self.loss = body, body()
        return self.loss

    def replay(self):
        Echo.replays += 1
        with PASSES[-1].paused():
            self.loss.copy_(self.body())


class Known(PassCounter):
    def __init__(self, model):
        super().__init__(model)
        PASSES.append(self)


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """Steps are executed as on a GPU."""
    monkeypatch.setattr(captured, "CudaGraph", Echo)
    monkeypatch.setattr(loop, "PassCounter", Known)
    monkeypatch.setattr(steps.Steps, "_on_gpu", lambda self: True)
    Echo.replays = 0


class Network(nn.Module):
    def __init__(self, kind="plain"):
        super().__init__()
        self.kind, self.step = kind, 0
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu().mean((2, 3))
        if self.kind == "draws":
            x = x * (1 + 0.1 * np.random.rand())  # noqa: NPY002
        if self.kind == "counts":
            self.step += self.training
            x = x * (1 + 0.1 * (self.step % 3))
        if self.kind == "breaks" and len(PASSES) and torch.is_grad_enabled() and Network.recording:
            raise RuntimeError("operation not permitted when stream is capturing")
        return self.head(x)

    recording = False


def network(kind="plain"):
    torch.manual_seed(0)
    return Network(kind).double()


def data(n=70):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(0, 255, (n + 20, 3, 8, 8), dtype=np.uint8))
    parts = {"retain": torch.arange(n), "forget": torch.arange(n, n + 20)}
    return UnlearningData(x, torch.arange(n + 20) % 3, parts, 3, (0.5,) * 3, (0.3,) * 3, Augment(1, True))


OPTIONS = {"epochs": 6, "batch_size": 16, "lr": 0.05, "schedule": "cosine", "rewind_epoch": 0}


def both(kind="plain", **options):
    """The run by graphs and the eager run, with their models."""
    done = []
    for execution in ("captured", "eager"):
        model = network(kind)
        recipe = Recipe(execution=execution, **OPTIONS | options)
        done.append((fit(model, recipe, data(), seed=1), model))
    return done


def distance(a, b):
    return max(
        float((x.double() - y.double()).abs().max())
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_replays_take_the_steps_of_the_eager_run():
    (graph, a), (eager, b) = both()
    assert graph.execution == "captured" and not graph.why
    # 5 steps an epoch, of two sizes (14): two warm up, one is compared
    assert Echo.replays == 30 - 3 + 1
    assert distance(a, b) < 1e-12
    assert [row["loss"] for row in graph.history] == pytest.approx([row["loss"] for row in eager.history], rel=1e-12)
    counts = ("steps", "samples", "forwards", "backwards")
    assert [getattr(graph, c) for c in counts] == [getattr(eager, c) for c in counts]


def test_each_size_of_batch_has_a_graph_of_its_own():
    found = []
    for execution in ("captured", "eager"):
        model = network()
        run = fit(model, Recipe(execution=execution, **OPTIONS), data(73), seed=1)
        found.append(model)
        assert run.execution == execution
    # batches of 15, 15, 15, 14, 14: two of each size warm up, one of each is compared
    assert Echo.replays == 30 - 6 + 2
    assert distance(*found) < 1e-12


def test_masked_weights_stay_zero_in_a_graph():
    models = []
    for execution in ("captured", "eager"):
        model = network()
        mask = Mask.from_scores(magnitude(model), "0.50")
        run = fit(model, Recipe(execution=execution, **OPTIONS), data(), seed=1, mask=mask)
        assert run.execution == execution
        mask.check(model)
        models.append(model)
    assert distance(*models) < 1e-12


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("draws", "the network draws random numbers on the host"),
        ("counts", "the network keeps 'step' beside its parameters and buffers"),
        ("breaks", "RuntimeError: operation not permitted when stream is capturing"),
    ],
)
def test_networks_that_no_graph_can_hold_run_eager_to_the_same_weights(kind, reason, monkeypatch):
    record = Echo.capture

    def recorded(self, body, generators):
        Network.recording = True
        try:
            return record(self, body, generators)
        finally:
            Network.recording = False

    monkeypatch.setattr(Echo, "capture", recorded)
    lines = []
    models = []
    for execution in ("captured", "eager"):
        model = network(kind)
        run = fit(model, Recipe(execution=execution, **OPTIONS), data(), seed=1, log=lines.append)
        models.append(model)
        assert run.execution == "eager"
        assert run.why == (reason if execution == "captured" else "")
    assert distance(*models) == 0 and models[0].step == models[1].step
    assert [line for line in lines if "steps are" in line] == [f"training: steps are eager ({reason})"]


def test_a_graph_that_does_other_than_the_eager_step_is_not_used(monkeypatch):
    replay = Echo.replay

    def wrong(self):
        replay(self)
        wrong.model.head.weight.data += 0.1

    monkeypatch.setattr(Echo, "replay", wrong)
    wrong.model = network()
    run = fit(wrong.model, Recipe(execution="captured", **OPTIONS), data(), seed=1)
    model = network()
    fit(model, Recipe(execution="eager", **OPTIONS), data(), seed=1)
    assert run.execution == "eager" and run.why.startswith("a captured step differs from the eager one by ")
    assert distance(wrong.model, model) == 0


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ("ft", ""),
        ("salun", ""),
        ("l1_sparse", "the loss reads epoch, which a graph would keep as at its capture"),
        ("scrub", "the loss reads work, which a graph would keep as at its capture"),
        ("salun_soft", "the method has a hook after each step"),
        ("eupmu", "the method derives its loss itself"),
    ],
)
def test_methods_are_captured_or_say_why_not(method, why):
    done = [
        unlearn(method, network(), data(), execution=execution, epochs=3, batch_size=16, lr=0.01, seed=2)
        for execution in ("captured", "eager")
    ]
    assert (done[0].fit.execution, done[0].fit.why) == ("eager" if why else "captured", why)
    assert distance(done[0].model, done[1].model) < 1e-12


def test_short_runs_are_eager_unless_a_graph_is_asked_for():
    for execution, epochs, found in (("auto", 9, "eager"), ("auto", 10, "captured"), ("captured", 1, "captured")):
        run = fit(network(), Recipe(execution=execution, **OPTIONS | {"epochs": epochs}), data(), seed=0)
        assert run.execution == found, (execution, epochs)


def test_the_rate_of_a_graph_is_the_one_of_each_step():
    """A rate that stayed as at the capture would show in the weights: the schedule goes down to a hundredth."""
    (_, a), (_, b) = both(schedule="multistep", milestones=(3,), gamma=0.01)
    assert distance(a, b) < 1e-12


def test_on_a_cpu_every_step_is_eager(monkeypatch):
    monkeypatch.undo()
    (graph, a), (_, b) = both()
    assert (graph.execution, graph.why) == ("eager", "there is no CUDA graph on a CPU")
    assert distance(a, b) == 0
    run = fit(network(), Recipe(**OPTIONS), data(), seed=0)
    assert (run.execution, run.why) == ("eager", "")


@pytest.mark.parametrize("group", ["weights", "momentum"])
def test_a_graph_that_moves_one_of_them_wrongly_is_not_used_at_any_rate(group, monkeypatch):
    """At a small rate the weights move by next to nothing beside momentum and statistics."""
    replay = Echo.replay

    def wrong(self):
        parameters = list(wrong.model.parameters())
        before = [p.detach().clone() for p in parameters]
        replay(self)
        with torch.no_grad():
            for p, old in zip(parameters, before, strict=True):
                if group == "weights":
                    p.copy_(old)
                else:
                    wrong.optimizer.momentum[p].mul_(1.5)

    class Seen(Sgd):
        def __init__(self, *inputs):
            super().__init__(*inputs)
            wrong.optimizer = self

    monkeypatch.setattr(Echo, "replay", wrong)
    monkeypatch.setattr(loop, "Sgd", Seen)
    for lr in (0.05, 1e-3, 1e-5):
        wrong.model = network()
        run = fit(wrong.model, Recipe(execution="captured", **OPTIONS | {"lr": lr}), data(), seed=1)
        assert run.execution == "eager" and "differs" in run.why, lr


def test_graphs_are_made_anew_where_a_hook_gives_parameters_other_memory():
    class Moves(Recipe):
        def after_epoch(self, model, data, work):
            if work.epoch == 1:
                model.head.weight.data = model.head.weight.data.clone()

    made = []
    record = captured.CudaGraph.capture

    def counted(self, body, generators):
        made.append(self)
        return record(self, body, generators)

    captured.CudaGraph.capture = counted
    try:
        run = fit(network(), Moves(execution="captured", **OPTIONS), data(), seed=1)
    finally:
        captured.CudaGraph.capture = record
    assert run.execution == "captured" and len(made) == 2


def test_sizes_that_seldom_come_are_eager_and_the_run_says_so():
    run = fit(network(), Recipe(execution="captured", **OPTIONS | {"epochs": 1, "batch_size": 70}), data(), seed=1)
    assert (run.execution, run.why) == ("eager", "no size of batch came often enough")


def test_a_run_leaves_no_graph_behind(monkeypatch):
    kept = []
    made = steps.Captured
    monkeypatch.setattr(steps, "Captured", lambda *inputs: kept.append(made(*inputs)) or kept[-1])
    run = fit(network(), Recipe(execution="captured", **OPTIONS), data(), seed=1)
    assert run.execution == "captured" and not kept[0]._graphs


def test_a_copy_of_a_compiled_network_is_a_network_of_its_own(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    model = network().eval()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    with captured.Compiled(model) as forward:
        copied = copy.deepcopy(model)
        with torch.no_grad():
            model.head.bias += 5
        assert forward.refused is None
        assert torch.allclose(model(x), copied(x) + 5)
    assert "forward" not in vars(model)
    assert torch.allclose(model(x), copied(x) + 5)


def test_what_cannot_be_compiled_is_eager_and_says_why(monkeypatch):
    def broken(function):
        def call(*inputs):
            raise RuntimeError("no compiler\nat all")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    models = []
    for execution, why in (("compiled", "RuntimeError: no compiler"), ("eager", "")):
        models.append(network())
        run = fit(models[-1], Recipe(execution=execution, **OPTIONS), data(), seed=1)
        assert (run.execution, run.why) == ("eager", why)
    assert distance(*models) == 0


def test_a_keyword_that_fit_does_not_have_is_an_error():
    with pytest.raises(TypeError, match=r"fit\(\) got an unexpected keyword argument 'startepoch'"):
        fit(network(), Recipe(**OPTIONS), data(), seed=0, startepoch=3)


def test_a_broken_capture_ends_the_graphs_that_know_the_old_generators(monkeypatch):
    record, calls = Echo.capture, []

    def second_breaks(self, body, generators):
        calls.append(self)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return record(self, body, generators)

    monkeypatch.setattr(Echo, "capture", second_breaks)
    models = [network(), network()]
    run = fit(models[0], Recipe(execution="captured", **OPTIONS), data(73), seed=1)
    assert run.why == "RuntimeError: out of memory"
    # of the size that comes first: one is compared in the first epoch, three follow in the second, then all are eager
    assert Echo.replays == 1 + 3
    fit(models[1], Recipe(execution="eager", **OPTIONS), data(73), seed=1)
    assert distance(*models) < 1e-12


def test_a_resumed_run_is_executed_as_the_whole_run_would_be(tmp_path):
    class Stops(Recipe):
        def after_epoch(self, model, data, work):
            if Stops.at == work.epoch:
                raise RuntimeError("power cut")

    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", 0.0)
    options = OPTIONS | {"epochs": 10}
    Stops.at = 8
    with pytest.raises(RuntimeError, match="power cut"):
        fit(network(), Stops(**options), data(), seed=1, checkpoint=checkpoint)
    Stops.at = None
    run = fit(network(), Stops(**options), data(), seed=1, checkpoint=checkpoint)
    assert (run.steps, run.execution) == (50, "captured"), "50 steps, of which five were left"


def test_a_step_without_a_gradient_enforces_the_mask_too():
    weight = nn.Parameter(torch.ones(3))
    optimizer = Sgd([weight], 0.9, 0.0)
    optimizer.mask_to_zero([(weight, torch.tensor([1.0, 0.0, 1.0]))])
    optimizer.step(0.1)
    assert weight.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("precision", "tf32", "told"),
    [
        ("fp32", True, "fp32, convolutions in TF32"),
        ("fp32_strict", False, "fp32"),
        ("bf16", True, "bf16 autocast"),
        ("auto", True, "bf16 autocast"),
    ],
)
def test_a_gpu_computes_as_the_precision_says(precision, tf32, told, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    cudnn, matmul, device = torch.backends.cudnn, torch.backends.cuda.matmul, torch.device("cuda")
    before = cudnn.allow_tf32, matmul.allow_tf32
    with arithmetic(precision, device):
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (tf32, False)
    assert (cudnn.allow_tf32, matmul.allow_tf32) == before
    assert arithmetic_told(precision, device) == told
    assert arithmetic_told(precision, torch.device("cpu")) == ("bf16 autocast" if precision == "bf16" else "fp32")
