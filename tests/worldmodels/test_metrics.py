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


def test_weights_count_as_repeated_rows() -> None:
    rng = np.random.default_rng(2)
    groups, labels = rng.integers(0, 5, 200), rng.integers(0, 2, 200)
    scores = rng.integers(0, 6, 200) / 5  # many ties
    weights = rng.integers(0, 4, 200)
    repeated = np.repeat(np.arange(200), weights)
    expected = metrics.per_gene_auroc(groups[repeated], labels[repeated], scores[repeated])
    found = metrics._Weighted(groups, labels, scores).mean(weights.astype(float))
    assert found == pytest.approx(expected)


def test_the_standard_error_counts_perturbations_not_rows() -> None:
    """Ten times the rows of the same perturbations make it no surer."""
    rng = np.random.default_rng(3)
    perturbation = np.repeat(np.arange(50), 4)
    readout = np.tile(np.arange(4), 50)
    labels = rng.integers(0, 2, 200)
    scores = labels + rng.normal(0, 1.5, 200)
    few = metrics.standard_error(readout, labels, scores, perturbation, resamples=200)
    many = [np.tile(column, 10) for column in (readout, labels, scores, perturbation)]
    assert metrics.standard_error(*many, resamples=200) == pytest.approx(few)
    assert 0.01 < few < 0.1
    assert metrics.standard_error(readout, labels, scores, perturbation, resamples=200) == few


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        pytest.param([1, 1, 1], [0, 0, 0], id="one class"),
        pytest.param([1, 0], [0, 1], id="one class in each readout"),
        pytest.param([], [], id="no row"),
    ],
)
def test_no_standard_error_without_an_auroc(labels: list[int], groups: list[int]) -> None:
    codes, truth = np.array(groups, np.intp), np.array(labels, np.intp)
    scores = np.linspace(0, 1, len(labels))
    perturbations = np.arange(len(labels))
    assert np.isnan(metrics.standard_error(codes, truth, scores, perturbations))


def test_the_area_under_the_roc_is_the_auroc() -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 400)
    scores = (labels + rng.normal(0, 1, 400)).round(1)  # ties
    grid = np.linspace(0, 1, 20_001)
    rates = metrics.roc(labels, scores, grid)
    area = ((rates[1:] + rates[:-1]) / 2 * np.diff(grid)).sum()
    assert area == pytest.approx(metrics.auroc(labels, scores), abs=1e-3)
    assert np.isnan(metrics.roc(np.ones(3), np.arange(3), grid)).all()
