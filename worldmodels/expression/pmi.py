"""How often two genes are detected together, against chance: counts, PMI and its test.

The reward of rbio's TranscriptFormer source (rbio-1, bioRxiv 2025.08.18.670981) is a pointwise
mutual information, clamped at 0 and stretched so that the least pair of the top 1 % of pairs
lands on 0.5. Here the probabilities come from binarised expression: P(a) is the share of cells in
which gene a is detected (count > 0), P(a, b) the share in which both are.

Limits: detection depends on sequencing depth, and cells of unequal depth alone make most pairs
co-detected slightly above chance; nothing here corrects for depth. Counts are held as float32,
exact up to 2^24 cells. Memory is genes² × 4 bytes per table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault

MAX_CELLS: Final = 2**24
"""Above this a float32 no longer counts one by one."""
TOP_SHARE: Final = 0.01
"""The share of pairs that earn 0.5 or more."""
ROWS: Final = 512
"""Rows of a genes × genes table that are worked on at a time."""

Table = NDArray[np.float32]
"""genes × genes, symmetric."""


class CoOccurrence:
    """Counts, for every pair of genes, the cells in which both are detected (BᵀB, by blocks)."""

    def __init__(self, genes: int) -> None:
        self.cells = 0
        self._table: Table = np.zeros((genes, genes), dtype=np.float32, order="F")

    def add(self, detected: NDArray[np.float32]) -> None:
        """Count a block of cells.

        Args:
            detected: cells × genes, C-ordered, 1.0 where the gene is detected and 0.0 elsewhere.

        Raises:
            ModelFault: more cells than can be counted exactly.
        """
        from scipy.linalg.blas import ssyrk

        self.cells += len(detected)
        if self.cells > MAX_CELLS:
            raise ModelFault(
                f"more than {MAX_CELLS:,} cells cannot be counted exactly; "
                "train on a subset (--cells-column, --cells-value)"
            )
        if len(detected):
            self._table = ssyrk(1.0, detected.T, beta=1.0, c=self._table, overwrite_c=1)

    def table(self) -> Table:
        """The counts so far, genes × genes, symmetric; the diagonal counts each gene alone.

        The array is the counter's own, completed in place, since a copy is as large again.
        """
        table: Table = self._table.T  # ssyrk fills one triangle: the lower one of this view
        for start in range(0, len(table), ROWS):
            rows = slice(start, start + ROWS)
            table[:start, rows] = table[rows, :start].T
            square = table[rows, rows]
            square[:] = np.tril(square) + np.tril(square, -1).T
        return table


def pmi(counts: Table, cells: int) -> Table:
    """Pointwise mutual information log(P(a,b) / (P(a) P(b))) of every pair, clamped at 0.

    Args:
        counts: genes × genes co-detections with each gene's own count on the diagonal.
        cells: how many cells were counted.

    Returns:
        genes × genes, in nats, ≥ 0; 0 for a pair that is never detected together. The diagonal is
        the gene with itself and carries no meaning here.
    """
    alone = np.diagonal(counts).astype(np.float64)
    result: Table = np.zeros_like(counts)
    for start in range(0, len(counts), ROWS):
        both = counts[start : start + ROWS].astype(np.float64)
        chance = np.outer(alone[start : start + ROWS], alone) / cells
        ratio = np.divide(both, chance, out=np.ones_like(both), where=both > 0)
        result[start : start + ROWS] = np.log(np.maximum(ratio, 1.0))
    return result


@dataclass(frozen=True, slots=True)
class Stretch:
    """The threshold min-max scaling of rbio: ``least`` → 0, ``cut`` → 0.5, ``most`` → 1.

    Attributes:
        least: the lowest PMI of any pair (0 as soon as one pair is at or below chance).
        cut: PMI of the least pair of the top 1 % of pairs.
        most: the highest PMI of any pair.
    """

    least: float
    cut: float
    most: float

    def apply(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """PMI → n in [0, 1]; a pair at ``cut`` earns exactly 0.5."""
        m = np.asarray(values, dtype=np.float64)
        below = 0.5 * (m - self.least) / (self.cut - self.least)
        room = self.most - self.cut
        above = 0.5 + (0.5 * (m - self.cut) / room if room > 0 else 0.0)
        return np.clip(np.where(m < self.cut, below, above), 0.0, 1.0)


def stretch(table: Table) -> Stretch:
    """Find the three anchors over all pairs of different genes.

    Raises:
        ModelFault: fewer than two genes, or so few pairs above chance that the top 1 % reaches
            down to the lowest value and the scaling is undefined.
    """
    if len(table) < 2:
        raise ModelFault(f"{len(table)} genes make no pair; lower --min-cells")
    pairs = np.concatenate([table[i, i + 1 :] for i in range(len(table) - 1)])
    least, most = float(pairs.min()), float(pairs.max())
    place = len(pairs) - int(np.ceil(TOP_SHARE * len(pairs)))
    pairs.partition(place)
    cut = float(pairs[place])
    if cut <= least:
        raise ModelFault(
            f"fewer than 1 % of the {len(pairs):,} gene pairs are detected together more often "
            f"than the rest (PMI {least:.3g} up to the top 1 %, most {most:.3g}): these cells say "
            "nothing about co-expression; use more cells, or cells of more than one kind"
        )
    return Stretch(least, cut, most)


def normalised(table: Table, scale: Stretch) -> NDArray[np.float16]:
    """The n of every pair as fp16 (steps of 0.0005 near 1).

    Shape: genes × genes, symmetric; NaN on the diagonal: no pair, no score.
    """
    result = np.empty(table.shape, dtype=np.float16)
    for start in range(0, len(table), ROWS):
        result[start : start + ROWS] = scale.apply(table[start : start + ROWS])
    np.fill_diagonal(result, np.nan)
    return result


def chance_of_overlap(
    both: NDArray[np.floating],
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    cells: int,
) -> NDArray[np.float64]:
    """One-sided Fisher exact test: P(at least ``both`` co-detections by chance).

    With ``first`` of the cells detecting one gene and ``second`` the other, independently, the
    overlap is hypergeometric (Fisher, J. R. Stat. Soc. 85:87, 1922). Both tails are summed from
    their largest term, so small values keep their relative precision.

    Returns:
        p-values in [0, 1], one per pair.
    """
    k, a, b = (np.asarray(x, dtype=np.float64) for x in (both, first, second))
    result = np.empty(len(k))
    rich = k > a * b / cells
    result[rich] = _upper_tail(k[rich], a[rich], b[rich], cells)
    poor = ~rich  # the complement: with a' = N − a, the overlap b − X is hypergeometric too
    fewer = _upper_tail(b[poor] - k[poor] + 1, cells - a[poor], b[poor], cells)
    result[poor] = 1.0 - fewer
    return np.clip(result, 0.0, 1.0)


def _upper_tail(
    k: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64], cells: int
) -> NDArray[np.float64]:
    """P(X ≥ k) for k above the mean: a falling series, each term from the one before it."""
    term = _hypergeometric(k, a, b, cells)
    total = term.copy()
    at = k.copy()
    open_ = np.flatnonzero(term > 0)
    while len(open_):
        x, fa, fb = at[open_], a[open_], b[open_]
        ratio = (fa - x) * (fb - x) / ((x + 1) * (cells - fa - fb + x + 1))
        term[open_] *= ratio
        total[open_] += term[open_]
        at[open_] = x + 1
        open_ = open_[term[open_] > 1e-16 * total[open_]]
    return total


def _hypergeometric(
    k: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64], cells: int
) -> NDArray[np.float64]:
    """P(X = k), 0 outside the support."""
    from scipy.special import gammaln

    inside = (k <= np.minimum(a, b)) & (k >= np.maximum(0.0, a + b - cells))
    k, a, b = (np.where(inside, x, 0.0) for x in (k, a, b))
    log_p = (
        (gammaln(a + 1) - gammaln(k + 1) - gammaln(a - k + 1))
        + (gammaln(cells - a + 1) - gammaln(b - k + 1) - gammaln(cells - a - b + k + 1))
        - (gammaln(cells + 1.0) - gammaln(b + 1) - gammaln(cells - b + 1))
    )
    return np.where(inside, np.exp(log_p), 0.0)
