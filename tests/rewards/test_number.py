"""The verifier of numbers: rules, windows, decay, steps, truths, and what cannot be judged."""

# ruff: noqa: E501 - a table reads best in rows

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards.core import Item
from service.rewards.profiles import load_profiles

CHEAP = settings(max_examples=150, deadline=None)
HEAD = 'tasks = ["number"]\n[extract]\nthink = "optional"\n[[component]]\nname = "n"\nverifier = "number"\n'
PROFILES = {
    "exact": "",
    "absolute": 'match = "absolute"\ntolerance = 0.1\n',
    "relative": 'match = "relative"\ntolerance = 0.1\n',
    "log": 'match = "log"\ntolerance = 0.3\n',
    "decay": 'match = "absolute"\ntolerance = 1\ndecay = 4\n',
    "relative-decay": 'match = "relative"\ndecay = 0.5\n',
    "log-decay": 'match = "log"\ndecay = 2\n',
    "steps": 'match = "absolute"\ntolerance = 1\ndecay = 4\nstep = 0.25\n',
}


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("profiles")
    for name, text in PROFILES.items():
        (folder / f"{name}.toml").write_text(HEAD + text, "utf-8")
    loaded = load_profiles(folder)
    return {name: loaded[name] for name in PROFILES}


def thing(answer, truth, **task):
    fields = {
        "completion": f"<answer>{answer}</answer>",
        "task": {"type": "number", **task},
        "truth": truth,
    }
    return msgspec.convert(fields, Item)


OWN = {
    "exact": ("exact", "12", 12, {}, 1.0),
    "exact, written otherwise": ("exact", "1.20e1", 12.0, {}, 1.0),
    "exact, off by one": ("exact", "13", 12, {}, 0.0),
    "exact beyond floats": ("exact", "9007199254740993", "9007199254740993", {}, 1.0),
    "exact beyond floats, off by one": ("exact", "9007199254740992", "9007199254740993", {}, 0.0),
    "a tenth": ("exact", "0.1", 0.1, {}, 1.0),
    "nearly a tenth": ("exact", "0.1000000000000000055", 0.1, {}, 0.0),
    "truth as text with a unit": ("exact", "0.012", "12 nM", {"unit": "µM"}, 1.0),
    "answer in another unit": ("exact", "12 nM", 0.012, {"unit": "µM"}, 1.0),
    "own window": ("exact", "12.4", {"value": 12, "absolute": 0.4}, {}, 1.0),
    "beyond its own window": ("exact", "12.41", {"value": 12, "absolute": 0.4}, {}, 0.0),
    "own share": ("exact", "110", {"value": "100", "relative": 0.1}, {}, 1.0),
    "value alone": ("exact", "100", {"value": 100}, {}, 1.0),
    "window, edge above": ("absolute", "1.1", 1.0, {}, 1.0),
    "window, edge below": ("absolute", "0.9", 1.0, {}, 1.0),
    "window, edge where floats miss it": ("absolute", "0.3", 0.2, {}, 1.0),
    "window, outside": ("absolute", "1.1000001", 1.0, {}, 0.0),
    "window of the task": ("absolute", "1.5", 1.0, {"tolerance": 0.5}, 1.0),
    "share, edge": ("relative", "-110", -100, {}, 1.0),
    "share, other sign": ("relative", "100", -100, {}, 0.0),
    "share of nothing": ("relative", "0", 0, {}, 1.0),
    "share of nothing, near": ("relative", "1e-9", 0, {}, 0.0),
    "share is of the truth": ("relative", "111", 100, {}, 0.0),
    "decades": ("log", "1.9", 1, {}, 1.0),
    "decades, outside": ("log", "2.1", 1, {}, 0.0),
    "decades, not above 0": ("log", "-1", 1, {}, 0.0),
    "decay, inside": ("decay", "11", 10, {}, 1.0),
    "decay, half": ("decay", "13", 10, {}, 0.5),
    "decay, other side": ("decay", "7", 10, {}, 0.5),
    "decay, gone": ("decay", "15", 10, {}, 0.0),
    "decay, far": ("decay", "1e200", 10, {}, 0.0),
    "decay, share": ("relative-decay", "125", 100, {}, 0.5),
    "decay, share of nothing": ("relative-decay", "1", 0, {}, 0.0),
    "decay, decades": ("log-decay", "10", 1, {}, 0.5),
    "decay, zero has no logarithm": ("log-decay", "0", 1, {}, 0.0),
    "a truth's own window does not decay": ("decay", "13", {"value": 10, "absolute": 1}, {}, 0.0),
    "steps, down": ("steps", "12.1", 10, {}, 0.5),
    "steps, on one": ("steps", "12", 10, {}, 0.75),
    "steps, right": ("steps", "10.5", 10, {}, 1.0),
}


