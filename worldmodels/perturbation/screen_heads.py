"""From the families' log-odds of held-out pairs to a head: weights, curve, spread, figures.

A family's stack is fitted on the other folds when it answers a fold, so what is weighed here and
what the curve is fitted on was never seen by anything beneath. The curve is judged on perturbations
that it was not fitted on either. Limits: one curve per line and relation; the families' few weights
are fitted on the rows that figures are of, and F1, MCC, TPR and TNR go by the curve of all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration, metrics
from worldmodels.core import Floats, ModelFault
from worldmodels.perturbation import screen_stack
from worldmodels.perturbation.screen_evidence import Habits
from worldmodels.perturbation.screen_factors import Head
from worldmodels.perturbation.screen_held_out import HeldOut
from worldmodels.perturbation.screen_points import Codes
from worldmodels.perturbation.screen_stack import Weights

CURVE: Final = "beta"
"""Kull et al. 2017; monotone and without steps, so that ties do not cost order."""
FITTED: Final = ("n", "base_rate", "ece_before", "ece", "brier_before", "brier")
PARTS: Final = 3
"""Of the folds, when stacks are fitted on other ones: their few weights need no more."""
Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows of one relation in one line (or of all lines, for the pooled one).

    ``at`` are rows of the screens'; labels, folds, perturbations and readouts go with them.
    """

    at: Codes
    labels: Labels
    fold: Codes
    perturbation: Codes
    readout: Codes


@dataclass(frozen=True, slots=True)
class Judged:
    """A head, and what it says of held-out rows: p and raw of shape (rows,)."""

    head: Head
    p: Floats
    figures: Mapping[str, float]


def stack(held_out: HeldOut, asked: Asked, left_out: Sequence[int] = ()) -> tuple[Weights, Floats]:
    """A family's weights by all rows, and the log-odds of each row by the other folds' weights.

    Args:
        held_out: terms and habits of all rows.
        asked: the rows.
        left_out: terms that are to have no weight.

    Raises:
        ModelFault: rows too few to hold any out.
    """
    log_odds = np.zeros(len(asked.at))
    for part in range(PARTS):
        out = asked.fold % PARTS == part
        if len(np.unique(asked.labels[~out])) < 2:
            raise ModelFault(
                f"{len(asked.at):,} rows of a line and relation are too few to hold any out: the "
                "others are not of both kinds; give more perturbations, or leave the line out"
            )
        taught = _taken(held_out, asked.at[~out], left_out)
        weights = screen_stack.fit(*taught, asked.labels[~out])
        log_odds[out] = weights.of_pairs(*_taken(held_out, asked.at[out], left_out))
    return screen_stack.fit(*_taken(held_out, asked.at, left_out), asked.labels), log_odds


def _taken(
    held_out: HeldOut, at: Codes, left_out: Sequence[int]
) -> tuple[NDArray[np.float32], Habits]:
    habits = held_out.habits
    terms = held_out.terms[at]
    terms[:, list(left_out)] = 0
    return terms, Habits(habits.here[at], habits.elsewhere[at], habits.direction[at])


def judge(log_odds: Floats, asked: Asked, seed: int) -> Judged:
    """The head of one line and relation.

    Args:
        log_odds: shape (families, rows), from ``stack``; the first family's make p, the others are
            second opinions: weighing them in as well gave nothing on held-out perturbations.
        asked: the rows.
        seed: of the curve's folds.
    """
    weights = np.eye(len(log_odds))[0]
    each = [_logistic(one[:, None], asked.labels) for one in log_odds]
    raw = calibration.sigmoid(log_odds[0])
    fitted = calibration.fit_reported(
        CURVE, raw, asked.labels, asked.perturbation.astype(str), seed=seed
    )
    head = Head(
        weights,
        0.0,
        fitted.curve,
        np.array([slope[0] for slope, _ in each]),
        np.array([own for _, own in each]),
        {name: float(getattr(fitted.report, name)) for name in FITTED},
    )
    p = fitted.apply(raw)
    found = metrics.figures(asked.readout, asked.labels, p)
    unseen = {"ece": fitted.report.ece, "brier": fitted.report.brier}
    return Judged(head, p, {**found, **unseen, "per_gene_auroc": _by_fold(asked, p)})


def _by_fold(asked: Asked, p: Floats) -> float:
    """Per-gene AUROC within folds, their mean; NaN where no fold has a readout of both classes.

    Never across folds: a readout's constant is lower in the fold that holds its changes out.
    """
    each = [
        metrics.per_gene_auroc(asked.readout[inside], asked.labels[inside], p[inside])
        for inside in (asked.fold == fold for fold in np.unique(asked.fold))
    ]
    told = [one for one in each if not np.isnan(one)]
    return float(np.mean(told)) if told else float("nan")


def _logistic(columns: Floats, labels: Labels) -> tuple[Floats, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1.0, solver="newton-cholesky").fit(columns, labels)
    return model.coef_[0].astype(np.float64), float(model.intercept_[0])
