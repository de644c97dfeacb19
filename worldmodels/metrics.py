"""How well probabilities match measured labels: PerturbQA's per-gene AUROC and its companions.

Per-gene AUROC is the mean over readouts of the AUROC across perturbations, readouts with a single
class skipped (PerturbQA, Wu et al. 2025): it is blind to how often a readout changes, which is what
a perturbation-blind table already knows. Limits: binary labels; a figure that is not defined (one
class only) is NaN, and left out of ``figures``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration
from worldmodels.core import Floats

Array = NDArray[np.floating]
Labels = NDArray[np.integer] | NDArray[np.bool_]
Groups = NDArray[np.integer]


def auroc_of_each(groups: Groups, labels: Labels, scores: Array) -> Floats:
    """AUROC within each group, ties counted half; NaN where a group has one class.

    Args:
        groups: shape (n,), codes from 0 on.
        labels: shape (n,), 0 or 1.
        scores: shape (n,).

    Returns:
        Shape (largest code + 1,).
    """
    size = int(groups.max()) + 1 if len(groups) else 0
    order = np.lexsort((scores, groups))
    of, score = groups[order], scores[order]
    hit = np.asarray(labels, np.float64)[order]
    fresh = np.ones(len(of), bool)
    fresh[1:] = (of[1:] != of[:-1]) | (score[1:] != score[:-1])
    run = np.cumsum(fresh) - 1
    ends = np.append(np.flatnonzero(fresh), len(of))
    middle = (ends[:-1] + ends[1:] + 1) / 2  # mean rank of a run of ties, ranks from 1
    counts = np.bincount(of, minlength=size)
    before = np.cumsum(counts) - counts
    ranks = middle[run] - before[of]
    positives = np.bincount(of, hit, size)
    negatives = counts - positives
    sums = np.bincount(of, ranks * hit, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        area = (sums - positives * (positives + 1) / 2) / (positives * negatives)
    return np.where((positives > 0) & (negatives > 0), area, np.nan)


def per_gene_auroc(readouts: Groups, labels: Labels, scores: Array) -> float:
    """PerturbQA's official figure; NaN if no readout has both classes."""
    each = auroc_of_each(readouts, labels, scores)
    each = each[~np.isnan(each)]
    return float(each.mean()) if len(each) else float("nan")


def auroc(labels: Labels, scores: Array) -> float:
    """AUROC over all rows; NaN for a single class."""
    area = auroc_of_each(np.zeros(len(scores), np.intp), labels, scores)
    return float(area[0]) if len(area) else float("nan")


def standard_error(
    readouts: Groups,
    labels: Labels,
    scores: Array,
    perturbations: Groups,
    *,
    resamples: int = 200,
    seed: int = 0,
) -> float:
    """Standard error of the per-gene AUROC: bootstrap over perturbations (Efron 1979).

    Rows of one perturbation share its features, so perturbations are drawn, not rows: each draw
    gives a row the weight of how often its perturbation was drawn, and the AUROCs are weighted.

    Args:
        readouts: shape (n,), codes from 0 on.
        labels: shape (n,), 0 or 1.
        scores: shape (n,).
        perturbations: shape (n,), codes from 0 on.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        NaN where fewer than two draws have a readout with both classes.
    """
    told = ~np.isnan(auroc_of_each(readouts, labels, scores))
    kept = np.flatnonzero(told[readouts]) if len(readouts) else np.zeros(0, np.intp)
    if not len(kept):
        return float("nan")
    weighted = _Weighted(readouts[kept], labels[kept], scores[kept])
    names, of_row = np.unique(perturbations[kept], return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        drawn.append(weighted.mean(times[of_row].astype(np.float64)))
    found = np.array(drawn)[np.isfinite(drawn)]
    return float(found.std(ddof=1)) if len(found) > 1 else float("nan")


class _Weighted:
    """Per-gene AUROC of rows with weights; sorted once, for any number of weights."""

    def __init__(self, groups: Groups, labels: Labels, scores: Array) -> None:
        self._order = np.lexsort((scores, groups))
        of, score = groups[self._order], scores[self._order]
        self._hit = np.asarray(labels, np.float64)[self._order]
        new_group = np.append(True, of[1:] != of[:-1])
        new_run = new_group | np.append(True, score[1:] != score[:-1])
        run, starts = np.cumsum(new_run) - 1, np.flatnonzero(new_run)
        ends = np.append(starts[1:], len(of))
        self._run_start, self._run_end = starts[run], ends[run]
        self._start = np.flatnonzero(new_group)
        self._end = np.append(self._start[1:], len(of))

    def mean(self, weights: Array) -> float:
        w = weights[self._order]
        positive = w * self._hit
        below = np.append(0.0, np.cumsum(w - positive))
        beaten = positive * (below[self._run_start] + below[self._run_end]) / 2
        wins, hits = np.append(0.0, np.cumsum(beaten)), np.append(0.0, np.cumsum(positive))
        ones = hits[self._end] - hits[self._start]
        zeros = below[self._end] - below[self._start]
        won = wins[self._end] - wins[self._start] - ones * below[self._start]
        both = (ones > 0) & (zeros > 0)
        return float((won[both] / (ones[both] * zeros[both])).mean()) if both.any() else np.nan


def roc(labels: Labels, scores: Array, fpr: Array) -> Floats:
    """True positive rates at the given false positive rates, ties as straight lines.

    Returns:
        Shape of ``fpr``; NaN for a single class.
    """
    truth = np.asarray(labels, bool)
    ones, zeros = int(truth.sum()), int((~truth).sum())
    if not ones or not zeros:
        return np.full(len(fpr), np.nan)
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    score, hit = np.asarray(scores)[order], truth[order]
    last = np.append(score[1:] != score[:-1], True)
    tpr = np.append(0.0, np.cumsum(hit)[last] / ones)
    return np.asarray(np.interp(fpr, np.append(0.0, np.cumsum(~hit)[last] / zeros), tpr))


def decisions(labels: Labels, p: Array, threshold: float = 0.5) -> dict[str, float]:
    """F1, MCC, balanced accuracy, TPR and TNR of "p ≥ threshold"; NaN where undefined."""
    truth, said = np.asarray(labels, bool), np.asarray(p) >= threshold
    tp, tn = float((truth & said).sum()), float((~truth & ~said).sum())
    fp, fn = float((~truth & said).sum()), float((truth & ~said).sum())
    tpr, tnr = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    spread = float(np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))
    return {
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "mcc": _ratio(tp * tn - fp * fn, spread),
        "balanced_accuracy": (tpr + tnr) / 2,
        "tpr": tpr,
        "tnr": tnr,
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def figures(
    readouts: Groups, labels: Labels, p: Array, raw: Array | None = None
) -> dict[str, float]:
    """Every figure of a card that needs labels and probabilities only.

    Args:
        readouts: shape (n,), codes from 0 on.
        labels: shape (n,), 0 or 1.
        p: shape (n,), calibrated probabilities.
        raw: shape (n,), scores before calibration, for the "before" figures.
    """
    found = {
        "n": float(len(p)),
        "base_rate": float(np.mean(labels)) if len(p) else float("nan"),
        "per_gene_auroc": per_gene_auroc(readouts, labels, p),
        "auroc": auroc(labels, p),
        **decisions(labels, p),
        "ece": calibration.ece(p, labels),
        "brier": calibration.brier(p, labels),
    }
    if raw is not None:
        found["ece_before"] = calibration.ece(raw, labels)
        found["brier_before"] = calibration.brier(raw, labels)
    return {name: value for name, value in found.items() if not np.isnan(value)}