@pytest.mark.parametrize(("profile", "answer", "truth", "task", "score"), OWN.values(), ids=OWN)
def test_score(numbers, judge, profile, answer, truth, task, score):
    result = judge(numbers[profile], thing(answer, truth, **task))
    assert (result.status, result.reward) == ("ok", pytest.approx(score))


RULES = {
    "exact": ("5.0", 5, {"rule": "exact"}, 1.0),
    "exact, near": ("5.0000001", 5, {"rule": "exact"}, 0.0),
    "isclose without a tolerance": ("5.000000001", 5, {"rule": "isclose"}, 1.0),
    "isclose without a tolerance, off": ("5.00001", 5, {"rule": "isclose"}, 0.0),
    "isclose": ("5.4", 5, {"rule": "isclose", "tolerance": 0.08}, 1.0),
    "isclose, share of the truth": ("125", 100, {"rule": "isclose", "tolerance": 0.2}, 0.0),
    "abs_window": ("5.2", 5, {"rule": "abs_window", "tolerance": 0.2}, 1.0),
    "abs_window, off": ("5.3", 5, {"rule": "abs_window", "tolerance": 0.2}, 0.0),
    "abs_window of the truth": ("5.2", {"value": 5, "absolute": 0.2}, {"rule": "abs_window"}, 1.0),
    "abs_window in the unit": (
        "5200 nM",
        5,
        {"rule": "abs_window", "tolerance": 0.2, "unit": "µM"},
        1.0,
    ),
    "rel_window": ("4", 5, {"rule": "rel_window", "tolerance": 0.2}, 1.0),
    "rel_window, off": ("3.9", 5, {"rule": "rel_window", "tolerance": 0.2}, 0.0),
    "rel_window of the truth": ("4", {"value": 5, "relative": 0.2}, {"rule": "rel_window"}, 1.0),
    "bool_eq": ("true", True, {"rule": "bool_eq"}, 1.0),
    "bool_eq, yes": ("Yes", True, {"rule": "bool_eq"}, 1.0),
    "bool_eq, text": ("false", "no", {"rule": "bool_eq"}, 1.0),
    "bool_eq, number": ("false", 0, {"rule": "bool_eq"}, 1.0),
    "bool_eq, wrong": ("false", True, {"rule": "bool_eq"}, 0.0),
    "string_eq": (" BRCA1 ", "BRCA1", {"rule": "string_eq"}, 1.0),
    "string_eq, case": ("brca1", "BRCA1", {"rule": "string_eq"}, 0.0),
    "string_eq, part": ("BRCA1 and BRCA2", "BRCA1", {"rule": "string_eq"}, 0.0),
    "string_eq of a number is a text": ("5.0", "5", {"rule": "string_eq"}, 0.0),
}


@pytest.mark.parametrize(("answer", "truth", "task", "score"), RULES.values(), ids=RULES)
@pytest.mark.parametrize("profile", ["exact", "decay"])
def test_rules_of_litmus_rows(numbers, judge, profile, answer, truth, task, score):
    result = judge(numbers[profile], thing(answer, truth, **task))
    assert (result.status, result.reward) == ("ok", score)


