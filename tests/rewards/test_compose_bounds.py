"""What holds of every composition: bounded, deterministic, symmetric, monotone in the primary."""

from __future__ import annotations

import itertools
import math
import statistics

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards.compose import Composition, Part, cautious
from service.rewards.core import Answer, Component, Item, Reason
from service.rewards.library import Library
from service.rewards.noise import Noise, Rates
from service.rewards.soundness import check
from service.rewards.verifiers.contradiction import ContradictionJudge, ContradictionOptions

CHEAP = settings(max_examples=80, deadline=None)
SHARE = st.floats(0.0, 1.0)
OPERATORS = ["sum", "mean", "product", "min", "lexi_sum", "first_ok", "mean_minus_sd"]
SYMMETRIC = ["sum", "mean", "product", "min", "mean_minus_sd"]
NOISE = Noise(0.1, 0.05, {"k562": Rates(0.3, 0.1)})
K562 = {"type": "perturbation.de", "perturbation": "A", "gene": "B", "cell_line": "K-562"}


def part(role="primary", weight=1.0):
    judge = ContradictionJudge("x", weight, ContradictionOptions(), Library())
    return Part(judge, role, weight, "null", 0.0)


def parts_of(operator, count):
    if operator == "lexi_sum":
        return [part(), *[part("auxiliary", 0.9 / count) for _ in range(count - 1)]]
    return [part() for _ in range(count)]


def reward(composition, scores, item=None):
    item = item or Item(id=1)
    components = [Component("x", score) for score in scores]
    result = composition.result(item, Answer(Reason.OK, "yes"), components)
    assert result.status == "ok"
    return result.reward


def composed(operator, count, **shape):
    risk = 1.0 / math.sqrt(count - 1) if operator == "mean_minus_sd" and count > 1 else 0.0
    return Composition(operator, -9.0, tuple(parts_of(operator, count)), risk, **shape)


def most(composition):
    bounded = composition.operator not in ("sum", "lexi_sum")
    return 1.0 if bounded else sum(part.weight for part in composition.parts)


@pytest.mark.parametrize("operator", OPERATORS)
@CHEAP
@given(scores=st.lists(SHARE, min_size=2, max_size=6))
def test_bounded_and_deterministic(operator, scores):
    composition = composed(operator, len(scores))
    earned = reward(composition, scores)
    assert earned == reward(composition, scores)
    assert -1e-9 <= earned <= most(composition) + 1e-6
    assert reward(composition, [0.0] * len(scores)) == 0.0
    assert reward(composition, [1.0] * len(scores)) == pytest.approx(most(composition))


@pytest.mark.parametrize("operator", SYMMETRIC)
@CHEAP
@given(scores=st.lists(SHARE, min_size=2, max_size=4))
def test_equal_roles_have_no_order(operator, scores):
    composition = composed(operator, len(scores))
    earned = {reward(composition, order) for order in itertools.permutations(scores)}
    assert max(earned) - min(earned) <= 1.0001e-6  # a rounding apart


@pytest.mark.parametrize("operator", OPERATORS)
@CHEAP
@given(scores=st.lists(SHARE, min_size=2, max_size=6), at=st.integers(0, 5), up=SHARE)
def test_monotone_in_every_component(operator, scores, at, up):
    composition = composed(operator, len(scores))
    better = list(scores)
    better[at % len(scores)] = max(up, better[at % len(scores)])
    assert reward(composition, better) >= reward(composition, scores) - 1.0001e-6


@CHEAP
@given(
    scores=st.lists(SHARE, min_size=2, max_size=4),
    low=st.floats(-5, 4),
    width=st.floats(0.1, 5),
    line=st.booleans(),
)
def test_shapes_keep_order_and_bounds(scores, low, width, line):
    item = Item(id=1, task=None)
    if line:
        item = msgspec.convert({"id": 1, "task": K562}, Item)
    scale = (low, low + width)
    plain, shaped = composed("mean", len(scores)), composed("mean", len(scores), scale=scale)
    noisy = composed("mean", len(scores), scale=scale, noise=NOISE)
    assert reward(shaped, scores) == pytest.approx(low + width * reward(plain, scores), abs=2e-5)
    least, greatest = NOISE.span()
    earned = reward(noisy, scores, item)
    assert low + width * least - 1e-6 <= earned <= low + width * greatest + 1e-6
    assert earned <= reward(noisy, [1.0] * len(scores), item)


@CHEAP
@given(scores=st.lists(SHARE, min_size=2, max_size=8), risk=SHARE)
def test_caution_is_mean_less_deviation_and_stays_in_bounds(scores, risk):
    risk /= math.sqrt(len(scores) - 1)
    earned = cautious(scores, risk)
    expected = statistics.fmean(scores) - risk * statistics.pstdev(scores)
    assert earned == pytest.approx(max(expected, 0.0), abs=1e-9)
    assert 0.0 <= earned <= statistics.fmean(scores) + 1e-12


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_the_bound_on_caution_is_sharp(count):
    bound = 1.0 / math.sqrt(count - 1)
    alone = [1.0] + [0.0] * (count - 1)
    assert cautious(alone, bound) == pytest.approx(0.0, abs=1e-12)
    lower = [0.5, *alone[1:]]
    beyond = bound * 1.2  # what soundness refuses: rising lowers the reward
    fall = statistics.fmean(alone) - beyond * statistics.pstdev(alone)
    assert fall < statistics.fmean(lower) - beyond * statistics.pstdev(lower)


def test_checks_are_the_same_for_every_load(profiles):
    for profile in profiles.values():
        assert check(profile.recipe, profile.composition.parts) == profile.range
