"""Which readouts a perturbation changes: Wilcoxon rank-sum against control cells, then BH.

For every perturbation and readout, the perturbation's cells against the control cells: the
Mann–Whitney U with the normal approximation, corrected for ties, without continuity correction, two
sided. That is ``scanpy.tl.rank_genes_groups(method="wilcoxon", reference=control,
tie_correct=True)`` and ``scipy.stats.mannwhitneyu(use_continuity=False, method="asymptotic")``.
Fold changes are scanpy's, log₂((eᵃ−1+ε)/(eᵇ−1+ε)) of the two mean logarithms, ε = 10⁻⁹. Benjamini
& Hochberg (1995) controls the false discovery rate within a perturbation, over the readouts tested.
Limits: cells count as independent, so batches and clones make q too small; perturbations × readouts
results are held in memory, 32 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import Floats
from worldmodels.perturbation.perturb_seq import Screen

EPSILON: Final = 1e-9
"""scanpy's, which keeps the fold change of a gene that one side never detects finite."""

Groups = NDArray[np.int32]
Single = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Effects:
    """What each perturbation does to each readout; every array is (perturbations, readouts).

    Attributes:
        line: canonical cell line.
        perturbations: perturbed genes, or combinations ``"A+B"``.
        readouts: measured genes.
        cells: shape (perturbations,), cells of each.
        controls: number of control cells.
        delta: difference of the mean log-normalised values, perturbation − control.
        effect: log₂ fold change.
        p: two-sided p of the rank-sum test.
        q: Benjamini–Hochberg within the perturbation.
        up: whether its cells rank above the control's (U above its mean).
    """

    line: str
    perturbations: list[str]
    readouts: list[str]
    cells: NDArray[np.int64]
    controls: int
    delta: Single
    effect: Single
    p: Floats
    q: Floats
    up: NDArray[np.bool_]

    def changed(self, alpha: float, least: float = 0.0) -> NDArray[np.bool_]:
        """Where q < alpha and |log₂ fold change| ≥ least; (perturbations, readouts)."""
        return np.asarray((self.q < alpha) & (np.abs(self.effect) >= least))


def effects(screen: Screen, advance: Callable[[float], None] = lambda _: None) -> Effects:
    """Test every perturbation of a screen on every readout.

    Args:
        screen: from ``perturb_seq.screens``.
        advance: told the share of the readouts that is done.
    """
    sizes, readouts = screen.sizes(), len(screen.readouts)
    shape = (len(sizes) - 1, readouts)
    delta, effect = np.empty(shape, np.float32), np.empty(shape, np.float32)
    p, up = np.empty(shape), np.empty(shape, np.bool_)
    for chunk in screen.chunks():
        for i, gene in enumerate(chunk.genes):
            inside = slice(chunk.starts[i], chunk.starts[i + 1])
            values, group = chunk.values[inside], screen.group[chunk.cells[inside]]
            mean = np.bincount(group, values, len(sizes)) / sizes
            z = rank_sum(values, group, sizes)
            p[:, gene], up[:, gene] = two_sided(z), z > 0
            delta[:, gene], effect[:, gene] = mean[1:] - mean[0], _fold_change(mean)
            if gene % 64 == 63:
                advance((gene + 1) / readouts)
    advance(1.0)
    return Effects(
        line=screen.line,
        perturbations=screen.names[1:],
        readouts=screen.readouts,
        cells=sizes[1:],
        controls=int(sizes[0]),
        delta=delta,
        effect=effect,
        p=p,
        q=benjamini_hochberg(p),
        up=up,
    )


def rank_sum(values: Single, group: Groups, sizes: NDArray[np.int64]) -> Floats:
    """Score z of each group's rank sum against group 0, of one readout.

    Args:
        values: shape (n,), those above zero; every other cell of a group counts as zero.
        group: shape (n,), the group of each value.
        sizes: shape (groups,), all cells of each group.

    Returns:
        Shape (groups − 1,); 0 where every value is the same.
    """
    count = len(sizes)
    control = np.sort(values[group == 0])
    zeros = sizes - np.bincount(group, minlength=count)
    of, value, times = _runs(values, group)
    below, upto = (np.searchsorted(control, value, side) for side in ("left", "right"))
    alike = upto - below
    # cells of the control that each value beats, a tie counting half; zeros beat no one
    won = np.bincount(of, times * (zeros[0] + below + alike / 2), count) + zeros * zeros[0] / 2
    more = np.bincount(of, _cubes(alike + times) - _cubes(alike), count)
    ties = _control_ties(control) + more + _cubes(zeros + zeros[0])
    n, m = sizes[1:].astype(np.float64), float(sizes[0])
    total = n + m
    variance = n * m / 12 * (total + 1 - ties[1:] / (total * (total - 1)))
    spread = np.sqrt(np.maximum(variance, 0))
    shift = won[1:] - n * m / 2
    z = np.zeros(count - 1)
    np.divide(shift, spread, out=z, where=variance > 1e-9 * n * m)
    return z


def _runs(values: Single, group: Groups) -> tuple[Groups, Single, NDArray[np.int64]]:
    """Group, value and number of every distinct (group, value) outside of group 0.

    The bits of a positive float rise with it, so one sort of integers does both columns.
    """
    treated = group > 0
    bits = values[treated].view(np.int32).astype(np.int64)
    keys = np.sort((group[treated].astype(np.int64) << 32) | bits)
    fresh = np.ones(len(keys), np.bool_)
    fresh[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(fresh)
    first = keys[starts]
    times = np.diff(np.append(starts, len(keys)))
    value = (first & 0xFFFFFFFF).astype(np.int32).view(np.float32)
    return (first >> 32).astype(np.int32), value, times


def _control_ties(control: Single) -> float:
    if not len(control):
        return 0.0
    ends = np.flatnonzero(np.append(control[1:] != control[:-1], True))
    return float(_cubes(np.diff(ends, prepend=-1)).sum())


def _cubes(count: NDArray[np.integer]) -> Floats:
    """t³ − t, what t tied cells take from the variance."""
    t = count.astype(np.float64)
    return np.asarray(t * t * t - t)


def two_sided(z: Floats) -> Floats:
    """P(|Z| ≥ |z|) of a standard normal Z."""
    from scipy.special import ndtr

    return np.asarray(2 * ndtr(-np.abs(z)), np.float64)


def _fold_change(mean: Floats) -> Floats:
    raised = np.expm1(mean) + EPSILON
    return np.asarray(np.log2(raised[1:] / raised[0]), np.float64)


def benjamini_hochberg(p: Floats) -> Floats:
    """The q of each p among its row (Benjamini & Hochberg 1995); shape (rows, tests) as p."""
    q = np.empty_like(p)
    tests = p.shape[1]
    for row, values in enumerate(p):
        order = np.argsort(values, kind="stable")
        scaled = values[order] * tests / np.arange(1, tests + 1)
        q[row, order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
