"""Composition: operators, roles, gates, missing components, weights, and rounding."""

from __future__ import annotations

import math

import msgspec
import pytest

from service.rewards.compose import Composition, Part
from service.rewards.core import Answer, Component, Item, Reason
from service.rewards.library import Library
from service.rewards.verifiers.judge import Judge


class Nothing(msgspec.Struct):
    """No options."""


class Said(Judge):
    """A component that is given."""

    Options = Nothing

    def score(self, item, answer, verdicts):
        raise NotImplementedError


def part(name, role="primary", weight=1.0, on_missing="null", at_least=0.0):
    return Part(Said(name, weight, Nothing(), Library()), role, weight, on_missing, at_least)


def said(value, p=None):
    if isinstance(value, str):
        return Component("x", None, status=value)
    return Component("x", value, p=p)


def compose(operator, *pairs, floor=0.0):
    parts, values = zip(*pairs, strict=True)
    made = Composition(operator, floor, parts)
    components = [value if isinstance(value, Component) else said(value) for value in values]
    return made.result(Item(id=1), Answer(Reason.OK, "yes"), components)


AUX = {"role": "auxiliary"}
DROP = {"on_missing": "drop"}
FLOOR = {"on_missing": "floor"}

REWARDS = {
    "sum": ("sum", [(part("a", weight=2), 0.9), (part("b"), 0.5)], 2.3),
    "mean": ("mean", [(part("a", weight=3), 0.9), (part("b"), 0.5)], 0.8),
    "product": ("product", [(part("a"), 0.9), (part("b"), 0.5)], 0.45),
    "min": ("min", [(part("a"), 0.9), (part("b"), 0.5)], 0.5),
    "lexi_sum": ("lexi_sum", [(part("a"), 1.0), (part("b", **AUX, weight=0.1), 0.5)], 1.05),
    "first_ok": ("first_ok", [(part("a"), 0.9), (part("b"), 0.5)], 0.9),
    "first_ok passes on": ("first_ok", [(part("a"), "UNMEASURED"), (part("b"), 0.5)], 0.5),
    "drop in mean": ("mean", [(part("a"), 0.9), (part("b", **DROP), "UNMEASURED")], 0.9),
    "drop in sum": ("sum", [(part("a"), 0.9), (part("b", **DROP), "UNMEASURED")], 0.9),
    "drop in product": ("product", [(part("a"), 0.9), (part("b", **DROP), "NO_TRUTH")], 0.9),
    "floor in mean": ("mean", [(part("a"), 0.9), (part("b", **FLOOR), "UNMEASURED")], 0.45),
    "floor in min": ("min", [(part("a"), 0.9), (part("b", **FLOOR), "UNMEASURED")], 0.0),
    "report does not count": ("mean", [(part("a"), 0.9), (part("b", "report", 0.0), 0.1)], 0.9),
    "report is not the least": ("min", [(part("a"), 0.9), (part("b", "report", 0.0), 0.1)], 0.9),
    "report may be missing": ("min", [(part("a"), 0.9), (part("b", "report"), "MODEL_ERROR")], 0.9),
    "gate passed": ("mean", [(part("a"), 0.9), (part("g", "gate", 0.0, at_least=0.5), 0.5)], 0.9),
    "six decimals": ("mean", [(part("a"), 1 / 3)], 0.333333),
}


@pytest.mark.parametrize(("operator", "pairs", "reward"), REWARDS.values(), ids=REWARDS)
def test_reward(operator, pairs, reward):
    result = compose(operator, *pairs)
    assert (result.status, result.reward, result.reason) == ("ok", reward, "OK")


