"""Heads: figures of rows that the curve was not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodels import calibration
from worldmodels.calibration import sigmoid
from worldmodels.perturbation import screen_heads
from worldmodels.perturbation.screen_heads import Asked


def _asked(log_odds: np.ndarray, readout: np.ndarray, seed: int = 0) -> Asked:
    """Rows of 20 perturbations in 4 folds, labelled by chance."""
    n = len(log_odds)
    labels = (np.random.default_rng(seed).random(n) < sigmoid(log_odds)).astype(np.uint8)
    perturbation = np.arange(n) % 20
    return Asked(np.arange(n), labels, perturbation % 4, perturbation, readout)


def test_calibration_is_judged_on_perturbations_that_the_curve_did_not_see() -> None:
    draw = np.random.default_rng(1)
    log_odds = draw.normal(size=(2, 200))
    asked = _asked(log_odds.mean(axis=0), np.arange(200) // 20)
    found = screen_heads.judge(log_odds, asked, seed=0)
    raw = sigmoid(found.head.weights @ log_odds + found.head.intercept)
    fold = calibration.by_group(asked.perturbation.astype(str), folds=5, seed=0)
    p = np.empty(200)
    for one in range(5):
        inside = fold == one
        curve = calibration.fit(screen_heads.CURVE, raw[~inside], asked.labels[~inside])
        p[inside] = curve.apply(raw[inside])
    assert found.figures["brier"] == pytest.approx(calibration.brier(p, asked.labels))
    assert found.figures["ece"] == pytest.approx(calibration.ece(p, asked.labels))
    assert found.figures["brier"] > calibration.brier(found.p, asked.labels)


def test_readouts_that_are_listed_once_have_no_auroc_and_no_warning() -> None:
    log_odds = np.random.default_rng(1).normal(size=(2, 200))
    found = screen_heads.judge(log_odds, _asked(log_odds[0], np.arange(200)), seed=0)
    assert np.isnan(found.figures["per_gene_auroc"])
    assert found.figures["auroc"] > 0.5
