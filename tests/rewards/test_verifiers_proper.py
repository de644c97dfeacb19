"""Stated probabilities under proper scores, and reasoning that contradicts its answer."""

# ruff: noqa: E501 - a table reads best in rows

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards.core import Verdict
from service.rewards.profiles import load_profiles
from service.rewards.proper import expected
from worldmodels.core import Status

CHEAP = settings(max_examples=200, deadline=None)
SHARE = st.floats(0.0, 1.0)
ASKED = """
tasks = ["perturbation.de", "perturbation.dir"]
[extract]
states = "probability"
[[component]]
name = "de"
verifier = "perturbation"
model = "family:screen"
score = "{}"
{}
"""
GIVEN = '[extract]\nstates = "probability"\n[[component]]\nname = "a"\nverifier = "answer"\nscore = "{}"\n{}\n'
PROFILES = {
    "brier": ASKED.format("brier", ""),
    "log": ASKED.format("log", "epsilon = 0.05"),
    "brier-gap": ASKED.format("brier", "min_gap = 0.2"),
    "given-brier": GIVEN.format("brier", ""),
    "given-log": GIVEN.format("log", "epsilon = 0.05"),
    "given-hard": GIVEN.format("brier", 'labels = "hard"'),
    "gated": 'extends = "rbio-mlp"\n[compose]\nfloor = -1\nrange = [-1, 1]\n'
    '[[component]]\nname = "consistent"\nverifier = "contradiction"\nrole = "gate"\nat_least = 1\n',
    "reported": 'extends = "rbio-mlp"\n'
    '[[component]]\nname = "consistent"\nverifier = "contradiction"\nrole = "report"\n',
}


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    for name, text in PROFILES.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return load_profiles(folder)


def said(answer, think="AARS stalls translation."):
    return f"<think>{think}</think> <answer>{answer}</answer>"


@pytest.mark.parametrize("rule", ["brier", "log"])
@pytest.mark.parametrize("epsilon", [1e-6, 0.01, 0.25])
@CHEAP
@given(q=SHARE, p=SHARE)
def test_honesty_is_the_best_answer(rule, epsilon, q, p):
    earned, honest = expected(rule, q, p, epsilon), expected(rule, p, p, epsilon)
    assert 0.0 <= earned <= 1.0
    assert earned <= honest + 1e-12


@pytest.mark.parametrize("rule", ["brier", "log"])
@CHEAP
@given(q=st.floats(0.05, 0.95), p=st.floats(0.05, 0.95))
def test_and_the_only_best_one(rule, q, p):
    if abs(q - p) > 1e-3:
        assert expected(rule, q, p, 0.01) < expected(rule, p, p, 0.01)


@pytest.mark.parametrize("rule", ["brier", "log"])
def test_the_ends_of_the_scale(rule):
    assert expected(rule, 1.0, 1.0, 0.01) == expected(rule, 0.0, 0.0, 0.01) == 1.0
    assert expected(rule, 0.0, 1.0, 0.01) == expected(rule, 1.0, 0.0, 0.01) == 0.0


@CHEAP
@given(q=SHARE, p=SHARE)
def test_classes_are_symmetric(q, p):
    for rule in ("brier", "log"):
        mirrored = expected(rule, 1.0 - q, 1.0 - p, 0.01)
        assert expected(rule, q, p, 0.01) == pytest.approx(mirrored, abs=1e-9)


ASKED_SCORES = {
    "honest": ("brier", "0.9", 0.9, 1 - 0.9 * 0.01 - 0.1 * 0.81),
    "per cent": ("brier", "90%", 0.9, 1 - 0.9 * 0.01 - 0.1 * 0.81),
    "hedged": ("brier", "0.5", 0.9, 0.75),
    "overconfident": ("brier", "1", 0.9, 0.9),
    "wrong": ("brier", "0", 0.9, 0.1),
    "doubt where there is doubt": ("brier", "0.5", 0.5, 0.75),
    "log, honest beyond epsilon": ("log", "1", 1.0, 1.0),
    "log, clipped": ("log", "0.99", 1.0, 1.0),
    "log, wrong": ("log", "0", 1.0, 0.0),
}


@pytest.mark.parametrize(
    ("profile", "answer", "p", "score"), ASKED_SCORES.values(), ids=ASKED_SCORES
)
def test_a_model_scores_what_is_stated(mine, judge, item, profile, answer, p, score):
    result = judge(mine[profile], item(said(answer), truth=None), Verdict(Status.OK, p, 0.4))
    assert (result.status, result.reward) == ("ok", pytest.approx(score, abs=1e-6))
    assert (result.weight, result.components[0].p, result.components[0].p0) == (1.0, p, 0.4)


