"""The lift: what it pays, that no blind policy gains by it, and what silence does to that."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards import lift
from worldmodels.core import ModelSpec, Reliable

CHEAP = settings(max_examples=300, deadline=None)
SHARE = st.floats(0.0, 1.0)
SHARES = st.lists(SHARE, min_size=1, max_size=60)


@CHEAP
@given(p=SHARE, p0=SHARE)
def test_every_score_is_a_number_in_its_range(p, p0):
    score = lift.earned(p, p0)
    assert 0.0 <= score <= 1.0
    assert lift.weight(p, p0) == pytest.approx(abs(2 * score - 1), abs=1e-12)
    assert math.isfinite(lift.change(p, p0))


@CHEAP
@given(p=SHARE, q=SHARE, p0=SHARE)
def test_more_probable_earns_more_and_changes_more(p, q, p0):
    if q - p > 1e-5 and p > lift.EDGE and q < 1 - lift.EDGE:
        assert lift.earned(p, p0) < lift.earned(q, p0)
        assert lift.change(p, p0) < lift.change(q, p0)


@pytest.mark.parametrize(
    ("p", "p0", "score"),
    [
        pytest.param(0.125, 0.125, 0.5, id="nothing beyond the base rate"),
        pytest.param(1.0, 0.125, 1.0, id="certain, and rare"),
        pytest.param(0.0, 0.125, 0.5 - 0.125 / 1.75, id="a rare readout can fall by little"),
        pytest.param(0.9, 0.5, 0.9, id="even odds: p itself"),
        pytest.param(0.0, 1.0, 0.0, id="the ends"),
        pytest.param(1.0, 0.0, 1.0, id="the other ends"),
        pytest.param(0.0, 0.0, 0.5, id="never"),
        pytest.param(1.0, 1.0, 0.5, id="always"),
    ],
)
def test_known_scores(p, p0, score):
    assert lift.earned(p, p0) == pytest.approx(score)


@CHEAP
@given(p=SHARES)
def test_every_policy_that_is_blind_to_the_perturbation_earns_chance(p):
    """The mean over the perturbations of a readout, whatever the distribution of p."""
    p0 = math.fsum(p) / len(p)
    p0 = min(max(p0, 0.0), 1.0)
    yes = math.fsum(lift.earned(one, p0) for one in p) / len(p)
    assert yes == pytest.approx(0.5, abs=1e-9)  # always-no, and any mixture, earn the rest to 1


def test_a_map_of_the_log_odds_would_pay_for_always_no():
    """Why the score is not σ(ℓ/scale): nine perturbations in ten do less than the mean."""
    p = [0.05] * 90 + [0.8] * 10
    p0 = sum(p) / len(p)
    for scale in (0.5, 1.0, 2.0, 4.0):
        no = sum(1 / (1 + math.exp(lift.change(one, p0) / scale)) for one in p) / len(p)
        assert no > 0.52


@CHEAP
@given(p=SHARES, dead_zone=st.floats(0.0, 2.0))
def test_a_dead_zone_moves_the_mean_by_no_more_than_stated(p, dead_zone):
    p = [min(max(one, 1e-3), 1 - 1e-3) for one in p]
    p0 = min(max(math.fsum(p) / len(p), 0.0), 1.0)
    answered = [lift.earned(one, p0) for one in p if abs(lift.change(one, p0)) >= dead_zone]
    if answered:
        silent = 1 - len(answered) / len(p)
        mean = math.fsum(answered) / len(answered)
        assert abs(mean - 0.5) <= lift.bias(p0, dead_zone, silent) + 1e-9


def test_the_dead_zone_of_the_shipped_profiles_keeps_blind_policies_within_two_hundredths():
    """Up to two questions in five may fall into it, whatever the base rate."""
    assert all(lift.bias(p0, 0.1, 0.4) <= 0.02 for p0 in np.linspace(0, 1, 101))


HALF = Reliable(0.5, (), (-0.5,), (0.5,))
FIFTH = Reliable(0.2, (0.3,), (-1.0, -2.0), (3.0, 1.0))
PROVEN = {"perturbation.de": {"k562": (HALF, FIFTH), "": (HALF,)}}


def spec(contexts=("k562", "hepg2")):
    return ModelSpec(
        name="screen",
        family="screen",
        version="1",
        digest="sha256:0",
        relations=("perturbation.de", "perturbation.dir"),
        contexts=contexts,
        reliability=PROVEN,
    )


@pytest.mark.parametrize(
    ("relation", "context", "coverage", "found"),
    [
        pytest.param("perturbation.de", "K-562", 0.5, HALF, id="spelled otherwise"),
        pytest.param("perturbation.de", "k562", 0.2, FIFTH, id="a smaller share"),
        pytest.param("perturbation.de", "k562", 0.3, FIFTH, id="the next smaller one"),
        pytest.param("perturbation.de", "k562", 0.1, None, id="less than the card has"),
        pytest.param("perturbation.de", "hepg2", 0.5, None, id="a line that it does not show"),
        pytest.param("perturbation.de", "", 0.5, None, id="no line, of which it shows several"),
        pytest.param("perturbation.dir", "k562", 0.5, None, id="another relation"),
    ],
)
def test_what_a_card_proves(relation, context, coverage, found):
    assert lift.proven(spec(), relation, context, coverage) == found


def test_a_model_that_looks_at_no_line_is_proven_by_all_of_them():
    assert lift.proven(spec(()), "perturbation.de", "jurkat", 1.0) == HALF
    assert lift.proven(None, "perturbation.de", "k562", 1.0) is None


def test_questions_without_a_line_are_proven_by_a_card_of_such_rows_alone():
    of_none = dataclasses.replace(spec(), reliability={"perturbation.de": {"": (HALF,)}})
    assert lift.proven(of_none, "perturbation.de", "", 0.5) == HALF


@pytest.mark.parametrize(
    ("change", "p0", "answered"),
    [(-1.0, 0.1, True), (-0.9, 0.1, False), (2.9, 0.1, False), (3.0, 0.1, True),
     (-1.9, 0.3, False), (1.0, 0.3, True), (1.0, 0.9, True)],
)  # fmt: skip
def test_the_band_of_p0_decides(change, p0, answered):
    assert FIFTH.answers(change, p0) is answered
