"""What bounds the error of unlearning by gradient ascent on a sparse model."""

from __future__ import annotations

from lacuna.evaluation.cell import Absent, Cell
from lacuna.registry import register

_ABOUT = {
    "unit": "1",
    "low": 0.0,
    "high": None,
    "better": "none",
    "oracle": False,
    "needs": ("curvature", "job"),
    "default": False,
    "source": "Jia et al., NeurIPS 2023, proposition 2",
}


def _of_ascent(cell: Cell) -> dict[str, float] | Absent:
    """η, t, the length of the way and σ, all of the training of the model that gradient ascent started from."""
    entry = cell.extra["job"]["parameters"]["unlearner"]
    if entry["method"] != "ga" or "unprune" in cell.extra["job"]["parameters"]:
        return Absent("the bound is of gradient ascent (ga) alone")
    facts = cell.extra["curvature"]
    return {"eta": facts["lr"], "t": facts["steps"], "way": facts["distance"], "sigma": facts["sigma"]}


@register("error_bound", **_ABOUT)
def error_bound(cell: Cell) -> float | Absent:
    """η² t ‖m⊙(θ_t − θ_0)‖₂ σ(m) of a `ga` cell: θ_t is the original model, after t steps of SGD with the learning rate
    η of the recipe. The method's own rate and steps do not enter. Up to the constant of an O(·), and for a rate that
    falls η is its largest, so only its course over sparsities of one recipe means anything."""
    known = _of_ascent(cell)
    if isinstance(known, Absent):
        return known
    return known["eta"] ** 2 * known["t"] * known["way"] * known["sigma"]


@register("error_bound_way", **_ABOUT)
def error_bound_way(cell: Cell) -> float | Absent:
    """‖m⊙(θ_t − θ_0)‖₂ in the bound: how far the original model of a `ga` cell's state is from its initialisation."""
    known = _of_ascent(cell)
    return known if isinstance(known, Absent) else known["way"]


@register("error_bound_sigma", **_ABOUT)
def error_bound_sigma(cell: Cell) -> float | Absent:
    """σ(m) in the bound: the largest singular value of the Hessian of ℓ(D) over that model's unmasked parameters."""
    known = _of_ascent(cell)
    return known if isinstance(known, Absent) else known["sigma"]