FAULTS = {
    "text": ("exact", "many", {}, "BAD_TRUTH", "truth: expected"),
    "empty text": ("exact", "", {}, "BAD_TRUTH", "truth: expected"),
    "boolean": ("exact", True, {}, "BAD_TRUTH", "truth: expected"),
    "list": ("exact", [1], {}, "BAD_TRUTH", "truth: expected"),
    "another dimension": ("exact", "5 g", {"unit": "mM"}, "BAD_TRUTH", "truth: expected"),
    "NaN": ("exact", math.nan, {}, "BAD_TRUTH", "truth: expected"),
    "infinity": ("exact", math.inf, {}, "BAD_TRUTH", "truth: expected"),
    "no value": ("exact", {"absolute": 1}, {}, "BAD_TRUTH", "expected `value`"),
    "two tolerances": ("exact", {"value": 1, "absolute": 1, "relative": 1}, {}, "BAD_TRUTH", "expected `value`"),
    "unknown key": ("exact", {"value": 1, "abs": 1}, {}, "BAD_TRUTH", "['abs', 'value']"),
    "value that is none": ("exact", {"value": None}, {}, "BAD_TRUTH", "truth.value: expected"),
    "negative tolerance": ("exact", {"value": 1, "absolute": -1}, {}, "BAD_TRUTH", "truth.absolute: -1"),
    "tolerance NaN": ("exact", {"value": 1, "relative": math.nan}, {}, "BAD_TRUTH", "truth.relative"),
    "tolerance as text": ("exact", {"value": 1, "absolute": "1"}, {}, "BAD_TRUTH", "truth.absolute: expected a number"),
    "rule and other tolerance": ("exact", {"value": 1, "relative": 1}, {"rule": "abs_window"}, "BAD_TRUTH", "measures otherwise"),
    "window without a tolerance": ("exact", 1, {"rule": "abs_window"}, "BAD_ITEM", "task.tolerance: missing"),
    "share without a tolerance": ("absolute", 1, {"rule": "rel_window"}, "BAD_ITEM", "task.tolerance: missing"),
    "tolerance of exactness": ("exact", 1, {"tolerance": 1}, "BAD_ITEM", "this profile matches exactly"),
    "no logarithm": ("log", 0, {}, "BAD_TRUTH", "has no logarithm"),
    "bool_eq": ("exact", "maybe", {"rule": "bool_eq"}, "BAD_TRUTH", "truth: expected"),
    "string_eq": ("exact", 5, {"rule": "string_eq"}, "BAD_TRUTH", "truth: expected"),
    "string_eq, blank": ("exact", " ", {"rule": "string_eq"}, "BAD_TRUTH", "truth: expected"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "truth", "task", "reason", "message"), FAULTS.values(), ids=FAULTS
)
def test_fault(numbers, judge, profile, truth, task, reason, message):
    result = judge(numbers[profile], thing("1", truth, **task))
    assert (result.status, result.reward, result.reason) == ("error", None, reason)
    assert message in result.message


def test_no_truth_no_opinion(numbers, judge):
    assert judge(numbers["exact"], thing("1", None)).reason == "NO_TRUTH"
    assert judge(numbers["exact"], thing("true", None, rule="bool_eq")).reason == "NO_TRUTH"


@pytest.mark.parametrize("name", PROFILES)
@CHEAP
@given(
    truth=st.one_of(
        st.floats(),
        st.integers(-(10**40), 10**40).map(str),
        st.builds(lambda v, k, t: {"value": v, k: t}, st.floats(), st.sampled_from(["absolute", "relative"]), st.floats()),
        st.none() | st.booleans() | st.text(max_size=5),
    ),
    answer=st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.text(max_size=8),
    rule=st.sampled_from([None, "exact", "isclose", "abs_window", "rel_window", "bool_eq", "string_eq"]),
    tolerance=st.none() | st.floats(0, 1e9),
)  # fmt: skip
def test_every_score_is_a_share(numbers, name, truth, answer, rule, tolerance):
    profile = numbers[name]
    item = thing("1", truth, rule=rule, tolerance=tolerance)
    item.completion = f"<answer>{answer}</answer>"
    if profile.fault(item) is not None:
        return
    result = profile.compose(item, profile.read(item), ())
    assert result.status in ("ok", "invalid", "abstain")
    if result.status == "ok":
        assert 0.0 <= result.components[0].score <= 1.0


@pytest.mark.parametrize("name", ["decay", "relative-decay", "log-decay", "steps"])
@CHEAP
@given(st.floats(0.01, 1e4), st.floats(0, 1e4), st.floats(0, 1e4))
def test_nearer_never_earns_less(numbers, name, truth, one, other):
    profile = numbers[name]
    near, far = sorted((one, other))
    earned = []
    for distance in (0.0, near, far):
        item = thing(repr(truth + distance), truth)
        earned.append(profile.compose(item, profile.read(item), ()).reward)
    assert 1.0 == earned[0] >= earned[1] >= earned[2]


@CHEAP
@given(st.floats(0, 100))
def test_steps_are_steps(numbers, answer):
    item = thing(repr(answer), 10)
    profile = numbers["steps"]
    assert profile.compose(item, profile.read(item), ()).reward in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert profile.composition.parts[0].judge.gap == 0.25
    assert numbers["decay"].composition.parts[0].judge.gap == 0.0
    assert numbers["absolute"].composition.parts[0].judge.gap == 1.0