OTHERS = {
    "floored alone": ([(part("a", **FLOOR), "NO_TRUTH")], "abstain", "NO_TRUTH", False),
    "style beside what is floored": (
        [(part("a", **FLOOR), "NO_TRUTH"), (part("s", **AUX), 1.0)],
        "abstain",
        "NO_TRUTH",
        False,
    ),
    "abstain": ([(part("a"), "UNMEASURED")], "abstain", "UNMEASURED", False),
    "error": ([(part("a"), "MODEL_ERROR")], "error", "MODEL_ERROR", True),
    "deadline": ([(part("a"), "DEADLINE")], "error", "DEADLINE", True),
    "error outranks abstain": (
        [(part("a"), "UNMEASURED"), (part("b"), "OVERLOADED")],
        "error",
        "OVERLOADED",
        True,
    ),
    "first error": (
        [(part("a"), "DEADLINE"), (part("b"), "MODEL_ERROR")],
        "error",
        "DEADLINE",
        True,
    ),
    "first abstention": (
        [(part("a"), "NO_TRUTH"), (part("b"), "UNMEASURED")],
        "abstain",
        "NO_TRUTH",
        False,
    ),
    "errors are not dropped": (
        [(part("a"), 0.9), (part("b", **DROP), "MODEL_ERROR")],
        "error",
        "MODEL_ERROR",
        True,
    ),
    "errors are not floored": (
        [(part("a"), 0.9), (part("b", **FLOOR), "DEADLINE")],
        "error",
        "DEADLINE",
        True,
    ),
    "style alone": (
        [(part("a", **DROP), "UNMEASURED"), (part("b", **AUX), 1.0)],
        "abstain",
        "UNMEASURED",
        False,
    ),
    "above one": ([(part("a"), 1.01)], "error", "MODEL_ERROR", True),
    "below zero": ([(part("a"), -0.01)], "error", "MODEL_ERROR", True),
    "not a number": ([(part("a"), math.nan)], "error", "MODEL_ERROR", True),
    "gate without opinion": (
        [(part("a"), 0.9), (part("g", "gate", at_least=0.5), "NO_KEYWORDS")],
        "abstain",
        "NO_KEYWORDS",
        False,
    ),
}


@pytest.mark.parametrize(("pairs", "status", "reason", "again"), OTHERS.values(), ids=OTHERS)
def test_no_reward(pairs, status, reason, again):
    result = compose("mean", *pairs)
    assert (result.status, result.reason, result.retryable) == (status, reason, again)
    assert (result.reward, result.weight) == (None, 0.0)
    assert len(result.components) == len(pairs)


@pytest.mark.parametrize(
    "other", ["UNMEASURED", "MODEL_ERROR", 0.9], ids=["abstains", "fails", "has a score"]
)
@pytest.mark.parametrize("first", [True, False], ids=["gate first", "gate last"])
def test_a_failed_gate_makes_the_item_invalid_whatever_else(other, first):
    pairs = [(part("g", "gate", at_least=0.5), 0.4), (part("a"), other)]
    result = compose("mean", *(pairs if first else reversed(pairs)), floor=-1.0)
    assert (result.status, result.reward, result.weight) == ("invalid", -1.0, 1.0)
    assert sorted(str(c.score) for c in result.components) == ["0.4", "None"]


def test_a_floored_gate_fails():
    gate = (part("g", "gate", at_least=0.5, on_missing="floor"), "NO_KEYWORDS")
    assert compose("mean", gate, (part("a"), 0.9)).status == "invalid"
    failing = (gate[0], "MODEL_ERROR")
    assert compose("mean", failing, (part("a"), 0.9)).status == "error"


WEIGHTS = {
    "soft": ([(part("a"), said(0.93, p=0.93))], 0.86),
    "hard": ([(part("a"), said(1.0))], 1.0),
    "mean over primaries": ([(part("a"), said(0.93, p=0.93)), (part("b"), said(1.0))], 0.93),
    "auxiliaries do not count": (
        [(part("a"), said(0.93, p=0.93)), (part("b", **AUX), said(1.0))],
        0.86,
    ),
    "the missing do not count": (
        [(part("a"), said(0.93, p=0.93)), (part("b", **DROP), said("UNMEASURED"))],
        0.86,
    ),
}


@pytest.mark.parametrize(("pairs", "weight"), WEIGHTS.values(), ids=WEIGHTS)
def test_item_weight(pairs, weight):
    assert compose("mean", *pairs).weight == weight
