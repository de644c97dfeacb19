from __future__ import annotations

import numpy as np
import pytest

from worldmodels import calibration
from worldmodels.calibration import Isotonic, Kind, Platt
from worldmodels.core import ModelFault


def _balanced_scores(n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a class-balanced model: their odds are nine times those of the truth."""
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 9, n)
    labels = (rng.random(n) < truth).astype(int)
    return calibration.shift_prior(truth, 0.1, 0.5), labels


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_calibration_brings_scores_back_to_the_base_rate(kind: Kind) -> None:
    scores, labels = _balanced_scores()
    fitted = calibration.fit(kind, scores[::2], labels[::2])
    p = fitted.apply(scores[1::2])
    assert calibration.ece(scores[1::2], labels[1::2]) > 0.2
    assert calibration.ece(p, labels[1::2]) < 0.01
    assert calibration.brier(p, labels[1::2]) < calibration.brier(scores[1::2], labels[1::2])
    assert p.min() >= 0
    assert p.max() <= 1
    again = calibration.from_dict(fitted.to_dict())
    np.testing.assert_array_equal(again.apply(scores), fitted.apply(scores))


def test_platt_finds_the_shift() -> None:
    fitted = calibration.fit("platt", *_balanced_scores())
    assert isinstance(fitted, Platt)
    assert fitted.slope == pytest.approx(1, abs=0.1)
    assert fitted.intercept == pytest.approx(-np.log(9), abs=0.1)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_separable_and_extreme_scores_stay_finite(kind: Kind) -> None:
    fitted = calibration.fit(kind, np.array([0, 0, 0, 1, 1, 1.0]), np.array([0, 0, 0, 1, 1, 1]))
    p = fitted.apply(np.array([0.0, 0.5, 1.0]))
    assert np.isfinite(p).all()
    assert 0 < p[0] < p[2] < 1


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_scores_that_fall_with_the_labels_leave_the_base_rate_and_say_so(kind: Kind) -> None:
    scores, labels = _balanced_scores()
    fitted = calibration.fit(kind, 1 - scores, labels)
    p = fitted.apply(np.linspace(0, 1, 11))
    assert p == pytest.approx(np.full(11, labels.mean()))
    stored = fitted.to_dict()
    assert stored["note"] == calibration.FLAT
    assert calibration.from_dict(stored) == fitted
    assert "note" not in calibration.fit(kind, scores, labels).to_dict()


def test_none_is_the_score() -> None:
    fitted = calibration.fit("none", np.array([0.3]), np.array([1]))
    assert fitted.apply(np.array([0.3])).tolist() == [0.3]
    assert calibration.from_dict({}) == fitted


def test_one_class_cannot_be_fitted() -> None:
    with pytest.raises(ModelFault, match="two held-out rows of each class, found 3 positive and 0"):
        calibration.fit("platt", np.array([0.1, 0.2, 0.3]), np.array([1, 1, 1]))


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        pytest.param({"kind": "magic"}, "kind is 'magic'", id="kind"),
        pytest.param({"kind": "platt", "slope": 1.0}, "intercept must be", id="missing"),
        pytest.param(
            {"kind": "platt", "slope": float("nan"), "intercept": 0.0}, "slope must be", id="nan"
        ),
        pytest.param(
            {"kind": "platt", "slope": float("inf"), "intercept": 0.0}, "slope must be", id="inf"
        ),
        pytest.param(
            {"kind": "platt", "slope": -5.0, "intercept": 0.0},
            "slope must be within 0 and 1000, found -5",
            id="downhill",
        ),
        pytest.param(
            {"kind": "platt", "slope": 1e308, "intercept": 0.0}, "slope must be", id="absurd"
        ),
        pytest.param(
            {"kind": "platt", "slope": 1.0, "intercept": -1e9}, "intercept must be", id="shift"
        ),
        pytest.param(
            {"kind": "platt", "slope": True, "intercept": 0.0}, "slope must be a number", id="bool"
        ),
        pytest.param({"kind": "isotonic", "x": ["a"], "y": [0.5]}, "x must be numbers", id="text"),
        pytest.param({"kind": "isotonic", "x": [0.0, 1.0], "y": [1.0]}, "one length", id="length"),
        pytest.param({"kind": "isotonic", "x": [], "y": []}, "one length", id="empty"),
        pytest.param(
            {"kind": "isotonic", "x": [0.0, 1.0], "y": [0.9, 0.1]}, "rising", id="falling"
        ),
        pytest.param({"kind": "isotonic", "x": [0.0], "y": [2.0]}, r"in \[0, 1\]", id="beyond"),
    ],
)
def test_bad_stored_calibration(stored: dict[str, object], says: str) -> None:
    with pytest.raises(ModelFault, match=says):
        calibration.from_dict(stored)  # type: ignore[arg-type]


def test_isotonic_is_flat_beyond_its_points() -> None:
    curve = Isotonic((0.2, 0.4), (0.1, 0.5))
    assert curve.apply(np.array([0.0, 0.3, 1.0])).tolist() == pytest.approx([0.1, 0.3, 0.5])


def test_shift_prior_by_hand() -> None:
    # at p = 0.5 trained on half and half, the actual base rate itself comes out
    assert calibration.shift_prior(np.array([0.5]), 0.5, 0.1)[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("p", "labels", "expected"),
    [
        pytest.param([0.0, 1.0], [0, 1], 0.0, id="perfect"),
        pytest.param([1.0, 1.0], [0, 1], 0.5, id="half-wrong"),
        pytest.param([0.1, 0.9], [1, 0], 0.9, id="upside-down"),
        pytest.param([0.5, 0.5, 0.5, 0.5], [0, 1, 0, 1], 0.0, id="coin"),
    ],
)
def test_ece(p: list[float], labels: list[int], expected: float) -> None:
    assert calibration.ece(np.array(p), np.array(labels)) == pytest.approx(expected)


def test_sigmoid_and_logit_do_not_overflow() -> None:
    assert calibration.sigmoid(np.array([-1e4, 0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert np.isfinite(calibration.logit(np.array([0.0, 1.0]))).all()
    x = np.linspace(-10, 10, 21)
    np.testing.assert_allclose(calibration.logit(calibration.sigmoid(x)), x, atol=1e-9)


def test_no_rows() -> None:
    assert np.isnan(calibration.ece(np.array([]), np.array([])))
    assert np.isnan(calibration.brier(np.array([]), np.array([])))
