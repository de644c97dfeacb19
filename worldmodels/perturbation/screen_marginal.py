"""The mean of p over a line's training perturbations, by readout: what p₀ falls back on.

What a guess that is blind to the perturbation would say of readouts without listed rows; where a
readout has some, ``screen_training`` sets what is said of them, held out, beside it.
Computed once, when the model is built, by whole blocks of perturbations × readouts. Limits: summed
by BLAS in single precision, so it is the same from machine to machine to about six decimals, not to
the last bit; it is stored, so every server of one checkpoint says the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.calibration import sigmoid
from worldmodels.core import Floats, quantise
from worldmodels.perturbation.screen_factors import Half, Relation

BLOCK: Final = 128
"""Perturbations at a time; with 10,000 readouts a block of float64 takes 10 MB."""


def marginal(relation: Relation, chosen: Sequence[NDArray[np.intp]]) -> Floats:
    """Mean p by line and readout.

    Args:
        relation: factors and heads.
        chosen: the perturbations to average over, for each line, the pooled one last; each holds
            at least one.

    Returns:
        Shape (lines, readouts), rounded to ``DECIMALS``.
    """
    means = []
    for line, perturbations in enumerate(chosen):
        total = sum(p.sum(axis=0) for p in _blocks(relation, line, perturbations))
        means.append(total / len(perturbations))
    return quantise(np.stack(means))


def _blocks(relation: Relation, line: int, perturbations: NDArray[np.intp]) -> Iterator[Floats]:
    """Some perturbations × all readouts at a time."""
    head = relation.heads[line]
    sides = [(_of(f.subjects, line), _of(f.objects, line)) for f in relation.families.values()]
    columns = [objects.astype(np.float32).T for _, objects in sides]
    for start in range(0, len(perturbations), BLOCK):
        rows = perturbations[start : start + BLOCK]
        log_odds = np.full((len(rows), columns[0].shape[1]), head.intercept)
        for weight, (subjects, _), objects in zip(head.weights, sides, columns, strict=True):
            log_odds += weight * (subjects[rows].astype(np.float32) @ objects)
        yield head.curve.apply(sigmoid(log_odds))


def _of(factors: Half, line: int) -> Half:
    table: Half = factors[line if len(factors) > 1 else 0]
    return table
