"""Fitting the curves: maximum likelihood by Newton's method, isotonic by scikit-learn.

Platt's softened targets ((n₊+1)/(n₊+2) and 1/(n₋+2)) keep separable data finite. The losses are
convex, so a slope that would fall is best replaced by 0, and where every slope would fall the curve
is flat at the base rate. Limits: binary outcomes, one curve for all strata.
"""

from __future__ import annotations

from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.calibration.curves import (
    STEEPEST,
    Array,
    Beta,
    Calibrator,
    Isotonic,
    Kind,
    Platt,
    Temperature,
    Uncalibrated,
    halves,
    logit,
    sigmoid,
)
from worldmodels.core import Floats, ModelFault

Labels = NDArray[np.integer] | NDArray[np.bool_]
STEPS: Final = 100
LEAP: Final = 5.0
"""Largest Newton step: far from the optimum it leaps."""


def fit(kind: Kind, scores: Array, labels: Labels) -> Calibrator:
    """Fit a curve.

    Args:
        kind: "none", "platt", "isotonic", "beta" or "temperature".
        scores: shape (n,), in [0, 1], of held-out perturbations.
        labels: shape (n,), 0 or 1, both present.

    Raises:
        ModelFault: labels that are not 0 or 1, fewer than two rows of either class, a score that is
            no number in [0, 1], or, for "temperature", scores that no temperature makes fit the
            labels.
    """
    if kind == "none":
        return Uncalibrated()
    strange = np.setdiff1d(labels, (0, 1))
    if len(strange):
        raise ModelFault(f"calibration: labels must be 0 or 1, found {strange[0]}")
    positive = np.asarray(labels, bool)
    if min(positive.sum(), (~positive).sum()) < 2:
        raise ModelFault(
            f"calibration needs two held-out rows of each class, found {positive.sum()} positive "
            f"and {(~positive).sum()} negative; give more perturbations, or no calibration"
        )
    if np.shape(scores) != positive.shape or not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).sum())
        raise ModelFault(
            f"calibration: {len(scores)} scores ({bad} of them no number) for {len(positive)} "
            "labels; give one score in [0, 1] for each label"
        )
    fits = {
        "platt": _platt,
        "isotonic": _isotonic,
        "beta": _beta,
        "temperature": _temperature,
    }
    if np.min(scores) < 0 or np.max(scores) > 1:
        raise ModelFault(
            f"calibration: scores must lie in [0, 1], found {np.min(scores):g} to "
            f"{np.max(scores):g}; take the sigmoid of log-odds"
        )
    if kind not in fits:
        raise ModelFault(f"calibration kind is {kind!r}; known: none, {', '.join(fits)}")
    return fits[kind](np.asarray(scores, np.float64), positive)


def _platt(scores: Floats, positive: NDArray[np.bool_]) -> Calibrator:
    x = np.stack([logit(scores), np.ones(len(positive))], axis=1)
    slope, intercept = _newton(x, _softened(positive))
    if slope <= 0:
        return Platt(0.0, _base(positive))
    return Platt(float(slope), float(intercept))


def _temperature(scores: Floats, positive: NDArray[np.bool_]) -> Calibrator:
    """A flat curve would be 0.5 for every pair, whatever the base rate: refused instead."""
    slope = float(_newton(logit(scores)[:, None], _softened(positive))[0])
    if slope <= 1 / STEEPEST:
        raise ModelFault(
            f"no temperature makes the scores fit the labels: their mean is {scores.mean():.3f} "
            f"and that of the labels {positive.mean():.3f}, and a temperature does not shift; "
            "calibrate by platt, beta or isotonic"
        )
    return Temperature(1 / slope)


def _beta(scores: Floats, positive: NDArray[np.bool_]) -> Calibrator:
    """The best of a and b ≥ 0: of both, else of one alone (Kull et al. 2017, §4), else flat."""
    parts, target = halves(scores), _softened(positive)
    for size in (2, 1):
        found = [_slopes(parts, chosen, target) for chosen in combinations((0, 1), size)]
        rising = [at for at in found if min(at[0], at[1]) >= 0 < max(at[0], at[1])]
        if rising:
            a, b, c = min(
                rising, key=lambda at: _loss(at[0] * parts[0] + at[1] * parts[1], at[2], target)
            )
            return Beta(a, b, c)
    return Beta(0.0, 0.0, _base(positive))


def _slopes(
    parts: tuple[Floats, Floats], chosen: tuple[int, ...], target: Floats
) -> tuple[float, float, float]:
    """a, b and c with only the chosen parts, the other slope 0."""
    x = np.stack([*(parts[i] for i in chosen), np.ones(len(target))], axis=1)
    found = _newton(x, target)
    slopes = [0.0, 0.0]
    for i, slope in zip(chosen, found, strict=False):
        slopes[i] = float(slope)
    return slopes[0], slopes[1], float(found[-1])


def _isotonic(scores: Floats, positive: NDArray[np.bool_]) -> Calibrator:
    """No probability of exactly 0 or 1 from a finite sample: y stays 1/(n+2) away from both."""
    from sklearn.isotonic import IsotonicRegression

    edge = 1 / (len(positive) + 2)
    curve = IsotonicRegression(out_of_bounds="clip", y_min=edge, y_max=1 - edge)
    curve.fit(scores, positive.astype(np.float64))
    return Isotonic(tuple(map(float, curve.X_thresholds_)), tuple(map(float, curve.y_thresholds_)))


def _base(positive: NDArray[np.bool_]) -> float:
    rate = float(positive.mean())
    return float(np.log(rate / (1 - rate)))


def _softened(positive: NDArray[np.bool_]) -> Floats:
    n = positive.sum()
    return np.asarray(np.where(positive, (n + 1) / (n + 2), 1 / (len(positive) - n + 2)))


def _newton(x: Floats, target: Floats) -> Floats:
    """The weights w that minimise the log loss of σ(x·w); a last column of ones is the intercept.

    A step that makes the loss larger is halved: two columns may be nearly one.
    """
    w = np.zeros(x.shape[1])
    if x.shape[1] > 1:
        w[-1] = np.log(target.mean() / (1 - target.mean()))
    loss = _loss(x @ w, 0.0, target)
    for _ in range(STEPS):
        p = sigmoid(x @ w)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-9 * np.eye(x.shape[1])
        step = np.linalg.solve(curvature, x.T @ (target - p))
        step *= min(1.0, LEAP / float(np.abs(step).max() or 1.0))
        while (now := _loss(x @ (w + step), 0.0, target)) > loss and np.abs(step).max() > 1e-10:
            step = step / 2
        if now > loss:
            break
        w, loss = w + step, now
        if np.abs(step).max() < 1e-10:
            break
    return w


def _loss(log_odds: Floats, shift: float, target: Floats) -> float:
    """Log loss, summed: log(1+eᶻ) − target·z."""
    z = log_odds + shift
    return float(np.sum(np.logaddexp(0.0, z) - target * z))
