"""From normalised PMI to the probability that a pair is detected together in unseen cells.

The cells were split in two halves. n comes from half A; a pair's label comes from half B: is it
detected together above chance there (one-sided Fisher exact test, Benjamini-Hochberg q < 0.05,
J. R. Stat. Soc. B 57:289, 1995)? The genes are split too: one set fits, a second chooses between
Platt and isotonic by Brier score, a third, whose genes the curve has never seen, gives the figures.

Limits: what counts as "above chance" grows with the number of cells of half B, so p holds for that
many cells and the manifest states them with the base rate; sequencing depth that differs between
cells counts as co-detection; two halves of one experiment share its batch. The served n comes from
all cells while the curve was fitted on n of half of them: n is then less noisy than the curve
assumes, and p errs towards the base rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration
from worldmodels.calibration import Calibrator, Kind
from worldmodels.core import Floats
from worldmodels.expression.pmi import Table, chance_of_overlap
from worldmodels.manifest import Value
from worldmodels.metrics import auroc

FEWEST_CELLS: Final = 400
"""Two halves of 200: below that hardly any pair is above chance."""
FEWEST_GENES: Final = 100
FEWEST_OF_EACH: Final = 20
"""Pairs of either label that each of the three sets must hold."""
FALSE_DISCOVERY_RATE: Final = 0.05
SHARES: Final = (0.5, 0.25, 0.25)
"""Of the genes: to fit, to choose, to report."""
MOST_PAIRS: Final = 100_000
"""Pairs per set; more are sampled down to it."""
KINDS: Final[tuple[Kind, ...]] = ("isotonic", "platt")

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibrator, what the manifest says of it, and its figures on pairs of unseen genes.

    Attributes:
        calibrator: what turns n into p.
        stated: the manifest's ``[calibration]``.
        figures: n (pairs), base_rate, auroc, ece, brier, ece_before, brier_before; empty where
            nothing was fitted.
        reason: why nothing was fitted; ``""`` where it was.
    """

    calibrator: Calibrator
    stated: Mapping[str, Value]
    figures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Pairs:
    n: Floats
    labels: NDArray[np.bool_]

    @property
    def rarer(self) -> int:
        positives = int(self.labels.sum())
        return min(positives, len(self.labels) - positives)


def uncalibrated(reason: str) -> Calibrated:
    """Leave p = n, and say why."""
    return Calibrated(calibration.Uncalibrated(), {"kind": "none", "reason": reason}, reason=reason)


def too_small(cells: int, genes: int) -> str:
    """Why so little data cannot be split for calibration; ``""`` if it can."""
    if cells >= FEWEST_CELLS and genes >= FEWEST_GENES:
        return ""
    return (
        f"{cells} cells and {genes} genes are too few to split for calibration "
        f"(at least {FEWEST_CELLS} and {FEWEST_GENES})"
    )


def calibrate(n: NDArray[np.float16], counts: Table, cells: int, seed: int) -> Calibrated:
    """Fit n of one half of the cells to the labels of the other.

    Args:
        n: genes × genes, normalised PMI from half A.
        counts: genes × genes, co-detections in half B, each gene's own count on the diagonal.
        cells: number of cells in half B.
        seed: of the split of genes and of the sample of pairs.
    """
    rng = np.random.default_rng(seed)
    bounds = np.cumsum(np.multiply(SHARES, len(n)).astype(int))[:-1]
    sets = [_pairs(genes, rng) for genes in np.split(rng.permutation(len(n)), bounds)]
    labels = _labels(counts, cells, np.concatenate([*sets], axis=1))
    ends = np.cumsum([pairs.shape[1] for pairs in sets])[:-1]
    fit, choose, report = (
        _Pairs(n[first, second].astype(np.float64), label)
        for (first, second), label in zip(sets, np.split(labels, ends), strict=True)
    )
    if (rarer := min(part.rarer for part in (fit, choose, report))) < FEWEST_OF_EACH:
        return uncalibrated(
            f"one set of genes has only {rarer} pairs that are (or are not) detected together "
            f"above chance in {cells} held-out cells, and calibration needs {FEWEST_OF_EACH}"
        )
    fitted = [calibration.fit(kind, fit.n, fit.labels) for kind in KINDS]
    best = min(fitted, key=lambda c: calibration.brier(c.apply(choose.n), choose.labels))
    stated: dict[str, Value] = {
        **best.to_dict(),
        "positive": "detected together above chance in held-out cells (one-sided Fisher exact "
        f"test, Benjamini-Hochberg q < {FALSE_DISCOVERY_RATE})",
        "cells": cells,
        "pairs": len(fit.labels),
        "seed": seed,
    }
    return Calibrated(best, stated, _figures(best, report))


def _figures(calibrator: Calibrator, pairs: _Pairs) -> dict[str, float]:
    p = calibrator.apply(pairs.n)
    return {
        "n": float(len(p)),
        "base_rate": float(pairs.labels.mean()),
        "auroc": auroc(pairs.labels, p),
        "ece": calibration.ece(p, pairs.labels),
        "brier": calibration.brier(p, pairs.labels),
        "ece_before": calibration.ece(pairs.n, pairs.labels),
        "brier_before": calibration.brier(pairs.n, pairs.labels),
    }


def _pairs(genes: Indices, rng: np.random.Generator) -> Indices:
    """All pairs within a set of genes, or a sample of them. Shape (2, pairs)."""
    total = len(genes) * (len(genes) - 1) // 2
    size = min(total, MOST_PAIRS)
    k = np.sort(rng.choice(total, size, replace=False)) if size < total else np.arange(total)
    second = ((1 + np.sqrt(1 + 8.0 * k)) // 2).astype(np.int64)  # k counts a triangle row by row
    first = k - second * (second - 1) // 2
    return np.stack([genes[first], genes[second]])


def _labels(counts: Table, cells: int, pairs: Indices) -> NDArray[np.bool_]:
    """Which pairs are detected together above chance, false discoveries kept to 5 %."""
    from scipy.stats import false_discovery_control

    alone = np.diagonal(counts)
    first, second = pairs
    p = chance_of_overlap(counts[first, second], alone[first], alone[second], cells)
    return np.asarray(false_discovery_control(p) < FALSE_DISCOVERY_RATE)
