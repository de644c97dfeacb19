"""From a score in [0, 1] to a probability, and how far a probability can be believed.

Fit on held-out perturbations, never on held-out pairs. Platt scaling (Platt 1999) is a logistic
regression on the score's log-odds; isotonic regression (Zadrozny & Elkan 2002) a monotone step
curve. Neither ever turns the order of scores round: where held-out scores do not rise with the
labels, the curve is flat, p is the base rate, and what is stored says so. numpy at serving;
scikit-learn only to fit the isotonic curve. Limits: binary outcomes, one curve for all strata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import Floats, ModelFault
from worldmodels.manifest import Value

Array = NDArray[np.floating]
Labels = NDArray[np.integer] | NDArray[np.bool_]
Kind = Literal["none", "platt", "isotonic"]

EDGE: Final = 1e-6
"""Scores are kept this far from 0 and 1 before their log-odds are taken."""
FURTHEST: Final = float(np.log1p(-EDGE) - np.log(EDGE))
"""The log-odds of ``EDGE``."""
STEEPEST: Final = 1000.0
"""Largest slope, and intercept, that is taken for one: 100 steps of 5 fit none beyond 514."""
FLAT: Final = "held-out scores do not rise with the labels: p is the base rate for every pair"
"""What a flat curve says of itself, as ``note``."""
BINS: Final = 15
"""Equal-width bins of the expected calibration error (Guo et al. 2017)."""


class Calibrator(Protocol):
    """A monotone map from scores to probabilities."""

    def apply(self, scores: Array) -> Floats:
        """Probabilities in [0, 1], same shape as the scores in [0, 1]."""
        ...

    def to_dict(self) -> dict[str, Value]:
        """What a manifest stores; ``from_dict`` reads it."""
        ...


def logit(p: Array) -> Floats:
    """Log-odds log p/(1−p), of p kept ``EDGE`` away from 0 and 1."""
    p = np.clip(np.asarray(p, np.float64), EDGE, 1 - EDGE)
    return np.asarray(np.log(p) - np.log1p(-p), np.float64)


def sigmoid(x: Array) -> Floats:
    """1/(1+e⁻ˣ) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float64))), np.float64)


@dataclass(frozen=True, slots=True)
class Uncalibrated:
    """The score itself, where nothing was fitted."""

    def apply(self, scores: Array) -> Floats:
        """The scores."""
        return np.asarray(scores, np.float64)

    def to_dict(self) -> dict[str, Value]:
        """Its kind."""
        return {"kind": "none"}


@dataclass(frozen=True, slots=True)
class Platt:
    """σ(slope · logit(score) + intercept)."""

    slope: float
    intercept: float

    def apply(self, scores: Array) -> Floats:
        """Calibrated probabilities of scores in [0, 1]."""
        return self.of_logits(logit(scores))

    def of_logits(self, logits: Array) -> Floats:
        """The same from the scores' log-odds, which as scores would be kept off 0 and 1."""
        kept = np.clip(logits, -FURTHEST, FURTHEST)
        return sigmoid(self.slope * kept + self.intercept)

    def to_dict(self) -> dict[str, Value]:
        """Kind, slope and intercept, and a note if it is flat."""
        curve: dict[str, Value] = {"slope": self.slope, "intercept": self.intercept}
        return {"kind": "platt", **curve, **_note(self.slope == 0)}


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A monotone curve through (x, y), straight between its points and flat beyond them."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def apply(self, scores: Array) -> Floats:
        """Calibrated probabilities of scores in [0, 1]."""
        return np.asarray(np.interp(np.asarray(scores, np.float64), self.x, self.y), np.float64)

    def to_dict(self) -> dict[str, Value]:
        """Kind and the points, and a note if it is flat."""
        curve: dict[str, Value] = {"x": list(self.x), "y": list(self.y)}
        return {"kind": "isotonic", **curve, **_note(self.y[0] == self.y[-1])}


def _note(flat: bool) -> dict[str, Value]:
    return {"note": FLAT} if flat else {}


def fit(kind: Kind, scores: Array, labels: Labels) -> Calibrator:
    """Fit on held-out rows.

    Args:
        kind: "none", "platt" or "isotonic".
        scores: shape (n,), in [0, 1].
        labels: shape (n,), 0 or 1, both present.

    Raises:
        ModelFault: fewer than two rows of either class.
    """
    if kind == "none":
        return Uncalibrated()
    positive = np.asarray(labels, bool)
    if min(positive.sum(), (~positive).sum()) < 2:
        raise ModelFault(
            f"calibration needs two held-out rows of each class, found {positive.sum()} positive "
            f"and {(~positive).sum()} negative; give more perturbations, or no calibration"
        )
    return _fit_platt(scores, positive) if kind == "platt" else _fit_isotonic(scores, positive)


