from __future__ import annotations

import numpy as np
import pytest

from worldmodels import metrics


def _by_hand(labels: np.ndarray, scores: np.ndarray) -> float:
    """The share of (positive, negative) pairs in the right order, ties counted half."""
    gaps = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    return float(((gaps > 0) + 0.5 * (gaps == 0)).mean())


def test_auroc_of_each_against_its_definition() -> None:
    rng = np.random.default_rng(0)
    groups, labels = rng.integers(0, 12, 600), rng.integers(0, 2, 600)
    scores = rng.integers(0, 9, 600) / 8  # many ties
    labels[groups == 3] = 1
    groups[groups == 5] = 6
    each = metrics.auroc_of_each(groups, labels, scores)
    assert np.isnan(each[[3, 5]]).all(), "one class, and no row"
    for group in set(range(12)) - {3, 5}:
        mine = groups == group
        assert each[group] == pytest.approx(_by_hand(labels[mine], scores[mine]))
    assert metrics.per_gene_auroc(groups, labels, scores) == pytest.approx(np.nanmean(each))
    assert metrics.auroc(labels, scores) == pytest.approx(_by_hand(labels, scores))


def test_a_perturbation_blind_score_is_half_per_gene_however_good_over_all() -> None:
    rng = np.random.default_rng(1)
    rate = rng.random(40)
    groups = np.repeat(np.arange(40), 50)
    labels = (rng.random(2000) < rate[groups]).astype(int)
    assert metrics.auroc(labels, rate[groups]) > 0.75
    assert metrics.per_gene_auroc(groups, labels, rate[groups]) == 0.5


def test_decisions_by_hand() -> None:
    found = metrics.decisions(np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.5, 0.1, 0.8, 0.2]))
    assert found["tpr"] == pytest.approx(2 / 3)
    assert found["tnr"] == pytest.approx(1 / 2)
    assert found["balanced_accuracy"] == pytest.approx(7 / 12)
    assert found["f1"] == pytest.approx(2 / 3)
    assert found["mcc"] == pytest.approx((2 * 1 - 1 * 1) / 6)


@pytest.mark.parametrize(
    ("labels", "left_out"),
    [
        pytest.param([1, 1], {"per_gene_auroc", "auroc", "mcc", "tnr"}, id="one-class"),
        pytest.param([], {"auroc", "f1", "ece", "brier", "base_rate"}, id="no-rows"),
    ],
)
def test_undefined_figures_are_left_out(labels: list[int], left_out: set[str]) -> None:
    n = len(labels)
    found = metrics.figures(np.zeros(n, int), np.array(labels, int), np.full(n, 0.6))
    assert not left_out & set(found)
    assert found["n"] == n
