"""Splits by perturbation, and figures of a curve on rows it was not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodels import calibration, manifest
from worldmodels.core import ModelFault

GROUPS = [f"G{i % 40}" for i in range(4000)]


def _scores() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 4, 4000)
    return calibration.shift_prior(truth, 0.2, 0.5), (rng.random(4000) < truth).astype(int)


@pytest.mark.parametrize("folds", [2, 5, 40])
def test_no_perturbation_is_in_two_folds(folds: int) -> None:
    fold = calibration.by_group(GROUPS, folds=folds, seed=1)
    homes = {(group, int(at)) for group, at in zip(GROUPS, fold, strict=True)}
    assert len(homes) == 40
    assert sorted(set(fold.tolist())) == list(range(folds))
    sizes = np.bincount([at for _, at in homes])
    assert sizes.max() - sizes.min() <= 1


def test_a_share_of_the_perturbations_is_held_out() -> None:
    side = calibration.by_group(GROUPS, share=0.25, seed=3)
    assert len(set(np.array(GROUPS)[side == 1])) == 10
    assert not set(np.array(GROUPS)[side == 1]) & set(np.array(GROUPS)[side == 0])


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    a = calibration.by_group(GROUPS, folds=5, seed=0)
    b = calibration.by_group(GROUPS[::-1], folds=5, seed=0)[::-1]
    np.testing.assert_array_equal(a, b)
    assert (a != calibration.by_group(GROUPS, folds=5, seed=1)).any()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        pytest.param({}, "either folds or share", id="neither"),
        pytest.param({"folds": 2, "share": 0.5}, "either folds or share", id="both"),
        pytest.param({"folds": 1}, "1 folds", id="one-fold"),
        pytest.param({"folds": 41}, "40 perturbations cannot", id="too-many"),
        pytest.param({"share": 0.001}, "one side empty", id="tiny-share"),
        pytest.param({"share": 1.0}, "one side empty", id="all"),
        pytest.param({"share": float("nan")}, "one side empty", id="nan"),
    ],
)
def test_splits_that_cannot_be(how: dict[str, float], says: str) -> None:
    with pytest.raises((ModelFault, ValueError), match=f"{says}|NaN"):
        calibration.by_group(GROUPS, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["platt", "isotonic", "beta"])
@pytest.mark.parametrize("way", ["held out", "cross-fitted"])
def test_a_report_is_of_rows_the_curve_has_not_seen(kind: calibration.Kind, way: str) -> None:
    scores, labels = _scores()
    side = calibration.by_group(GROUPS, share=0.5) == 1 if way == "held out" else None
    fitted = calibration.fit_reported(kind, scores, labels, GROUPS, held_out=side)
    report = fitted.report
    assert report.n == (4000 if side is None else int(side.sum()))
    assert report.ece < 0.03 < 0.2 < report.ece_before
    assert report.brier < report.brier_before
    assert ("held-out" if side is not None else "cross-fitted") in report.judged
    expected = labels if side is None else labels[side]
    assert report.base_rate == pytest.approx(expected.mean())


def test_cross_fitting_does_not_flatter_a_curve_that_learnt_by_heart() -> None:
    """Scores that tell the perturbation and nothing else: in sample isotonic looks perfect."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(100), 20)
    rates = rng.random(100)
    labels = (rng.random(2000) < rates[groups]).astype(int)
    scores = ((groups + 0.5) / 100)[::1]
    curve = calibration.fit("isotonic", scores, labels)
    fitted = calibration.fit_reported("isotonic", scores, labels, groups)
    assert fitted.curve == curve, "what is served is fitted on all rows"
    assert fitted.report.brier > calibration.brier(curve.apply(scores), labels)


def test_a_report_is_stored_beside_its_curve_in_a_manifest(tmp_path) -> None:  # type: ignore[no-untyped-def]
    scores, labels = _scores()
    fitted = calibration.fit_reported("beta", scores, labels, GROUPS)
    stated = manifest.Manifest(
        name="m",
        family="fake",
        version="1",
        relations=("perturbation.de",),
        calibration=fitted.to_dict(),
    )
    path = tmp_path / manifest.FILE
    path.write_text(manifest.to_toml(stated))
    read = manifest.read(path)[0].calibration
    assert calibration.from_dict(read) == fitted.curve
    assert calibration.report_from_dict(read) == fitted.report
    assert calibration.report_from_dict(fitted.curve.to_dict()) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({"ece": "small"}, "calibration.ece must be a number", id="text"),
        pytest.param({"brier": float("nan")}, "calibration.brier", id="nan"),
        pytest.param({"judged": 3}, "calibration.judged", id="judged"),
    ],
)
def test_a_damaged_report_is_refused(change: dict[str, object], says: str) -> None:
    scores, labels = _scores()
    stored = {**calibration.fit_reported("platt", scores, labels, GROUPS).to_dict(), **change}
    with pytest.raises(ModelFault, match=says):
        calibration.report_from_dict(stored)  # type: ignore[arg-type]


def test_a_split_that_leaks_perturbations_is_refused() -> None:
    scores, labels = _scores()
    pairs = np.random.default_rng(0).random(4000) < 0.5
    with pytest.raises(ModelFault, match=r"40 perturbations are both .* \(G0, G1, G10\)"):
        calibration.fit_reported("platt", scores, labels, GROUPS, held_out=pairs)


def test_no_rows_cannot_be_judged() -> None:
    empty = np.array([])
    with pytest.raises(ModelFault, match="cannot be judged on no rows"):
        calibration.report(empty, empty, empty.astype(int), "none")
