"""Second-order unlearning against the reference code: exact updates, and the numbers of its approximations."""

import dataclasses

import numpy as np
import pytest
import torch

from lacuna import unlearn
from lacuna.gradients.per_sample import mean_squares, true_label
from lacuna.gradients.whole import squared_batch_means, trained, unmasked
from lacuna.unlearning.methods.ff import FisherForgetting
from lacuna.unlearning.methods.ssd import SynapticDampening

DTYPES = {"f64": torch.float64, "f32": torch.float32}


def close(found, expected, precision="f64"):
    """Scores and gradients: 1e-8 relative, in float32 1e-3 of the largest entry."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        limits = (
            {"rtol": 1e-8, "atol": 1e-12} if precision == "f64" else {"rtol": 0, "atol": 1e-3 * np.abs(value).max()}
        )
        np.testing.assert_allclose(found[name].detach().numpy(), value, err_msg=name, **limits)


# ---- influence -------------------------------------------------------------------------------------------------------


def change(file, precision, mask=None, **options):
    """What iu adds to the parameters."""
    start = file.model(DTYPES[precision])
    if mask is not None:
        mask.apply(start)
    end = unlearn("iu", start, file.data(DTYPES[precision]), mask=mask, **options).model
    return {name: (p - dict(start.named_parameters())[name]).detach() for name, p in end.named_parameters()}


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("sparse", ["dense", "masked"])
@pytest.mark.parametrize("key", ["update_published_Nn", "update_published_N1000", "update_reference"])
def test_influence(reference, key, sparse, precision):
    file = reference("04_iu")
    mask = file.mask() if sparse == "masked" else None
    options = {"alpha": file.hp.alpha}
    if key == "update_published_N1000":
        # I + Σ g gᵀ/1000 is n_r/1000 times (1000/n_r) I + Σ g gᵀ/n_r
        ratio = file.hp.N / len(file["idx_retain"])
        options = {"alpha": file.hp.alpha * ratio, "damping": ratio}
    elif key == "update_reference":
        options["variant"], key = "collinear", f"update_reference_{precision}"
    found = change(file, precision, mask, **options)
    for name, expected in file.under(f"{sparse}/{key}").items():
        limits = {"rtol": 1e-8, "atol": 1e-12} if precision == "f64" else {"rtol": 1e-3, "atol": 3e-7}
        np.testing.assert_allclose(found[name], expected, err_msg=name, **limits)
        if mask is not None and name in mask:
            assert not found[name][~mask[name]].any()


@pytest.mark.parametrize("precision", DTYPES)
def test_recursion_stops_where_the_reference_stops(reference, precision):
    file = reference("04_iu_long")
    found = change(file, precision, alpha=file.hp.alpha, samples=file.hp.N, variant="collinear")
    limits = {"rtol": 1e-8, "atol": 1e-12} if precision == "f64" else {"rtol": 1e-3, "atol": 3e-7}
    for name, expected in file.under(f"update_reference_{precision}").items():
        np.testing.assert_allclose(found[name], expected, err_msg=name, **limits)
    if precision == "f64":
        whole = file.under("update_no_truncation_f64")
        assert any(not np.allclose(found[name], value, rtol=1e-8, atol=1e-12) for name, value in whole.items())


# ---- Fisher forgetting -----------------------------------------------------------------------------------------------


def everything(file, dtype):
    """All samples retained: the Fisher information of this file is that of all of `x`."""
    data = file.data(dtype)
    return dataclasses.replace(data, parts={"retain": torch.arange(len(file["y"]))})


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("variant", ["exact", "batch32"])
def test_fisher(reference, variant, precision):
    file, dtype = reference("04_ff"), DTYPES[precision]
    found = FisherForgetting(variant=variant).fisher(file.model(dtype), everything(file, dtype), seed=0)
    key = "published_per_sample" if variant == "exact" else f"reference_batch32_{precision}"
    close(found, file.under(f"fisher/{key}"), precision)


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("variant", ["exact", "batch32"])
@pytest.mark.parametrize("scenario", ["random", "classwise"])
def test_mean_and_variance_of_the_noise(reference, scenario, variant, precision):
    file, dtype = reference("04_ff"), DTYPES[precision]
    method = FisherForgetting(alpha=file.hp.alpha, variant=variant)
    model = file.model(dtype)
    fisher = method.fisher(model, everything(file, dtype), seed=0)
    forgotten = file.hp.class_to_replace if scenario == "classwise" else None
    mean, variance = method.noise(model, fisher, unmasked(trained(model), None), forgotten)
    key = "published" if variant == "exact" else f"reference_{precision}"
    close(mean, file.under(f"{scenario}/mean/{key}"), precision)
    close(variance, file.under(f"{scenario}/var/{key}"), precision)


# ---- dampening -------------------------------------------------------------------------------------------------------


def _as_stored(data):
    """As the reference reads them: all samples in the stored order for `mixed`, a short last batch."""

    class Stored(type(data)):
        def index(self, stream):
            return torch.arange(len(self.labels)) if stream == "mixed" else super().index(stream)

        def sizes(self, stream, batch_size):
            return [len(part) for part in self.index(stream).split(batch_size)]

    return Stored(**{f.name: getattr(data, f.name) for f in dataclasses.fields(data) if f.init})


@pytest.mark.parametrize("precision", DTYPES)
def test_importances_are_those_of_single_samples(reference, precision):
    file, dtype = reference("06_ssd"), DTYPES[precision]
    model, data = file.model(dtype), file.data(dtype)
    close(mean_squares(model, data, "forget"), file.under("importance_forget/published_per_sample"), precision)
    both = mean_squares(model, data, "mixed")
    close(both, file.under("importance_full/published_per_sample"), precision)
    for part, key in (("forget", "importance_forget"), ("mixed", "importance_full")):
        coded = squared_batch_means(model, _as_stored(data), part, file.hp.batch_size, true_label)
        close(coded, file.under(f"{key}/reference_{precision}"), precision)
    # the square of a batch's mean gradient is no multiple of it
    flat, coded = (
        np.concatenate([v.ravel() for v in file.under(f"importance_full/{key}").values()])
        for key in ("published_per_sample", "reference_f64")
    )
    assert np.corrcoef(flat, coded)[0, 1] < 0.999


@pytest.mark.parametrize("setting", [0, 1, 2])
@pytest.mark.parametrize("given", ["reference_f32", "reference_f64", "published_per_sample"])
def test_dampening_of_given_importances(reference, given, setting):
    file = reference("06_ssd")
    dtype = torch.float32 if given.endswith("f32") else torch.float64
    alpha, dampening = file["hp/settings_alpha_lambda"][setting]
    start = file.model(dtype)
    before = {name: p.detach().clone() for name, p in start.named_parameters()}
    forget, full = (
        {name: torch.from_numpy(v) for name, v in file.under(f"importance_{part}/{given}").items()}
        for part in ("forget", "full")
    )
    SynapticDampening(alpha=float(alpha), dampening=float(dampening)).dampen(start, forget, full)
    key = (
        "published_importance" if given.startswith("published") else given.replace("reference", "reference_importance")
    )
    limits = {"rtol": 1e-6, "atol": 0} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 0}
    for name, expected in file.under(f"setting{setting}/param_from_{key}").items():
        np.testing.assert_allclose(dict(start.named_parameters())[name].detach(), expected, err_msg=name, **limits)
    if dtype == torch.float64:
        chosen = sum(int((forget[name] > alpha * full[name]).sum()) for name in forget)
        count = file[f"setting{setting}/n_selected" + "_published" * given.startswith("published")]
        changed = sum(int((p != before[name]).sum()) for name, p in start.named_parameters())
        assert chosen == count
        assert changed <= count


@pytest.mark.parametrize("precision", DTYPES)
@pytest.mark.parametrize("setting", [0, 1, 2])
def test_dampening_from_the_data_on(reference, setting, precision):
    file, dtype = reference("06_ssd"), DTYPES[precision]
    alpha, dampening = map(float, file["hp/settings_alpha_lambda"][setting])
    found = unlearn("ssd", file.model(dtype), file.data(dtype), alpha=alpha, dampening=dampening).model
    limits = {"rtol": 1e-8, "atol": 1e-12} if precision == "f64" else {"rtol": 1e-3, "atol": 1e-6}
    for name, expected in file.under(f"setting{setting}/param_from_published_importance").items():
        np.testing.assert_allclose(dict(found.named_parameters())[name].detach(), expected, err_msg=name, **limits)
