"""Heads: figures of rows that the curve was not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodels import calibration, metrics
from worldmodels.calibration import sigmoid
from worldmodels.perturbation import screen_heads, screen_nets, screen_trees
from worldmodels.perturbation.screen_ensemble import together
from worldmodels.perturbation.screen_heads import Asked


def _asked(log_odds: np.ndarray, readout: np.ndarray, seed: int = 0) -> Asked:
    """Rows of 20 perturbations in 4 folds, labelled by chance."""
    n = len(log_odds)
    labels = (np.random.default_rng(seed).random(n) < sigmoid(log_odds)).astype(np.uint8)
    perturbation = np.arange(n) % 20
    line = np.zeros(n, np.intp)
    return Asked(np.arange(n), labels, line, perturbation % 4, perturbation, readout)


def test_calibration_is_judged_on_perturbations_that_the_curve_did_not_see() -> None:
    draw = np.random.default_rng(1)
    log_odds = draw.normal(size=200)
    asked = _asked(log_odds, np.arange(200) // 20)
    found = screen_heads.judge(log_odds, asked, seed=0)
    raw = sigmoid(log_odds)
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
    log_odds = np.random.default_rng(1).normal(size=200)
    found = screen_heads.judge(log_odds, _asked(log_odds, np.arange(200)), seed=0)
    assert np.isnan(found.figures["per_gene_auroc"])
    assert found.figures["auroc"] > 0.5


def test_rows_are_judged_by_an_ensemble_that_never_saw_them() -> None:
    """Labels that are no more than noise: what is held out cannot be told, what was seen could."""
    draw = np.random.default_rng(1)
    columns = draw.normal(size=(600, 40)).astype(np.float32)
    asked = _asked(np.zeros(600), np.arange(600) // 20)
    found, log_odds = screen_heads.ensemble(columns, asked, seed=0)
    assert len(found.nets) == screen_heads.NETS
    assert abs(metrics.auroc(asked.labels, log_odds) - 0.5) < 0.08
    nets = np.mean([screen_nets.log_odds(net, columns) for net in found.nets], axis=0)
    trees = screen_trees.log_odds(found.trees, columns)
    for seen in (nets, trees, together([nets, trees])):
        assert metrics.auroc(asked.labels, seen) > 0.7
