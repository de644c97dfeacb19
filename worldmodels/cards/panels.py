"""All figures of one relation in one cell line, or over several.

Risk–coverage keeps the rows whose |lift| = |logit p − logit p₀| is largest; where a model has no p₀
it keeps those of the largest |2p − 1|, and says so. Rows that tie at the threshold are all kept, so
the coverage is stated beside the one that was asked for. Limits: the ROC of each readout is drawn
over a grid of ``GRID`` points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels import metrics
from worldmodels.calibration import BINS, logit
from worldmodels.cards.columns import Answered, Codes
from worldmodels.cards.record import Bin, Control, Figures, Noise, Panel, Point, RiskCoverage, Roc
from worldmodels.core import Floats

COVERAGES: Final = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
GRID: Final = np.linspace(0, 1, 51)
LIFT: Final = "|lift|"
CERTAINTY: Final = "|2p-1|"
UNCONTROLLED: Final = frozenset({"n", "base_rate", "ece_before", "brier_before"})
"""Figures that say nothing of whether the perturbation matters."""
PLACES: Final = 6


def panel(
    rows: Answered,
    shuffled: Sequence[Answered],
    of_all_rows: float,
    *,
    resamples: int,
    seed: int,
) -> Panel:
    """The figures of answered rows, beside those of the same rows with other perturbations.

    Args:
        rows: answered rows, at least one.
        shuffled: the answers with perturbations shuffled, one for each permutation.
        of_all_rows: per-gene AUROC with unanswered rows as blind guesses; NaN if undefined.
        resamples: draws for the standard error.
        seed: of those draws.
    """
    each = metrics.auroc_of_each(rows.readout, rows.labels, rows.p)
    error = metrics.standard_error(
        rows.readout, rows.labels, rows.p, rows.perturbation, resamples=resamples, seed=seed
    )
    own = metrics.figures(rows.readout, rows.labels, rows.p, rows.raw)
    return Panel(
        perturbations=len(np.unique(rows.perturbation)),
        readouts=len(np.unique(rows.readout)),
        readouts_scored=int((~np.isnan(each)).sum()),
        figures=rounded(own),
        per_gene_auroc_se=number(error),
        per_gene_auroc_of_all_rows=number(of_all_rows),
        shuffled=_control(own, shuffled),
        p0=None if rows.p0 is None else rounded(_figures(rows, rows.p0)),
        frequency=rounded(_figures(rows, frequencies(rows))),
        risk_coverage=_risk_coverage(rows),
        reliability=_bins(rows.p, rows.labels),
        reliability_before=None if rows.raw is None else _bins(rows.raw, rows.labels),
        roc=_roc(rows),
    )


def _figures(rows: Answered, scores: Floats) -> Figures:
    return metrics.figures(rows.readout, rows.labels, scores)


def _control(own: Figures, shuffled: Sequence[Answered]) -> Control:
    """Mean, standard deviation and gap of every figure that all permutations have."""
    drawn = [_figures(rows, rows.p) for rows in shuffled]
    names = [name for name in own if name not in UNCONTROLLED and all(name in one for one in drawn)]
    values = {name: np.array([one[name] for one in drawn]) for name in names}
    spread = {k: float(v.std(ddof=1)) if len(v) > 1 else 0.0 for k, v in values.items()}
    return Control(
        permutations=len(shuffled),
        mean=rounded({k: float(v.mean()) for k, v in values.items()}),
        sd=rounded(spread),
        gap=rounded({k: own[k] - float(v.mean()) for k, v in values.items()}),
    )


def frequencies(rows: Answered) -> Floats:
    """How often each row's readout is positive in these data. Shape (n,)."""
    ones, count = (np.bincount(rows.readout, weights) for weights in (rows.labels, None))
    return np.asarray((ones / np.maximum(count, 1))[rows.readout], np.float64)


def sureness(rows: Answered) -> tuple[Floats, str]:
    """|lift| of each row, or |2p − 1| where there is no p₀; and which of them. Shape (n,)."""
    if rows.p0 is None:
        return np.asarray(np.abs(2 * rows.p - 1).round(9), np.float64), CERTAINTY
    lift = np.abs(logit(rows.p) - logit(rows.p0))
    return np.asarray(lift.round(9), np.float64), LIFT  # so that ±ℓ tie


def _risk_coverage(rows: Answered) -> RiskCoverage:
    sure, by = sureness(rows)
    falling = -np.sort(-sure)
    points = []
    for asked in COVERAGES:
        threshold = float(falling[max(round(asked * len(rows)), 1) - 1])
        kept = rows.take(sure >= threshold)
        each = metrics.auroc_of_each(kept.readout, kept.labels, kept.p)
        told = each[~np.isnan(each)]
        points.append(
            Point(
                asked=asked,
                coverage=round(len(kept) / len(rows), PLACES),
                threshold=round(threshold, PLACES),
                rows=len(kept),
                readouts=len(told),
                per_gene_auroc=number(told.mean() if len(told) else np.nan),
            )
        )
    return RiskCoverage(by=by, points=points)


def _bins(p: Floats, labels: NDArray[np.uint8]) -> list[Bin]:
    at = np.minimum((p * BINS).astype(np.intp), BINS - 1)
    count = np.bincount(at, minlength=BINS)
    mean, rate = (np.bincount(at, column, BINS) / np.maximum(count, 1) for column in (p, labels))
    return [
        Bin(p=round(float(mean[i]), PLACES), rate=round(float(rate[i]), PLACES), n=int(count[i]))
        for i in np.flatnonzero(count)
    ]


def _roc(rows: Answered) -> Roc:
    overall = metrics.roc(rows.labels, rows.p, GRID)
    order = np.argsort(rows.readout, kind="stable")
    cuts = np.flatnonzero(np.diff(rows.readout[order])) + 1
    curves = [metrics.roc(rows.labels[at], rows.p[at], GRID) for at in np.split(order, cuts)]
    told = [curve for curve in curves if not np.isnan(curve[0])]
    return Roc(
        fpr=GRID.round(PLACES).tolist(),
        overall=None if np.isnan(overall[0]) else overall.round(4).tolist(),
        per_gene=np.mean(told, axis=0).round(4).tolist() if told else None,
    )


def noise(labels: NDArray[np.uint8], yes: NDArray[np.bool_]) -> Noise:
    """The error rates of a yes/no answer; None where a class is missing. Columns (n,)."""
    truth = labels.astype(bool)
    rho0 = float(yes[~truth].mean()) if (~truth).any() else np.nan
    rho1 = float((~yes[truth]).mean()) if truth.any() else np.nan
    return Noise(rho0=number(rho0), rho1=number(rho1), youden=number(1 - rho0 - rho1))


def codes_of_terciles(values: Floats) -> Codes:
    """0, 1 or 2 for each value: the lowest, middle and highest third by rank. Shape (n,)."""
    rank = np.empty(len(values), np.intp)
    rank[np.argsort(values, kind="stable")] = np.arange(len(values))
    return np.asarray(rank * 3 // max(len(values), 1), np.intp)


def number(value: float) -> float | None:
    """Rounded, None for NaN: JSON has no NaN."""
    return None if np.isnan(value) else round(float(value), PLACES)


def rounded(figures: Figures) -> Figures:
    """All of them rounded."""
    return {name: round(float(value), PLACES) for name, value in figures.items()}
