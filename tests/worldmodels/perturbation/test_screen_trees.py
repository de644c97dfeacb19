"""Boosted trees: scikit-learn's own answers, followed as complete trees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from worldmodels import metrics
from worldmodels.calibration import sigmoid
from worldmodels.calibration.reports import ece
from worldmodels.perturbation import screen_trees
from worldmodels.perturbation.screen_rows import Single
from worldmodels.perturbation.screen_trees import Trees


def _told(seed: int, n: int, inputs: int = 6) -> tuple[Single, np.ndarray]:
    """Inputs, one of whole numbers, and labels that follow the product of the first two."""
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(n, inputs)).astype(np.float32)
    columns[:, 2] = columns[:, 2].round()
    x, y = columns[:, 0], columns[:, 1]
    return columns, (rng.random(n) < sigmoid(3 * x * y + columns[:, 2] - 1)).astype(np.uint8)


@pytest.mark.parametrize("n", [60, 700, 5000], ids=["few rows", "some", "more than are asked once"])
def test_what_scikit_learn_says(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own function of the very trees that were taken apart, at thresholds too."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    grown: list[HistGradientBoostingClassifier] = []
    fit = HistGradientBoostingClassifier.fit

    def kept(self: HistGradientBoostingClassifier, *given: object) -> object:
        grown.append(self)
        return fit(self, *given)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", kept)
    columns, labels = _told(0, n)
    trees = screen_trees.fit(columns, labels, 0)
    asked = np.concatenate([_told(1, 500)[0], _at_thresholds(trees, columns[:50])])
    found = screen_trees.log_odds(trees, asked)
    np.testing.assert_allclose(found, grown[0].decision_function(asked), atol=2e-5)


def _at_thresholds(trees: Trees, columns: Single) -> Single:
    """Rows each of which has one input exactly at a node's threshold, or the next number above."""
    where = np.flatnonzero(np.isfinite(trees.threshold))[: len(columns)]
    rows = columns[: len(where)].copy()
    each = np.arange(len(where))
    rows[each, trees.feature.ravel()[where]] = trees.threshold.ravel()[where]
    above = rows.copy()
    above[each, trees.feature.ravel()[where]] = np.nextafter(
        trees.threshold.ravel()[where], np.float32(np.inf)
    )
    return np.concatenate([rows, above])


def test_trees_learn_what_a_sum_cannot() -> None:
    trees = screen_trees.fit(*_told(0, 8000), 0)
    columns, labels = _told(1, 4000)
    found = screen_trees.log_odds(trees, columns)
    assert metrics.auroc(labels, found) > 0.8
    assert ece(sigmoid(found), labels) < 0.05
    assert metrics.auroc(labels, columns[:, 2]) < 0.72


def test_a_row_is_the_same_alone_and_in_any_batch() -> None:
    trees = screen_trees.fit(*_told(0, 900), 0)
    columns, _ = _told(1, screen_trees.ASKED_AT_ONCE + 3)
    found = screen_trees.log_odds(trees, columns)
    for row in (0, 5, screen_trees.ASKED_AT_ONCE, len(columns) - 1):
        assert screen_trees.log_odds(trees, columns[row : row + 1])[0] == found[row]


def test_trees_are_the_same_for_a_seed() -> None:
    told = _told(0, 900)
    one, again, other = (screen_trees.fit(*told, seed) for seed in (5, 5, 6))
    for part in dataclasses.fields(one):
        a, b = getattr(one, part.name), getattr(again, part.name)
        np.testing.assert_array_equal(a, b, strict=True)
    assert (one.feature != other.feature).any()


def test_inputs_that_say_nothing_give_the_base_rate() -> None:
    columns = np.ones((100, 3), np.float32)
    labels = (np.arange(100) < 20).astype(np.uint8)
    trees = screen_trees.fit(columns, labels, 0)
    np.testing.assert_allclose(sigmoid(screen_trees.log_odds(trees, columns)), 0.2, atol=1e-6)
