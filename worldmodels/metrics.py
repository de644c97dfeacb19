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
