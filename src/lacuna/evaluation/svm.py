"""The support vector classifier of membership attacks, solved in the span of a few kernel columns.

On one feature the RBF kernel matrix of 20,000 samples has a numerical rank of ten to a few hundred. With its pivoted
Cholesky factor the dual is a small problem for an interior-point method, whose duality gap tells how far its rule can
be from the best one. No histogram is needed; equal samples are merged with their count as weight, which is exact.
Source: Fine & Scheinberg, JMLR 2001.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

COST = 3.0
MAX_RANK = 600
# Largest error of a kernel entry. A vector of probabilities needs too many columns for the first.
_TOLERANCE, _TOLERANCE_OF_VECTORS, _WORST = 1e-11, 1e-6, 1e-4
_GAP, _WORST_GAP = 1e-10, 1e-6
_TIE = 1e-9

Decision = Callable[[np.ndarray], np.ndarray]


def fit(members: np.ndarray, nonmembers: np.ndarray, plain: bool = False) -> Decision:
    """SVC(C=3, RBF, gamma=1/#features) on two arrays of features [n, d].

    Returns its decision function: features [m, d] → float [m], positive for "member". A sample on the boundary (up to
    1e-9) gets 0, and counts as a member, as it does for LIBSVM.
    plain: by scikit-learn's LIBSVM, which stops at an error of 1e-3 in the decision; it is used too where the fast
    solution cannot be certified (kernel error above 1e-4 or relative duality gap above 1e-6). Features that all lie
    within 3e-6 of each other are one value to the fast solution.
    """
    return Pool(members, nonmembers).fit(plain=plain)


class Pool:
    """Features of members [n, d] and non-members [m, d] that several attacks learn from, each from its own rows.

    Equal samples are merged and the kernel is factored once for all of them.
    """

    def __init__(self, members: np.ndarray, nonmembers: np.ndarray):
        self._features = members, nonmembers
        self._gamma = 1 / members.shape[1]

    @cached_property
    def _merged(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """The different samples, in order, and the place among them of each member and non-member."""
        both = np.concatenate(self._features)
        if both.shape[1] == 1:  # an axis makes `unique` several times slower
            x, place = np.unique(both[:, 0], return_inverse=True)
            x = x[:, None]
        else:
            x, place = np.unique(both, axis=0, return_inverse=True)
        return x, np.split(place.reshape(-1), [len(self._features[0])])

    @cached_property
    def _factor(self) -> tuple[np.ndarray, np.ndarray, float]:
        x = self._merged[0]
        return _kernel_factor(x, self._gamma, _TOLERANCE if x.shape[1] == 1 else _TOLERANCE_OF_VECTORS)

    def fit(
        self, members: np.ndarray | None = None, nonmembers: np.ndarray | None = None, plain: bool = False
    ) -> Decision:
        """`fit` on these rows (int [k]) of the members and of the non-members; None: on all."""
        rows = [slice(None) if r is None else r for r in (members, nonmembers)]
        if not plain:
            fast = self._fit_in_span(rows)
            if fast is not None:
                return fast
        # scikit-learn takes seconds to load
        from sklearn.svm import SVC

        learnt = [features[r] for features, r in zip(self._features, rows, strict=True)]
        y = np.repeat([1.0, 0.0], [len(features) for features in learnt])
        return _settled(SVC(C=COST, kernel="rbf", gamma="auto").fit(np.concatenate(learnt), y).decision_function)

    def _fit_in_span(self, rows: Sequence[np.ndarray | slice]) -> Decision | None:
        """The decision function, or None where it is not certain enough."""
        phi, pivots, error = self._factor
        if error > _WORST:
            return None
        x, places = self._merged
        counts = [np.bincount(place[r], minlength=len(x)) for place, r in zip(places, rows, strict=True)]
        own = [np.flatnonzero(count) for count in counts]
        y = np.repeat([1.0, -1.0], [len(o) for o in own])
        c = COST * np.concatenate([count[o] for count, o in zip(counts, own, strict=True)])
        seen = phi[:, np.concatenate(own)]
        w, gap = _solve(seen, y, c)
        if gap > _WORST_GAP:
            return None
        b = _offset(w @ seen, y, c)
        # f = Σ_k v_k K(pivot_k, ·) + b with Lᵀ v = w, Lᵀ the pivots' columns of the factor
        v, centres, gamma = np.linalg.solve(phi[:, pivots], w), x[pivots], self._gamma
        return _settled(lambda features: _kernel(features, centres, gamma) @ v + b)


def _settled(decision: Decision) -> Decision:
    def settled(features: np.ndarray) -> np.ndarray:
        values = decision(features)
        return np.where(np.abs(values) < _TIE, 0.0, values)

    return settled


def _kernel(a: np.ndarray, b: np.ndarray, gamma: float) -> np.ndarray:
    """exp(−gamma ‖a_i − b_j‖²) [len(a), len(b)], feature by feature: no large square is subtracted from another."""
    distance = np.zeros((len(a), len(b)))
    for k in range(a.shape[1]):
        distance += np.square(a[:, k, None] - b[:, k])
    return np.exp(-gamma * distance)


def _kernel_factor(x: np.ndarray, gamma: float, tolerance: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Pivoted Cholesky factor Φ [rank, n] with ΦᵀΦ ≈ K, its pivots' columns, and the largest error of an entry."""
    columns, left = np.empty((min(MAX_RANK, len(x)), len(x))), np.ones(len(x))
    pivots: list[int] = []
    for k in range(len(columns)):
        p = int(left.argmax())
        if left[p] <= tolerance:
            break
        column = _kernel(x, x[p : p + 1], gamma)[:, 0] - columns[:k, p] @ columns[:k]
        column /= np.sqrt(left[p])
        # a pivot is met exactly: the factor's columns of the pivots are triangular
        column[pivots] = 0.0
        columns[k] = column
        left = np.maximum(left - column**2, 0.0)
        pivots.append(p)
        left[pivots] = 0.0
    return columns[: len(pivots)], np.array(pivots), float(left.max())


@np.errstate(all="ignore")
def _solve(phi: np.ndarray, y: np.ndarray, c: np.ndarray, steps: int = 100) -> tuple[np.ndarray, float]:
    """w of min ½‖w‖² + Σ c_i max(0, 1 − y_i(φ_i·w + b)), and the relative duality gap.

    phi: [rank, n], a sample in a column. Mehrotra's predictor-corrector method on the dual: min ½αᵀQα − Σα, 0 ≤ α ≤ c,
    Σ yα = 0, with Q = ZᵀZ.
    """
    z = phi * y
    alpha, s, t, b = c / 2, np.ones(len(y)), np.ones(len(y)), 0.0
    best, smallest, stalled = np.zeros(len(z)), np.inf, 0
    for _ in range(steps):
        w = z @ alpha
        margins, u = w @ z + y * b, c - alpha
        primal = w @ w / 2 + c @ np.maximum(0, 1 - margins)
        gap = float((primal - (alpha.sum() - w @ w / 2)) / primal)
        stalled = 0 if gap < smallest else stalled + 1
        if gap < smallest:
            best, smallest = w, gap
        if gap < _GAP or stalled > 15:
            break
        try:
            newton = _Newton(z, y, alpha, u, s, t, 1 - margins + s - t)
        except np.linalg.LinAlgError:  # the last bits are used up; the gap says whether they were needed
            break
        mu = float(alpha @ s + u @ t) / (2 * len(y))
        da, _, ds, dt, far = newton.step(-alpha * s, -u * t)
        reached = ((alpha + far * da) @ (s + far * ds) + (u - far * da) @ (t + far * dt)) / (2 * len(y))
        target = mu * (reached / mu) ** 3
        da, db, ds, dt, far = newton.step(target - alpha * s - da * ds, target - u * t + da * dt)
        far = min(1.0, 0.995 * far)
        alpha, b, s, t = alpha + far * da, b + far * db, s + far * ds, t + far * dt
    return best, smallest


class _Newton:
    """Newton's system at one iterate: α with multipliers s, room u = c − α with multipliers t, gradient's residual.

    Raises LinAlgError where it is no longer positive definite.
    """

    def __init__(self, z: np.ndarray, y: np.ndarray, *iterate: np.ndarray):
        self.y, self.z, (self.alpha, self.u, self.s, self.t, self.residual) = y, z, iterate
        self.inverse_diagonal = 1 / (self.s / self.alpha + self.t / self.u)
        # of a matrix with itself BLAS makes one half
        half = z * np.sqrt(self.inverse_diagonal)
        self.inverse = np.linalg.inv(np.linalg.cholesky(np.eye(len(z)) + half @ half.T))
        self.of_y = self._solved(y)

    def _solved(self, g: np.ndarray) -> np.ndarray:
        """(D + ZᵀZ)⁻¹ g by Woodbury's identity."""
        g = g * self.inverse_diagonal
        solution: np.ndarray = g - ((self.inverse.T @ (self.inverse @ (self.z @ g))) @ self.z) * self.inverse_diagonal
        return solution

    def step(self, of_s: np.ndarray, of_t: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, float]:
        """Moves of α, b, s and t for α s to grow by of_s and u t by of_t, and the share of them that keeps all > 0."""
        g = self._solved(self.residual + of_s / self.alpha - of_t / self.u)
        db = float((self.y @ g + self.y @ self.alpha) / (self.y @ self.of_y))
        da = g - self.of_y * db
        ds, dt = (of_s - self.s * da) / self.alpha, (of_t + self.t * da) / self.u
        moves = ((self.alpha, da), (self.u, -da), (self.s, ds), (self.t, dt))
        steepest = max(-float((move / value).min()) for value, move in moves)
        return da, db, ds, dt, 1 / max(steepest, 1.0)


def _offset(g: np.ndarray, y: np.ndarray, c: np.ndarray) -> float:
    """b of min Σ c_i max(0, 1 − y_i(g_i + b)); the middle where all of an interval are best, as for LIBSVM."""
    order = np.argsort(y - g, kind="stable")
    bends = (y - g)[order]
    # c are whole multiples of COST: in these units the slope to the right of each bend is exact
    slopes = np.cumsum(np.rint(c[order] / COST)) - np.rint(c[y > 0] / COST).sum()
    first = int(np.searchsorted(slopes, 0.0))
    if slopes[first] == 0 and first + 1 < len(bends):
        return float(bends[first] + bends[first + 1]) / 2
    return float(bends[first])