def test_directions_state_the_probability_of_up(mine, judge, item):
    task = {"type": "perturbation.dir", "perturbation": "AARS", "gene": "CALR"}
    up = judge(mine["brier"], item(said("0.8"), task=task, truth=None), Verdict(Status.OK, 0.8))
    down = judge(mine["brier"], item(said("0.2"), task=task, truth=None), Verdict(Status.OK, 0.8))
    assert up.reward > down.reward


SOFT = {"classes": ["no", "yes"], "confidences": [0.1, 0.9]}
GIVEN_SCORES = {
    "soft": ("given-brier", "0.9", SOFT, 0.91),
    "soft, sure": ("given-brier", "1", SOFT, 0.9),
    "hard": ("given-brier", "0.9", "yes", 0.99),
    "hard, boolean": ("given-brier", "0.9", False, 1 - 0.81),
    "soft taken as hard": ("given-hard", "0.9", SOFT, 0.99),
    "log": ("given-log", "0", "yes", 0.0),
}


@pytest.mark.parametrize(
    ("profile", "answer", "truth", "score"), GIVEN_SCORES.values(), ids=GIVEN_SCORES
)
def test_a_truth_scores_what_is_stated(mine, judge, item, profile, answer, truth, score):
    result = judge(mine[profile], item(said(answer), truth=truth))
    assert (result.status, result.reward) == ("ok", pytest.approx(score, abs=1e-6))
    assert result.weight == 1.0


NO_SCORE = {
    "a class": ("brier", "yes", SOFT, "ANSWER_NOT_IN_VOCABULARY"),
    "two": ("brier", "0.1 or 0.9", SOFT, "ANSWER_NOT_IN_VOCABULARY"),
    "above 1": ("brier", "1.1", SOFT, "ANSWER_NOT_IN_VOCABULARY"),
    "below 0": ("brier", "-0.1", SOFT, "ANSWER_NOT_IN_VOCABULARY"),
    "not a number": ("brier", "nan", SOFT, "ANSWER_NOT_IN_VOCABULARY"),
    "too near to level": ("brier-gap", "0.5", SOFT, "LOW_CONFIDENCE"),
    "a tie": ("given-hard", "0.5", {"classes": ["no", "yes"], "confidences": [0.5, 0.5]}, "LOW_CONFIDENCE"),
    "no truth": ("given-brier", "0.5", None, "NO_TRUTH"),
    "confidences beyond 1": ("given-brier", "0.5", {"classes": ["no", "yes"], "confidences": [0.9, 0.9]}, "BAD_TRUTH"),
}  # fmt: skip


@pytest.mark.parametrize(("profile", "answer", "truth", "reason"), NO_SCORE.values(), ids=NO_SCORE)
def test_no_score(mine, judge, item, profile, answer, truth, reason):
    result = judge(mine[profile], item(said(answer), truth=truth), p=0.55)
    assert result.reason == reason
    assert result.status != "ok"


def test_classes_beyond_two_have_no_probability(mine, judge, item):
    task = {"type": "label", "classes": ["a", "b", "c"]}
    result = judge(mine["given-brier"], item(said("0.5"), task=task, truth="a"))
    assert (result.status, result.reason) == ("error", "BAD_ITEM")


CONCLUSIONS = {
    "06 another class": ("It must be no.", "yes", 0.0),
    "06 stated in so many words": ("AARS stalls it. So the answer is no.", "yes", 0.0),
    "the same class": ("So the answer is yes.", "yes", 1.0),
    "none": ("AARS stalls translation.", "yes", 1.0),
    "of a gene": ("CALR goes up, so it is no housekeeping gene.", "yes", 1.0),
}


@pytest.mark.parametrize(("think", "answer", "score"), CONCLUSIONS.values(), ids=CONCLUSIONS)
def test_contradiction(mine, judge, item, think, answer, score):
    thing = item(said(answer, think), truth=None)
    reported, gated = judge(mine["reported"], thing), judge(mine["gated"], thing)
    assert (reported.status, reported.reward) == ("ok", 0.9)
    assert (reported.components[1].score, reported.contradiction) == (score, not score)
    assert (gated.status, gated.reward) == (("ok", 0.9) if score else ("invalid", -1.0))


def test_tables_of_items_are_not_touched_by_judging(mine, item):
    thing = item(said("0.9"))
    before = msgspec.to_builtins(thing)
    profile = mine["given-brier"]
    profile.compose(thing, profile.read(thing), ())
    assert msgspec.to_builtins(thing) == before
