"""How far probabilities can be believed: ECE, Brier, and a curve with its figures on unseen rows.

Rows of one perturbation share what the model knows of it, so a curve that is fitted and judged on
pairs of the same perturbations looks better than it is. ``by_group`` deals whole groups
(perturbations) to folds; ``fit_reported`` judges a curve on rows that it was not fitted on. Limits:
groups are dealt by number, not by size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.calibration.curves import Array, Calibrator, Kind
from worldmodels.calibration.fits import Labels, fit
from worldmodels.core import Floats, ModelFault
from worldmodels.manifest import Value

BINS: Final = 15
"""Equal-width bins of the expected calibration error (Guo et al. 2017)."""
FOLDS: Final = 5
Folds = NDArray[np.intp]
_FIGURES: Final = ("n", "base_rate", "ece_before", "ece", "brier_before", "brier")


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


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of a curve on rows that it was not fitted on."""

    n: int
    base_rate: float
    ece_before: float
    """Of the scores as they came."""
    ece: float
    """Of the calibrated probabilities."""
    brier_before: float
    brier: float
    judged: str
    """On which rows, in words."""

    def to_dict(self) -> dict[str, Value]:
        """What a manifest stores beside the curve."""
        return {**{name: getattr(self, name) for name in _FIGURES}, "judged": self.judged}


def report(before: Array, after: Array, labels: Labels, judged: str) -> Report:
    """The figures of scores and the probabilities that a curve made of them.

    Args:
        before: shape (n,), scores in [0, 1].
        after: shape (n,), probabilities.
        labels: shape (n,), 0 or 1.
        judged: which rows these are, in words.

    Raises:
        ModelFault: no row.
    """
    if not len(labels):
        raise ModelFault(f"calibration cannot be judged on no rows ({judged})")
    return Report(
        n=len(labels),
        base_rate=float(np.mean(labels)),
        ece_before=ece(before, labels),
        ece=ece(after, labels),
        brier_before=brier(before, labels),
        brier=brier(after, labels),
        judged=judged,
    )


def report_from_dict(stored: Mapping[str, Value]) -> Report | None:
    """The report in a stored calibration; None where it holds none.

    Raises:
        ModelFault: a report that is not whole.
    """
    if not set(_FIGURES) & set(stored):
        return None
    figures: dict[str, Any] = {name: stored.get(name) for name in _FIGURES}
    for name, value in figures.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not np.isfinite(value):
            raise ModelFault(f"calibration.{name} must be a number, found {value!r}")
    judged = stored.get("judged")
    if not isinstance(judged, str):
        raise ModelFault(f"calibration.judged must be text, found {judged!r}")
    return Report(**figures, judged=judged)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A curve with its report."""

    curve: Calibrator
    report: Report

    def apply(self, scores: Array) -> Floats:
        """Probabilities in [0, 1], same shape as the scores in [0, 1]."""
        return self.curve.apply(scores)

    def to_dict(self) -> dict[str, Value]:
        """Both in one flat table; ``from_dict`` and ``report_from_dict`` read it."""
        return {**self.curve.to_dict(), **self.report.to_dict()}


def fit_reported(
    kind: Kind,
    scores: Array,
    labels: Labels,
    groups: Sequence[str] | NDArray[Any],
    *,
    held_out: NDArray[np.bool_] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> Fitted:
    """Fit a curve and judge it on groups that it was not fitted on.

    Args:
        kind: as ``fit`` takes it.
        scores: shape (n,), in [0, 1].
        labels: shape (n,), 0 or 1.
        groups: shape (n,): the perturbation of each row.
        held_out: shape (n,): rows to judge on; the curve is fitted on the others. Not given: the
            rows are judged by curves fitted on the other folds, the curve is fitted on all.
        folds: how many, where ``held_out`` is not given.
        seed: of the folds.

    Raises:
        ModelFault: as ``fit`` and ``by_group``, or a group on both sides of ``held_out``.
    """
    before, truth = np.asarray(scores, np.float64), np.asarray(labels, bool)
    if held_out is not None:
        _refuse_shared(groups, held_out)
        curve = fit(kind, before[~held_out], truth[~held_out])
        unseen = before[held_out]
        judged = f"rows of {_count(groups, held_out)} held-out perturbations"
        return Fitted(curve, report(unseen, curve.apply(unseen), truth[held_out], judged))
    fold = by_group(groups, folds=folds, seed=seed)
    after = np.empty(len(before))
    for number in range(folds):
        inside = fold == number
        after[inside] = fit(kind, before[~inside], truth[~inside]).apply(before[inside])
    judged = f"all rows, cross-fitted by perturbation in {folds} folds"
    return Fitted(fit(kind, before, truth), report(before, after, truth, judged))


def by_group(
    groups: Sequence[str] | NDArray[Any],
    *,
    folds: int | None = None,
    share: float | None = None,
    seed: int = 0,
) -> Folds:
    """The fold of each row, all rows of a group (perturbation) in one.

    Args:
        groups: shape (n,): names or codes.
        folds: deal the groups to so many folds of (nearly) equal numbers of groups.
        share: or put this share of the groups, in (0, 1), into fold 1 and the others into fold 0.
        seed: of the shuffle. The order of the rows does not matter.

    Returns:
        Shape (n,), from 0 on.

    Raises:
        ModelFault: fewer groups than folds, or a share that leaves a side without a group.
    """
    names, row = np.unique(np.asarray(groups), return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    if (folds is None) == (share is None):
        raise ModelFault("by_group: give either folds or share")
    if folds is not None:
        if not 2 <= folds <= len(names):
            raise ModelFault(
                f"{len(names)} perturbations cannot be dealt to {folds} folds; give at least 2 "
                "folds and at least one perturbation for each"
            )
        return np.asarray((order % folds)[row], np.intp)
    assert share is not None
    cut = round(share * len(names))
    if not 0 < share < 1 or not 0 < cut < len(names):
        raise ModelFault(
            f"a share of {share:g} of {len(names)} perturbations leaves one side empty; give "
            "more perturbations or another share"
        )
    return np.asarray((order < cut)[row], np.intp)


def _refuse_shared(groups: Sequence[str] | NDArray[Any], held_out: NDArray[np.bool_]) -> None:
    names = np.asarray(groups)
    shared = np.intersect1d(names[held_out], names[~held_out])
    if len(shared):
        shown = ", ".join(map(str, shared[:3]))
        raise ModelFault(
            f"{len(shared)} perturbations are both fitted on and held out ({shown}); "
            "split by perturbation, not by pair"
        )


def _count(groups: Sequence[str] | NDArray[Any], rows: NDArray[np.bool_]) -> int:
    return len(np.unique(np.asarray(groups)[rows]))
