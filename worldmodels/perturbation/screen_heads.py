"""From terms of held-out pairs to ensembles, curves and figures.

A net and trees are fitted on all but one part of the folds and judged on that part, so what a curve
is fitted on was never seen by what is beneath it; the curve is judged on perturbations that it was
not fitted on either. Those are thrown away: the model's own learn from all rows. Limits: one curve
per line and relation, fitted on opinions that knew fewer rows, of one net where the model gives the
mean of ``NETS``; F1, MCC, TPR and TNR go by the curve of all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration, metrics
from worldmodels.core import Floats, ModelFault
from worldmodels.perturbation import screen_nets, screen_trees
from worldmodels.perturbation.screen_ensemble import Ensemble, together
from worldmodels.perturbation.screen_fitted import Head
from worldmodels.perturbation.screen_points import Codes
from worldmodels.perturbation.screen_rows import Single

CURVE: Final = "beta"
"""Kull et al. 2017; monotone and without steps, so that ties do not cost order."""
FITTED: Final = ("n", "base_rate", "ece_before", "ece", "brier_before", "brier")
PARTS: Final = 3
"""Of the folds, each held out once."""
NETS: Final = 3
"""Of different seeds, all fitted on all rows: they agree where the rows decide."""
Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows of one relation.

    ``at`` are rows of the screens'; labels, lines, folds, perturbations and readouts go with them.
    """

    at: Codes
    labels: Labels
    line: Codes
    fold: Codes
    perturbation: Codes
    readout: Codes

    def take(self, rows: NDArray[np.bool_]) -> Asked:
        """The given rows."""
        return Asked(
            self.at[rows],
            self.labels[rows],
            self.line[rows],
            self.fold[rows],
            self.perturbation[rows],
            self.readout[rows],
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """A head, and what it says of held-out rows: p of shape (rows,)."""

    head: Head
    p: Floats
    figures: Mapping[str, float]


def ensemble(columns: Single, asked: Asked, seed: int) -> tuple[Ensemble, Floats]:
    """The model's ensemble, and the log-odds of each row by one that had not seen it.

    Args:
        columns: inputs of the rows, shape (rows, inputs).
        asked: the rows.
        seed: of nets and trees.

    Raises:
        ModelFault: rows too few to hold any out.
    """
    log_odds = np.zeros(len(asked.at))
    parts = asked.fold % PARTS
    for part in np.unique(parts):  # two lines make two parts of the pooled line's rows
        out = parts == part
        _check_taught(asked, ~out)
        taught = (columns[~out], asked.labels[~out], seed)
        net, trees = screen_nets.fit(*taught), screen_trees.fit(*taught)
        held_out = columns[out]
        log_odds[out] = together(
            [screen_nets.log_odds(net, held_out), screen_trees.log_odds(trees, held_out)]
        )
    nets = tuple(screen_nets.fit(columns, asked.labels, seed + one) for one in range(NETS))
    return Ensemble(nets, screen_trees.fit(columns, asked.labels, seed)), log_odds


def _check_taught(asked: Asked, training: NDArray[np.bool_]) -> None:
    for line in np.unique(asked.line):
        rows = asked.line == line
        if len(np.unique(asked.labels[rows & training])) < 2:
            raise ModelFault(
                f"{rows.sum():,} rows of a line and relation are too few to hold any out: the "
                "others are not of both kinds; give more perturbations, or leave the line out"
            )


def judge(log_odds: Floats, asked: Asked, seed: int) -> Judged:
    """The head of one line and relation.

    Args:
        log_odds: shape (rows,), from ``ensemble``.
        asked: the rows, of both kinds.
        seed: of the curve's folds.

    Raises:
        ModelFault: rows of one kind only.
    """
    raw = calibration.sigmoid(log_odds)
    fitted = calibration.fit_reported(
        CURVE, raw, asked.labels, asked.perturbation.astype(str), seed=seed
    )
    told = {name: float(getattr(fitted.report, name)) for name in FITTED}
    p = fitted.apply(raw)
    found = metrics.figures(asked.readout, asked.labels, p)
    unseen = {"ece": fitted.report.ece, "brier": fitted.report.brier}
    figures = {**found, **unseen, "per_gene_auroc": _by_fold(asked, p)}
    return Judged(Head(fitted.curve, told), p, figures)


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