def _fit_platt(scores: Array, positive: NDArray[np.bool_]) -> Platt:
    """Newton's method on the log loss; Platt's softened targets keep separable data finite.

    The loss is convex, so where the best slope falls, the best slope that does not is 0.
    """
    x = np.stack([logit(scores), np.ones(len(positive))], axis=1)
    n = positive.sum()
    target = np.where(positive, (n + 1) / (n + 2), 1 / (len(positive) - n + 2))
    beta = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])
    for _ in range(100):
        p = sigmoid(x @ beta)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (target - p))
        step *= min(
            1.0, 5.0 / float(np.abs(step).max() or 1.0)
        )  # far from the optimum Newton leaps
        beta += step
        if np.abs(step).max() < 1e-10:
            break
    if beta[0] <= 0:
        rate = float(positive.mean())
        return Platt(0.0, float(np.log(rate / (1 - rate))))
    return Platt(float(beta[0]), float(beta[1]))


def _fit_isotonic(scores: Array, positive: NDArray[np.bool_]) -> Isotonic:
    """No probability of exactly 0 or 1 from a finite sample: y stays 1/(n+2) away from both."""
    from sklearn.isotonic import IsotonicRegression

    edge = 1 / (len(positive) + 2)
    curve = IsotonicRegression(out_of_bounds="clip", y_min=edge, y_max=1 - edge)
    curve.fit(np.asarray(scores, np.float64), positive.astype(np.float64))
    return Isotonic(tuple(map(float, curve.X_thresholds_)), tuple(map(float, curve.y_thresholds_)))


def from_dict(stored: Mapping[str, Value]) -> Calibrator:
    """Read what ``to_dict`` stored; an empty table is "none".

    Raises:
        ModelFault: an unknown kind, or figures that make no monotone curve.
    """
    kind = stored.get("kind", "none")
    if kind == "none":
        return Uncalibrated()
    if kind == "platt":
        return Platt(_number(stored, "slope", 0.0), _number(stored, "intercept", -STEEPEST))
    if kind != "isotonic":
        raise ModelFault(f"calibration kind is {kind!r}; known: none, platt, isotonic")
    x, y = (_points(stored, axis) for axis in "xy")
    if x.ndim != 1 or x.shape != y.shape or not len(x) or not _rises(x) or not _rises(y):
        raise ModelFault("isotonic calibration: x and y must be rising lists of one length")
    if y[0] < 0 or y[-1] > 1:
        raise ModelFault("isotonic calibration: y must lie in [0, 1]")
    return Isotonic(tuple(x.tolist()), tuple(y.tolist()))


def _number(stored: Mapping[str, Value], key: str, least: float) -> float:
    value = stored.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ModelFault(f"calibration.{key} must be a number, found {value!r}")
    if not least <= value <= STEEPEST:  # NaN neither
        raise ModelFault(
            f"calibration.{key} must be within {least:g} and {STEEPEST:g}, found {value:g}; "
            "build the model anew"
        )
    return float(value)


def _points(stored: Mapping[str, Value], axis: str) -> Floats:
    try:
        return np.asarray(stored.get(axis, []), np.float64)
    except (TypeError, ValueError) as error:
        raise ModelFault(f"isotonic calibration: {axis} must be numbers ({error})") from error


def _rises(values: Floats) -> bool:
    return bool(np.isfinite(values).all() and (np.diff(values) >= 0).all())


def shift_prior(p: Array, trained: float, actual: float) -> Floats:
    """Move p from the base rate it was trained at to another (Saerens et al. 2002).

    logit p′ = logit p + log[π′(1−π)/(π(1−π′))], with π trained and π′ actual, both in (0, 1).
    """
    shift = logit(np.array(actual)) - logit(np.array(trained))
    return sigmoid(logit(p) + shift)


def ece(p: Array, labels: Labels) -> float:
    """Expected calibration error over ``BINS`` equal-width bins; NaN for no rows."""
    if not len(p):
        return float("nan")
    bins = np.minimum((np.asarray(p) * BINS).astype(np.intp), BINS - 1)
    gap = np.bincount(bins, np.asarray(p) - np.asarray(labels, np.float64), BINS)
    return float(np.abs(gap).sum() / len(p))


def brier(p: Array, labels: Labels) -> float:
    """Mean squared error of p (Brier 1950); NaN for no rows."""
    if not len(p):
        return float("nan")
    return float(np.mean((np.asarray(p, np.float64) - np.asarray(labels, np.float64)) ** 2))
