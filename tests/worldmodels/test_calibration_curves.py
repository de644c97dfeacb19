"""Properties of every calibration curve: monotone, in [0, 1], stored and read back, recovered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldmodels import calibration
from worldmodels.calibration import Beta, Kind, Temperature
from worldmodels.core import ModelFault

KINDS: tuple[Kind, ...] = ("none", "platt", "isotonic", "beta", "temperature")
GRID = np.concatenate([[0, 1e-12], np.linspace(0, 1, 301), [1 - 1e-12, 1]])
SORTED = np.sort(GRID)


def _drawn(p: np.ndarray, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(p)) < p).astype(int)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_fit_is_monotone_within_bounds_and_survives_storage(
    kind: Kind, data: st.DataObject
) -> None:
    n = data.draw(st.integers(4, 60))
    scores = np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[:4] = [0, 0, 1, 1]
    try:
        fitted = calibration.fit(kind, scores, labels)
    except ModelFault:
        assert kind == "temperature", "only a temperature may have no answer"
        return
    p = fitted.apply(SORTED)
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) >= -1e-15).all(), "the order of scores is never turned round"
    again = calibration.from_dict(fitted.to_dict())
    np.testing.assert_array_equal(again.apply(SORTED), p)


@pytest.mark.parametrize(
    ("kind", "truth"),
    [
        pytest.param("beta", Beta(0.5, 2.0, -0.7), id="beta-skewed"),
        pytest.param("beta", Beta(1.0, 1.0, 0.0), id="beta-identity"),
        pytest.param("beta", Beta(0.0, 1.5, -1.0), id="beta-one-part"),
        pytest.param("temperature", Temperature(2.5), id="softened"),
        pytest.param("temperature", Temperature(0.4), id="sharpened"),
    ],
)
def test_a_known_distortion_is_found(kind: Kind, truth: Beta | Temperature) -> None:
    scores = np.random.default_rng(1).random(200_000)
    fitted = calibration.fit(kind, scores, _drawn(truth.apply(scores)))
    assert type(fitted) is type(truth)
    inner = np.linspace(0.02, 0.98, 49)
    np.testing.assert_allclose(fitted.apply(inner), truth.apply(inner), atol=0.01)
    if isinstance(fitted, Beta) and isinstance(truth, Beta):
        found, made = (fitted.a, fitted.b, fitted.c), (truth.a, truth.b, truth.c)
        assert found == pytest.approx(made, abs=0.06)


def test_beta_keeps_its_slopes_from_falling() -> None:
    """Labels that fall with log s and rise with −log(1−s): the best a is 0, not negative."""
    scores = np.random.default_rng(2).random(50_000)
    low, high = np.log(scores), -np.log1p(-scores)
    labels = _drawn(calibration.sigmoid(-0.8 * low + 2.0 * high - 1))
    fitted = calibration.fit("beta", scores, labels)
    assert isinstance(fitted, Beta)
    assert fitted.a == 0
    assert fitted.b > 0.5
    best = _log_loss(fitted.apply(scores), labels)
    for a, b in ((0.0, fitted.b + 0.05), (0.05, fitted.b), (0.0, fitted.b - 0.05)):
        assert best < _log_loss(Beta(a, b, fitted.c).apply(scores), labels)


def _log_loss(p: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log1p(-p))))


def test_beta_of_scores_that_fall_is_flat_and_says_so() -> None:
    scores = np.random.default_rng(3).random(2000)
    labels = _drawn(1 - scores)
    fitted = calibration.fit("beta", scores, labels)
    assert fitted.apply(GRID) == pytest.approx(np.full(len(GRID), labels.mean()))
    assert fitted.to_dict()["note"] == calibration.FLAT


def test_a_temperature_that_does_not_exist_is_refused() -> None:
    scores = np.linspace(0.6, 0.9, 100)
    labels = (np.arange(100) % 10 == 0).astype(int)
    with pytest.raises(ModelFault, match=r"mean is 0\.750 and that of the labels 0\.100.*platt"):
        calibration.fit("temperature", scores, labels)


def test_beta_fits_what_platt_cannot() -> None:
    scores = np.random.default_rng(4).random(40_000)
    labels = _drawn(Beta(0.3, 3.0, -1.0).apply(scores))
    fit, rest = slice(None, None, 2), slice(1, None, 2)
    losses = {}
    for kind in ("platt", "beta"):
        p = calibration.fit(kind, scores[fit], labels[fit]).apply(scores[rest])
        losses[kind] = calibration.ece(p, labels[rest])
    assert losses["beta"] < 0.02 < losses["platt"]


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        pytest.param({"kind": "beta", "a": -1.0, "b": 1.0, "c": 0.0}, "calibration.a", id="fall"),
        pytest.param({"kind": "beta", "a": 1.0, "b": 1.0}, "calibration.c", id="no-c"),
        pytest.param({"kind": "beta", "a": 1.0, "b": float("nan"), "c": 0.0}, r"\.b", id="nan"),
        pytest.param({"kind": "temperature", "temperature": 0.0}, "within 0.001", id="zero"),
        pytest.param({"kind": "temperature", "temperature": "2"}, "a number", id="text"),
        pytest.param({"kind": "temperature"}, "a number", id="missing"),
    ],
)
def test_bad_stored_curves(stored: dict[str, object], says: str) -> None:
    with pytest.raises(ModelFault, match=says):
        calibration.from_dict(stored)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize(
    ("scores", "labels", "says"),
    [
        pytest.param([-2.0, 0.1, 0.7, 3.0], [0, 0, 1, 1], r"found -2 to 3", id="log-odds"),
        pytest.param([0.1, 0.2, 0.7, 1.1], [0, 0, 1, 1], r"found 0.1 to 1.1", id="beyond 1"),
        pytest.param([0.1, 0.2, 0.7, 0.9], [0, -1, 1, 1], "0 or 1, found -1", id="unknown label"),
        pytest.param([0.1, 0.2, 0.7, 0.9], [0, 0, 1, 2], "0 or 1, found 2", id="count"),
    ],
)
def test_what_is_no_score_or_no_label_is_refused(
    kind: Kind, scores: list[float], labels: list[int], says: str
) -> None:
    with pytest.raises(ModelFault, match=says):
        calibration.fit(kind, np.array(scores), np.array(labels))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_scores_that_are_no_numbers_are_refused(kind: Kind) -> None:
    scores = np.array([0.1, np.nan, 0.5, 0.9])
    with pytest.raises(ModelFault, match="4 scores \\(1 of them no number\\) for 4 labels"):
        calibration.fit(kind, scores, np.array([0, 0, 1, 1]))
