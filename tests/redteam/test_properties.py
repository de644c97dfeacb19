"""What holds for every profile and every text: total, bounded, twice the same, in any order."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.redteam.arena import judged_item
from service.redteam.cases import cast
from service.redteam.mutations import TOKENS, mutated
from service.redteam.report import out_of_bounds
from service.rewards import files
from service.rewards.core import ERRORS, Component, Item, Reason, Verdict
from worldmodels.core import ANSWERED, Status

SHIPPED = sorted(path.stem for path in files.SHIPPED.glob("*.toml"))
LEXICAL = [
    name for name in SHIPPED if '"lexi_sum"' in (files.SHIPPED / f"{name}.toml").read_text("utf-8")
]
FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
CHEAP = settings(FEW, max_examples=40)
TEXTS = st.lists(st.sampled_from(TOKENS) | st.text(max_size=8), max_size=14).map("".join)
PROBABILITIES = st.floats(0, 1)
SILENT = [status for status in Status if status not in {*ANSWERED, Status.MODEL_ERROR}]
VERDICTS = st.sampled_from(SILENT).map(Verdict) | PROBABILITIES.map(
    lambda p: Verdict(Status.OK, p, 0.5, 0.1, p)
)


class Cases(dict):
    """By profile; short where a failure shows it."""

    def __repr__(self):
        return "cases"


@pytest.fixture(scope="module")
def cases(profiles):
    """The first honest completion of each profile."""
    made = Cases()
    for name in SHIPPED:
        if not profiles[name].lacks:
            made[name] = cast(profiles[name], Random(0), 1).cases[0]
    return made


def case_of(cases, name):
    if name not in cases:
        pytest.skip(f"{name} needs what is not installed")
    return cases[name]


def item_of(case, completion, number=None):
    return msgspec.convert({**case.item, "completion": completion, "id": number}, Item)


@pytest.mark.parametrize("name", SHIPPED)
@FEW
@given(text=TEXTS, where=st.integers(0, 3), verdict=VERDICTS)
def test_any_text_has_one_bounded_result(cases, bench, name, text, where, verdict):
    case = case_of(cases, name)
    whole = (text, case.write(claim=text), case.write(think=text), case.write(section=text))[where]
    item = item_of(case, whole)
    result = judged_item(case.profile, item, verdict, bench)
    assert out_of_bounds(result, case.profile) == ""
    assert result == judged_item(case.profile, item, verdict, bench)
    assert Reason(result.reason) not in ERRORS
    if result.status == "invalid":
        assert result.reward == case.profile.composition.floor


@pytest.mark.parametrize("name", SHIPPED)
def test_the_order_of_a_batch_changes_nothing(cases, bench, name):
    case, random = case_of(cases, name), Random(name)
    texts = [case.write()] + [mutated(case.write(), random) for _ in range(20)]
    items = [item_of(case, text, number) for number, text in enumerate(texts)]
    verdict = Verdict(Status.OK, 0.9 if case.p is None else case.p, 0.5, 0.1, case.p)
    alone = {item.id: judged_item(case.profile, item, verdict, bench) for item in items}
    random.shuffle(items)
    shuffled = {item.id: judged_item(case.profile, item, verdict, bench) for item in items}
    assert shuffled == alone


def composed(profile, item, answer, scores):
    """The reward of components with given scores, by the profile's own composition."""
    parts = profile.composition.parts
    made = [
        Component(part.judge.name, score, part.weight)
        for part, score in zip(parts, scores, strict=True)
    ]
    return profile.composition.result(item, answer, made)


@pytest.mark.parametrize("name", SHIPPED)
@CHEAP
@given(data=st.data())
def test_the_reward_grows_with_each_primary(cases, name, data):
    case = case_of(cases, name)
    profile = case.profile
    parts = profile.composition.parts
    scores = data.draw(st.lists(PROBABILITIES, min_size=len(parts), max_size=len(parts)))
    primaries = [index for index, part in enumerate(parts) if part.role == "primary"]
    index = data.draw(st.sampled_from(primaries))
    higher = list(scores)
    higher[index] = data.draw(st.floats(scores[index], 1))
    low, high = (composed(profile, case.parsed, case.answer, each) for each in (scores, higher))
    if low.status == high.status == "ok" and profile.recipe.compose.operator not in _AGREEING:
        assert high.reward >= low.reward - 1e-6
    assert out_of_bounds(low, profile) == ""


_AGREEING = ("first_ok", "mean_minus_sd")
"""``first_ok`` looks at one only; where doubt costs, one voice raised alone is doubt."""


@pytest.mark.parametrize("name", LEXICAL)
@CHEAP
@given(data=st.data())
def test_style_never_outranks_a_hard_primary(cases, name, data):
    """Under lexi_sum, whatever the auxiliaries say, right earns more than wrong."""
    case = case_of(cases, name)
    profile = case.profile
    parts = profile.composition.parts
    size = len(parts)
    right, wrong = (
        data.draw(st.lists(PROBABILITIES, min_size=size, max_size=size)) for _ in range(2)
    )
    for index, part in enumerate(parts):
        if part.role == "primary":
            right[index], wrong[index] = 1.0, 1.0 - part.judge.gap
        elif part.role == "gate":
            right[index] = wrong[index] = 1.0
    paid = [composed(profile, case.parsed, case.answer, each) for each in (right, wrong)]
    assert paid[0].reward > paid[1].reward
