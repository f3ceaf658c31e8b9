"""SCRUB, one max step and one min step, against the reference code; driven through the real loop."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import network

from lacuna.data.batches import UnlearningData
from lacuna.training.loop import fit
from lacuna.unlearning.methods.scrub import Scrub

FILE = Path(__file__).parent / "06_scrub.npz"
DTYPES = {"f64": torch.float64, "f32": torch.float32}
TOLERANCE = {"f64": {"rtol": 0, "atol": 1e-9}, "f32": {"rtol": 1e-4, "atol": 5e-6}}
STEPS = ("max_step", "min_step")


@pytest.fixture(scope="module")
def arrays():
    with np.load(FILE, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def model_of(arrays, parameters, buffers, dtype):
    model = network(channels=3, widths=(5, 11), classes=4).double()
    stored = {}
    for prefix in (parameters, buffers):
        stored |= {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    model.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in stored.items()})
    return model.to(dtype)


def teacher_of(arrays, dtype):
    """The teacher in evaluation mode, after its logits were compared with the stored ones."""
    teacher = model_of(arrays, "param/", "buffer/", torch.float64).eval()
    with torch.no_grad():
        found = teacher(torch.from_numpy(arrays["x"]).double()).numpy()
    np.testing.assert_allclose(found, arrays["check/logits_eval_f64"], rtol=0, atol=1e-10)
    return teacher.to(dtype)


def data_of(arrays, dtype):
    parts = {part: torch.from_numpy(arrays[f"idx_{part}"]) for part in ("retain", "forget")}
    x, y = torch.from_numpy(arrays["x"]).to(dtype), torch.from_numpy(arrays["y"])
    return UnlearningData(x, y, parts, classes=4, shuffle=False)


@dataclass(frozen=True, kw_only=True)
class Followed(Scrub):
    """SCRUB that takes the teacher of the file (not the student's start) and writes down what each step did."""

    def begin(self, model, data, work):
        work.memory |= {"teacher": self.teacher, "steps": self.steps}
        return data

    def backward(self, model, batches, work):
        loss = super().backward(model, batches, work)
        self.steps.append({"read": tuple(batches), "loss": float(loss)})
        return loss

    def after_step(self, model, batches, work):
        self.steps[-1]["state"] = {k: v.detach().clone() for k, v in model.state_dict().items()}


def run(arrays, dtype, order, **other):
    hp = {k.removeprefix("hp/"): v.item() for k, v in arrays.items() if k.startswith("hp/")}
    method = Followed(
        epochs=1,
        msteps=1,
        batch_size=64,
        lr=hp["lr"],
        momentum=hp["momentum"],
        weight_decay=hp["weight_decay"],
        temperature=hp["T"],
        ce_weight=hp["gamma"],
        kl_weight=hp["alpha_kl"],
        order=order,
    )
    steps: list = []
    object.__setattr__(method, "teacher", teacher_of(arrays, dtype))
    object.__setattr__(method, "steps", steps)
    student = model_of(arrays, "student_param/", "student_buffer/", dtype)
    fit(student, method, data_of(arrays, dtype), seed=0, **other)
    return steps


@pytest.mark.parametrize("order", ["interleaved", "passes"])
@pytest.mark.parametrize("precision", DTYPES)
def test_max_step_and_min_step_are_the_reference_steps(arrays, precision, order):
    steps = run(arrays, DTYPES[precision], order)
    assert [step["read"] for step in steps] == [("forget",), ("retain",)]
    for name, step in zip(STEPS, steps, strict=True):
        np.testing.assert_allclose(step["loss"], arrays[f"{name}/loss"], **TOLERANCE[precision])
        for kind in ("param", "buffer"):
            prefix = f"{name}/student_{kind}_after_f64/"
            expected = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
            assert expected, f"the file holds no {prefix}"
            for key, value in expected.items():
                np.testing.assert_allclose(
                    step["state"][key].numpy(), value, **TOLERANCE[precision], err_msg=f"{name}: {key}"
                )


@pytest.mark.parametrize("name", STEPS)
def test_distance_of_the_stored_logits(arrays, name):
    """T² KL(p_o‖p_θ; T) and the loss from the logits alone: no network, no step."""
    teacher = torch.from_numpy(arrays[f"{name}/teacher_logits_eval"])
    student = torch.from_numpy(arrays[f"{name}/student_logits_train"])
    method = Scrub(temperature=arrays["hp/T"].item())
    kl = float(method.distance(torch.nn.Identity(), student, teacher))
    if name == "max_step":
        np.testing.assert_allclose(-kl, arrays["max_step/loss"], rtol=1e-9)
        return
    np.testing.assert_allclose(kl, arrays["min_step/kl"], rtol=1e-9)
    loss = arrays["hp/gamma"] * arrays["min_step/ce"] + arrays["hp/alpha_kl"] * kl
    np.testing.assert_allclose(loss, arrays["min_step/loss"], rtol=1e-9)
