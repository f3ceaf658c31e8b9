"""A network of the user's is tried before the first job, in a child process: all that its jobs will do with it."""

import dataclasses
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from lacuna.errors import LacunaError
from lacuna.experiment import catalogue, feasibility
from lacuna.experiment import code_digest as codedigest
from lacuna.experiment.feasibility import Question, answer, answers
from lacuna.models import MODELS
from lacuna.models.files import load_into, new_model, save_state
from lacuna.models.inference import state_of
from lacuna.pruning import PRUNERS
from lacuna.unlearning import UNLEARNERS
from lacuna.unlearning import base as unlearning_base

NETS = """
import os, signal
import numpy as np, torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


class Net(nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.b = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.fc = nn.Linear(6, classes)

    def features(self, x):
        return self.b(self.a(x)).mean((2, 3))

    def forward(self, x):
        return self.fc(self.features(x))


class Mixed(Net):
    "Features that are not learnt, from some source of randomness."

    def __init__(self, classes, channels, source, persistent=False):
        super().__init__(classes, channels)
        self.register_buffer("mix", torch.as_tensor(source(), dtype=torch.float32), persistent=persistent)

    def forward(self, x):
        return self.fc(self.features(x) @ self.mix)


stream = np.random.default_rng(0)
SOURCES = {
    "torch": lambda: torch.randn(6, 6),
    "numpy": lambda: np.random.randn(6, 6),
    "entropy": lambda: np.random.default_rng().normal(size=(6, 6)),
    "stream": lambda: stream.normal(size=(6, 6)),
}


class Plain(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.seen = torch.zeros(6)

    def features(self, x):
        x = super().features(x)
        if self.training:
            self.seen = self.seen + x.detach().mean(0)
        return x + self.seen


class Aux(Net):
    def forward(self, x):
        x = super().forward(x)
        return (x, x) if self.training else x


class Softmax(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)


class Sigmoids(Net):
    def forward(self, x):
        return super().forward(x).sigmoid()


class Rounding(Net):
    def forward(self, x):
        return super().forward(x).half()


class Neighbours(Net):
    "Statistics of the batch in evaluation mode too."

    def forward(self, x):
        x = self.features(x)
        return self.fc(x - x.mean(0))


class Counting(Net):
    "Stochastic depth that grows with a count of its own, which no checkpoint keeps."

    steps = 0

    def features(self, x):
        x = super().features(x)
        if self.training:
            self.steps += 1
        return x * (1 + self.steps) if self.training else x


class Unseeded(Net):
    def features(self, x):
        x = super().features(x)
        return x * torch.from_numpy(np.random.default_rng().random(6)).float() if self.training else x


class Seeded(Net):
    "Dropout by the global stream of NumPy, which a job seeds at every step."

    def features(self, x):
        x = super().features(x)
        return x * torch.from_numpy(np.random.rand(6)).float() if self.training else x


class Infinite(Net):
    def forward(self, x):
        return super().forward(x) / 0


class Dropping(Net):
    def forward(self, x):
        return self.fc(nn.functional.dropout(self.features(x), 0.5))


class Dying(Net):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGKILL)


class Crashing(Net):
    "Dies of a single image's gradient only."

    def forward(self, x):
        if len(x) == 1 and torch.is_grad_enabled():
            os._exit(7)
        if torch._C._functorch.is_batchedtensor(x):
            raise RuntimeError("no")
        return self.fc(self.features(x) * self.scale)

    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.scale = nn.Parameter(torch.ones(6))

    def reset_parameters(self):
        for part in self.a, self.b:
            part[0].reset_parameters(), part[1].reset_parameters()
        self.fc.reset_parameters()
        nn.init.ones_(self.scale)


class Sleeping(Net):
    def forward(self, x):
        import time
        time.sleep(60)


class Locked(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        import threading
        self.lock = threading.Lock()


class Extra(Net):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


class Tied(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.b[0] = nn.Conv2d(4, 4, 3, padding=1)
        self.b[1] = nn.BatchNorm2d(4)
        self.c = nn.Conv2d(4, 4, 3, padding=1)
        self.c.weight = self.b[0].weight
        self.fc = nn.Linear(4, classes)

    def features(self, x):
        return self.c(self.b(self.a(x))).relu().mean((2, 3))


class Frozen(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.a.requires_grad_(False)
        self.register_buffer("on", torch.ones(6, dtype=torch.bool))

    def features(self, x):
        return super().features(x) * self.on


class Asleep(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.requires_grad_(False)


class Casting(Net):
    def forward(self, x):
        return super().forward(x.float())


class Attending(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.tokens = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, dropout=0.0)
        self.classifier, self.fc = self.fc, None

    def forward(self, x):
        return self.classifier(self.tokens(self.b(self.a(x)).flatten(2).mT).mean(1))


class Spectral(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.fc = spectral_norm(self.fc)


class Constrained(Spectral):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.b[0] = spectral_norm(self.b[0])


class Sigmoid(Net):
    def __init__(self, classes, channels, norm=False):
        super().__init__(classes, channels)
        self.a[2], self.b[2] = (nn.Sigmoid(), nn.Sigmoid())


class Grouped(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.a[1], self.b[1] = nn.GroupNorm(2, 4), nn.GroupNorm(2, 6)


class Whole(Net):
    "Cannot be drawn anew once weights are removed: only un-pruning does that."

    def reset_parameters(self):
        if (self.b[0].weight == 0).any():
            raise RuntimeError("some are gone")
        for part in self.a, self.b:
            part[0].reset_parameters(), part[1].reset_parameters()
        self.fc.reset_parameters()


class Mistaken(Net):
    def forward(self, x):
        return self.nope(x)


def make(classes, channels, kind="Net", dtype="float32", source=None, **more):
    if source is not None:
        more["source"] = SOURCES[source]
    return globals()[kind](classes, channels, **more).to(getattr(torch, dtype))


def moving(classes, channels):
    os.chdir("/")
    return Net(classes, channels)
"""
META = {"classes": 3, "shape": [1, 8, 8]}
KNOWN = catalogue.describe()
QUICK = {"omp": {}, "imp": {}, "snip": {}, "grasp": {}, "synflow": {"rounds": 2}, "taylor": {}, "random": {}}


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    (tmp_path / "triednets.py").write_text(textwrap.dedent(NETS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    codedigest._read.cache_clear()
    feasibility._code.cache_clear()
    yield tmp_path
    codedigest._read.cache_clear()
    feasibility._code.cache_clear()
    sys.modules.pop("triednets", None)


def entry(kind="Net", function="make", **kwargs):
    kwargs = {"kind": kind, **kwargs} if function == "make" else kwargs
    return {"method": "import", "import": f"triednets:{function}", "kwargs": kwargs}


def asked(kind="Net", axis="", method=None, sparsity="", **kwargs):
    options = {} if method is None else {"method": method} | kwargs.pop("options", {})
    return Question(entry(kind, **kwargs), META, axis, options, sparsity)


def said(*given, **more):
    """The refusal, '' without one; in this process."""
    (told,) = answer([asked(*given, **more)])
    refusal = told.get("refused", "")
    assert "\n" not in refusal and (not refusal or "allowed: " in refusal)
    return refusal


# ---- what works ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", UNLEARNERS)
def test_every_method_can_be_tried_on_a_plain_network(method):
    assert said(axis="unlearners", method=method) == ""


@pytest.mark.parametrize("method", PRUNERS)
def test_so_can_every_pruner(method):
    assert said(axis="pruners", method=method, sparsity="0.50") == ""
    if PRUNERS[method].structured:
        assert said(axis="pruners", method=method, sparsity="0.50", options={"compact": True}) == ""


@pytest.mark.parametrize("kind", ["Net", "Tied", "Frozen", "Attending", "Spectral", "Seeded"])
def test_networks_of_many_kinds_are_allowed(kind):
    assert said(kind) == ""
    for method in ("omp", "snip", "grasp", "synflow", "taylor"):
        if (kind, method) != ("Attending", "synflow"):  # of layer norm
            assert said(kind, axis="pruners", method=method, sparsity="0.50") == "", method
    for method in ("ft", "msg", "salun", "ssd", "iu", "ff", "retrain_exact", "conv_transpose", "eu_k"):
        assert said(kind, axis="unlearners", method=method) == "", method
    assert ("prmq: 'fc.weight' is computed" in said(kind, axis="unlearners", method="prmq")) == (kind == "Spectral")


def test_a_heavy_network_is_tried_on_less(monkeypatch):
    """Fewer images, no method that is a loss alone, no second scoring of weights; the rest is tried all the same."""
    monkeypatch.setattr(feasibility, "_HEAVY", 1)
    tried = []
    run, prune = unlearning_base.run, feasibility._prune
    monkeypatch.setattr(
        unlearning_base, "run", lambda m, *a, **k: tried.append((m.name, len(a[1].labels))) or run(m, *a, **k)
    )
    monkeypatch.setattr(
        feasibility, "_prune", lambda *a: tried.append((a[2].method["method"], a[2].sparsity)) or prune(*a)
    )
    pruners = [asked(axis="pruners", method=m, sparsity=s) for m in ("omp", "filter_l2") for s in ("0.25", "0.50")]
    methods = [asked(axis="unlearners", method=m) for m in ("ft", "ga", "ssd", "ff", "boundary_expand")]
    assert all("refused" not in told for told in answer([asked(), *pruners, *methods]))
    assert tried == [
        ("omp", "0.25"), ("filter_l2", "0.25"), ("filter_l2", "0.50"), ("ssd", 4), ("ff", 4), ("boundary_expand", 4),
    ]  # fmt: skip


def test_a_trial_leaves_the_process_as_it_was():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    model = new_model(entry(source="numpy", kind="Mixed"), META, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert model.mix.std() > 0.5


def unpruned(kind, **options):
    """The refusal of un-pruning around fine-tuning of a network that omp made half sparse."""
    options = {"unlearner": {"method": "ft"}, "pruner": {"method": "omp"}, "rounds": 1, "p": 20.0} | options
    return said(kind, "unprune", "unprune", "0.50", options=options)


def test_what_unpruning_does_is_tried_too():
    assert unpruned("Net") == unpruned("Net", pruner={"method": "filter_l2", "compact": True}) == ""
    assert said("Whole") == said("Whole", "pruners", "omp", "0.50") == said("Whole", "unlearners", "ft") == ""
    assert unpruned("Whole") == ""
    refusal = unpruned("Whole", reinit="random")
    assert (
        refusal == "a round of un-pruning fails (RuntimeError: some are gone); allowed: a method that can work on "
        "this network"
    )


# ---- state outside the state_dict ------------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("source", ["torch", "numpy"])
def test_features_from_the_global_streams_are_the_same_in_every_job(source, persistent, nets):
    """Neither a buffer outside the state nor one that an oracle starts with differs from job to job."""
    np.random.seed(None)  # noqa: NPY002
    torch.seed()
    first, second = (new_model(entry("Mixed", source=source), META, torch.device("cpu")) for _ in range(2))
    save_state(nets / "a", state_of(first))
    load_into(second, nets / "a")
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(first.eval()(x), second.eval()(x))
    assert said("Mixed", source=source, persistent=persistent) == ""


@pytest.mark.parametrize("source", ["entropy", "stream"])
def test_other_draws_outside_the_state_are_refused_by_name(source):
    refusal = said("Mixed", source=source)
    assert refusal.startswith(
        "another network with its state_dict gives other logits, 'mix' differs; allowed: all that"
    )


def test_so_is_a_tensor_that_training_moves():
    assert "gives other logits, 'seen' differs; allowed:" in said("Plain")


# ---- what does not work ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "more", "sentence"),
    [
        ("Aux", {}, "in training mode, for 6 images, it gives a tuple; allowed: logits of the shape (6, 3)"),
        ("Softmax", {}, "its outputs lie in [0, 1] whatever its classifier gives; allowed: logits, so leave out the"),
        ("Sigmoids", {}, "its outputs lie in [0, 1] whatever its classifier gives; allowed: logits, so leave out the"),
        ("Rounding", {}, "for 2 images it gives float16; allowed: logits in float32 or float64"),
        ("Neighbours", {}, "in evaluation mode an image's logits depend on the other images of its batch; allowed:"),
        ("Counting", {}, "in training mode another network with its state_dict gives other logits; allowed: random"),
        ("Unseeded", {}, "in training mode another network with its state_dict gives other logits; allowed: random"),
        ("Infinite", {}, "for images of noise its logits are not finite; allowed: finite numbers"),
        ("Dropping", {}, "in evaluation mode it gives other logits for the same images; allowed: random draws in"),
        ("Locked", {}, "it cannot be copied (TypeError: cannot pickle '_thread.lock' object); allowed:"),
        ("Extra", {}, "its state holds '_extra_state', a dict; allowed: tensors alone"),
        ("Asleep", {}, "its logits have no gradient; allowed: a network with parameters that are trained"),
        ("Net", {"dtype": "bfloat16"}, "its parameter 'a.0.weight' is bfloat16; allowed: float32 or float64"),
        ("Net", {"dtype": "float16"}, "its parameter 'a.0.weight' is float16; allowed: float32 or float64"),
        ("Mistaken", {}, "it cannot take 1×8×8 images ('Mistaken' object has no attribute 'nope'); allowed:"),
    ],
)
def test_network_that_jobs_cannot_use_is_one_sentence(kind, more, sentence):
    assert said(kind, **more).startswith(sentence)
    (_, useless) = answer([asked(kind, **more), asked(kind, "unlearners", "ft", **more)])
    assert useless["refused"].startswith(sentence)


@pytest.mark.parametrize(
    ("kind", "axis", "method", "options", "sentence"),
    [
        ("Tied", "pruners", "filter_l2", {}, "several layers share 'b.0.weight', so its filters are channels of each"),
        ("Constrained", "pruners", "omp", {}, "'b.0.weight' is computed from other parameters (a parametrization), wh"),
        ("Constrained", "unlearners", "conv_transpose", {}, "conv_transpose: 'b.0.weight' is computed from other par"),
        ("Casting", "pruners", "synflow", {}, "synflow: Casting does not run in 64 bits ("),
        ("Sigmoid", "pruners", "filter_l2", {"compact": True}, "Sigmoid: without its removed channels its logits dif"),
        ("Grouped", "pruners", "filter_l1", {"compact": True}, "Grouped: "),
        ("Net", "unlearners", "cf_k", {"k": 3}, "cf_k.k: 3 is not allowed for Net; allowed: 0 to"),
    ],
)
def test_method_that_cannot_work_on_a_network_is_refused_by_name(kind, axis, method, options, sentence):
    assert said(kind) == ""
    assert said(kind, axis, method, "0.50", options=options).startswith(sentence)
    if "compact" in options:
        assert said(kind, axis, method, "0.50") == "", "without taking them out it works"


def test_a_trial_that_diverges_proves_nothing(monkeypatch):
    """Noise in a network that has learnt nothing, as in a deep one whose last maps are of one place."""
    monkeypatch.setattr(UNLEARNERS["ft"], "loss", lambda self, model, retain: model(retain.x).sum() * torch.inf)
    assert said(axis="unlearners", method="ft") == ""


def test_any_other_failure_of_a_trial_is_a_sentence_too(monkeypatch):
    monkeypatch.setattr(UNLEARNERS["ft"], "loss", lambda self, model, retain: model.nope, raising=False)
    refusal = said(axis="unlearners", method="ft")
    assert refusal.startswith("a short run fails (AttributeError: 'Net' object has no attribute 'nope'); allowed: a me")


# ---- networks that end the process -----------------------------------------------------------------------------------


def test_a_network_that_ends_the_process_is_refused_and_the_others_are_not(nets):
    """Killed while it is tried, and left while one method is: all other questions have their answers."""
    questions = [
        asked("Dying"),
        asked("Dying", "unlearners", "ft"),
        asked("Crashing"),
        asked("Crashing", "unlearners", "ssd"),
        asked("Crashing", "unlearners", "ft"),
        asked("Net"),
    ]
    told = answers(questions, KNOWN, nets)
    killed = "trying it ended the process by SIGKILL, as where memory runs out; allowed: a network that Python outlives"
    assert [t.get("refused") for t in told[:2]] == [killed, killed]
    assert told[3] == {"refused": "trying it ended the process with status 7; allowed: a network that Python outlives"}
    assert "parameters" in told[2] and told[4] == {} and "parameters" in told[5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feasibility, "in_child", None)
        assert answers(questions, KNOWN, nets) == told, "nobody asks again"


def test_a_network_that_never_answers_is_refused(nets, monkeypatch):
    monkeypatch.setattr(feasibility, "PATIENCE", 4)

    def in_child(module, given):
        code = "from lacuna.experiment import feasibility as f; f.PATIENCE = 4; f._serve()"
        command = [sys.executable, "-P", "-c", code]
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    monkeypatch.setattr(feasibility, "in_child", in_child)
    (told,) = answers([asked("Sleeping")], KNOWN, nets)
    assert told["refused"] == "trying it took more than 4 seconds; allowed: a network that Python outlives"


def test_a_child_that_cannot_begin_is_one_sentence(nets, monkeypatch):
    class Child:
        returncode, stdout, stderr = 1, "", "Traceback ...\nMemoryError: no\n"

    monkeypatch.setattr(feasibility, "in_child", lambda *a: Child)
    with pytest.raises(LacunaError, match=r"^the models of the grid cannot be built: MemoryError: no$"):
        answers([asked()], KNOWN, nets)


def test_the_working_directory_stays(nets):
    new_model(entry(function="moving"), META, torch.device("cpu"))
    assert os.getcwd() == str(nets)


def test_short_runs_are_short():
    """Every hyper-parameter that a trial cuts is one of some method."""
    fields = {f.name for kind in (*UNLEARNERS.values(), *PRUNERS.values()) for f in dataclasses.fields(kind)}
    assert set(feasibility._SHORT) <= fields
    assert "import" in MODELS


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mnasnet0_5", ""),
        (
            "googlenet",
            "in training mode, for 6 images, it gives a GoogLeNetOutputs; allowed: logits of the shape (6, 3)",
        ),
        ("squeezenet1_1", "SqueezeNet has no classifier: it holds no Linear layer; allowed: a network with one"),
        (
            "vit_b_16",
            "VisionTransformer has parameters of its own (class_token) but no reset_parameters method; a model",
        ),
    ],
)
def test_networks_of_torchvision_are_taken_or_refused(nets, name, sentence):
    """Depthwise convolutions, modules with versions, auxiliary outputs, no Linear layer, tokens of its own."""
    more = {"vit_b_16": {"image_size": 32}, "googlenet": {"init_weights": False}}.get(name, {})
    call = f"torchvision.models.{name}(num_classes=classes, **{more})"
    (nets / f"of_{name}.py").write_text(f"import torchvision\n\ndef make(classes, channels):\n    return {call}\n")
    model, meta = {"method": "import", "import": f"of_{name}:make", "kwargs": {}}, {"classes": 3, "shape": [3, 32, 32]}
    pruner = {"method": "filter_l2", "compact": True}
    (alone, pruned) = answer([Question(model, meta), Question(model, meta, "pruners", pruner, "0.50")])
    assert alone.get("refused", "").startswith(sentence)
    assert ("refused" in alone) == bool(sentence)
    assert pruned == (alone if sentence else {})
