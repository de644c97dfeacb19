"""Thresholds of lift: coverage is reached, blind guesses gain nothing, bad cards prove nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from worldmodels import calibration, reliability
from worldmodels.core import ModelFault
from worldmodels.reliability import COVERAGES, NEVER, measure


def screen(seed=0, perturbations=400, readouts=60):
    """Calibrated probabilities of a screen with common and rare, well and badly known readouts."""
    draw = np.random.default_rng(seed)
    base = draw.normal(-2.5, 1.5, readouts)
    spread = draw.uniform(0.1, 2.0, readouts)
    p = calibration.sigmoid(base + spread * draw.standard_exponential((perturbations, readouts)))
    p0 = np.broadcast_to(p.mean(0), p.shape)
    return p.ravel(), p0.ravel().copy()


def told(level, p, p0):
    lift = calibration.logit(p) - calibration.logit(p0)
    return np.array([level.answers(*row) for row in zip(lift, p0, strict=True)])


def score(p, p0):
    return 0.5 + 0.5 * (p - p0) / np.maximum(p0, 1 - p0)


@pytest.mark.parametrize("index", range(len(COVERAGES)), ids=map(str, COVERAGES))
def test_each_coverage_is_reached_in_balance(index):
    p, p0 = screen()
    level = measure(p, p0)[index]
    answered = told(level, p, p0)
    assert level.coverage == COVERAGES[index]
    assert answered.mean() <= level.coverage
    assert answered.mean() > 0.9 * level.coverage
    assert score(p, p0)[answered].mean() == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("index", range(1, len(COVERAGES)), ids=map(str, COVERAGES[1:]))
def test_on_other_perturbations_a_blind_policy_gains_nothing(index):
    """Also one that has learnt on the card's rows which answer pays at which p0."""
    level = measure(*screen(seed=0))[index]
    p, p0 = screen(seed=0, perturbations=4000)
    answered = told(level, p, p0)
    earned = score(p, p0)[answered]
    band = np.digitize(p0[answered], level.edges)
    best = sum(max(earned[band == b].sum(), (1 - earned[band == b]).sum()) for b in set(band))
    assert abs(earned.mean() - 0.5) < 0.02
    assert best / len(earned) < 0.53


def test_thresholds_on_the_size_of_the_lift_alone_would_pay_a_blind_policy():
    """What this module is for: the same coverage by one threshold is out of balance."""
    p, p0 = screen()
    lift = np.abs(calibration.logit(p) - calibration.logit(p0))
    answered = lift >= np.quantile(lift, 0.95)
    assert abs(score(p, p0)[answered].mean() - 0.5) > 0.05


def test_a_baseline_that_is_not_the_mean_is_brought_into_balance():
    p, p0 = screen()
    p0 = np.clip(p0 * 1.1, 0, 1)
    level = measure(p, p0, [1.0])[0]
    assert abs(score(p, p0).mean() - 0.5) > 0.005
    assert score(p, p0)[told(level, p, p0)].mean() == pytest.approx(0.5, abs=0.002)


@pytest.mark.parametrize(
    ("p", "p0"),
    [
        pytest.param([0.3] * 200, [0.3] * 200, id="no lift at all"),
        pytest.param([0.4] * 200, [0.3] * 200, id="one side only"),
        pytest.param([0.4], [0.3], id="one row"),
    ],
)
def test_where_there_is_nothing_to_choose_between_nothing_is_answered(p, p0):
    for level in measure(np.array(p), np.array(p0)):
        assert set(level.below) == {-NEVER}
        assert set(level.above) == {NEVER}


@pytest.mark.parametrize(
    ("p", "p0"),
    [
        pytest.param([], [], id="empty"),
        pytest.param([0.1, 0.2], [0.1], id="lengths"),
        pytest.param([0.1, np.nan], [0.1, 0.1], id="NaN"),
        pytest.param([0.1, 1.2], [0.1, 0.1], id="beyond 1"),
    ],
)
def test_what_is_no_probability_is_refused(p, p0):
    with pytest.raises(ModelFault):
        measure(np.array(p), np.array(p0))


@pytest.mark.parametrize(
    ("p0", "bands"),
    [
        pytest.param(np.linspace(0.1, 0.9, 1010), 10, id="no ties"),
        pytest.param(np.linspace(0.1, 0.9, 199), 1, id="too few for two"),
        pytest.param(np.repeat([0.05, 0.1, 0.2], [5, 945, 50]), 1, id="few at either end"),
        pytest.param(np.repeat([0.05, 0.1, 0.2, 0.3], [199, 1, 400, 400]), 3, id="a lone value"),
        pytest.param(np.repeat([0.1, 0.2], [500, 500]), 2, id="two values"),
    ],
)
def test_every_band_has_its_rows(p0, bands):
    p = calibration.sigmoid(calibration.logit(p0) + np.resize([-1.0, 1.0], len(p0)))
    edges = measure(p, p0)[0].edges
    rows = np.bincount(np.searchsorted(edges, p0, side="right"), minlength=len(edges) + 1)
    assert len(rows) == bands
    assert rows.min() >= min(reliability.LEAST, len(p0))


def test_lines_with_too_few_rows_prove_nothing():
    p, p0 = screen(perturbations=10, readouts=20)
    line = np.array([0] * 150 + [1] * 50)
    found = reliability.by_line(["k562", "rpe1"], line, p, p0)
    assert set(found) == {"", "k562"}
    assert reliability.by_line(["k562"], line, p, None) == {}


LEVEL = {"coverage": 0.2, "edges": [0.1], "below": [-1, -1], "above": [1, 2]}


def card(**changes):
    return {
        "model": {"digest": "sha256:1"},
        "evidence": True,
        "sections": [
            {
                "relation": "perturbation.de",
                "reliable": {"k562": [LEVEL | changes.pop("level", {})]},
            }
        ],
        **changes,
    }


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="no card"),
        pytest.param("{", id="damaged"),
        pytest.param(json.dumps(card(model={"digest": "sha256:2"})), id="of other weights"),
        pytest.param(json.dumps(card(evidence=False)), id="made of training rows"),
        pytest.param(json.dumps(card(evidence="unverified")), id="nobody knows of what"),
        pytest.param(json.dumps(card(level={"below": [1.0]})), id="a band without a threshold"),
        pytest.param(json.dumps(card(level={"edges": ["x"]})), id="not a number"),
        pytest.param(json.dumps(card(level={"coverage": 2})), id="more than all"),
        pytest.param(json.dumps(card(sections=[])), id="nothing"),
    ],
)
def test_a_card_that_is_no_evidence_proves_nothing(tmp_path, text):
    path = tmp_path / "card.json"
    if text is not None:
        path.write_text(text)
    assert reliability.of_card(path, "sha256:1") == {}


def test_a_card_that_is(tmp_path):
    path = tmp_path / "card.json"
    path.write_text(json.dumps(card()))
    (level,) = reliability.of_card(path, "sha256:1")["perturbation.de"]["k562"]
    assert (level.coverage, level.edges, level.below) == (0.2, (0.1,), (-1.0, -1.0))
