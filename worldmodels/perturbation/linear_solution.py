"""The linear model of perturbation responses, in closed form.

Y ≈ G·W·Pᵀ + b with W = (GᵀG+λI)⁻¹ Gᵀ(Y−b)P (PᵀP+λI)⁻¹ (Ahlmann-Eltze, Huber & Anders 2025, Nature
Methods, "Deep-learning-based gene perturbation effect prediction does not yet outperform simple
linear baselines"). Y holds the change of each readout (rows) under each perturbation (columns), b
the row means, G the leading principal components of Y−b as scores of the readouts, P the
embedding of the perturbed genes: their own rows of G, so that a gene that was only measured can be
asked for, or vectors from elsewhere. A combination's row of P is the sum of its genes'. Limits:
linear, one cell line; a gene that is neither a readout nor has a vector has no row of P.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import Floats

COMPONENTS: Final = 10
RIDGE: Final = 0.1
STILLEST: Final = 1e-6
"""Least spread of a readout: of one that never changes, every change would be infinitely many σ."""

Rows = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Solution:
    """Δ of perturbation s and readout o is Σₖ subjects[s, k] · objects[o, k] + offset[o].

    Attributes:
        subjects: shape (embedded genes, k): P·Wᵀ of every gene that has an embedding.
        objects: shape (readouts, k): G.
        offset: shape (readouts,): b.
        spread: shape (readouts,): σ of each readout over the training perturbations.
    """

    subjects: Floats
    objects: Floats
    offset: Floats
    spread: Floats

    def changes(self, parts: Sequence[Rows]) -> Floats:
        """Δ of perturbations given as rows of ``subjects``; shape (perturbations, readouts)."""
        return sums(self.subjects, parts) @ self.objects.T + self.offset


def solve(
    y: Floats, parts: Sequence[Rows], vectors: Floats | None, *, components: int, ridge: float
) -> Solution:
    """Fit the model.

    Args:
        y: shape (perturbations, readouts), change over control.
        parts: of each perturbation, the embedded genes it perturbs.
        vectors: shape (embedded genes, d); None: readouts are embedded by their rows of G.
        components: of G; fewer where there are fewer perturbations or readouts.
        ridge: λ.
    """
    offset = y.mean(axis=0)
    centred = y - offset
    g = _scores(centred, components)
    embedded = g if vectors is None else vectors
    p = sums(embedded, parts)
    w = _ridge(g, ridge) @ (g.T @ centred.T @ p) @ _ridge(p, ridge)
    spread = np.maximum(y.std(axis=0, ddof=1), STILLEST)
    return Solution(embedded @ w.T, g, offset, spread)


def sums(rows: Floats, parts: Sequence[Rows]) -> Floats:
    """The sum of the given rows for each list of them, shape (len(parts), d)."""
    return np.stack([rows[part].sum(axis=0) for part in parts])


def _scores(centred: Floats, components: int) -> Floats:
    """U·S of the leading components of readouts × perturbations, by the smaller Gram matrix."""
    values, axes = np.linalg.eigh(centred @ centred.T)
    leading = np.argsort(values)[::-1][: min(components, len(values) - 1, centred.shape[1])]
    return np.asarray(centred.T @ axes[:, leading], np.float64)


def _ridge(x: Floats, ridge: float) -> Floats:
    return np.asarray(np.linalg.inv(x.T @ x + ridge * np.eye(x.shape[1])), np.float64)
