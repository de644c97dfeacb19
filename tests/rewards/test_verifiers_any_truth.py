"""Whatever the request calls a truth: a fault that says what is wrong, or a share; no crash."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.rewards.core import Item

CHEAP = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORDS = st.sampled_from(["a", "A", "b", "up", "uncertain", "yes", "", "classes", "answer", "value"])
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=4)
JSON = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=8,
)
ANSWERS = st.lists(st.sampled_from(["a", "b", "c", ",", "|", "\n", "1", "up", "yes", " "])).map(
    "".join
)
NAMES = ["a", "b", "c"]
TASKS = {
    "owkinzero-choice": ({"type": "label", "options": {"A": "a", "B": "b"}}, WORDS | JSON),
    "owkinzero-binary": ({"type": "label", "classes": ["yes", "no"]}, WORDS | JSON),
    "cell-o1": (
        {"type": "label_list", "classes": NAMES},
        st.lists(st.sampled_from(NAMES), max_size=4) | JSON,
    ),
    "assaybench": (
        {"type": "ranking", "candidates": NAMES},
        st.dictionaries(st.sampled_from(NAMES), st.floats(-5, 5)) | JSON,
    ),
    "litmus": ({"type": "number"}, st.floats() | JSON),
    "pertmind": (
        {"type": "checkpoints", "classes": ["up", "no"], "checkpoints": {"a": ["up", "no"]}},
        st.fixed_dictionaries({"answer": WORDS, "checkpoints": st.dictionaries(WORDS, WORDS)})
        | JSON,
    ),
}


@pytest.mark.parametrize("name", TASKS)
@CHEAP
@given(data=st.data())
def test_any_truth(profiles, name, data):
    task, truths = TASKS[name]
    item = msgspec.convert({"task": task}, Item)
    item.truth = data.draw(truths)
    item.completion = f"<think>b</think><answer>{data.draw(ANSWERS)}</answer>"
    profile = profiles[name]
    fault = profile.fault(item)
    if fault is not None:
        assert fault[0] in ("BAD_TRUTH", "BAD_ITEM")
        assert fault[1].startswith(("truth", "task"))
        return
    result = profile.compose(item, profile.read(item), ())
    assert result == profile.compose(item, profile.read(item), ())
    assert result.status in ("ok", "invalid", "abstain")
    assert all(c.score is None or 0.0 <= c.score <= 1.0 for c in result.components)
    if result.reward is not None:
        assert profile.range[0] <= result.reward <= profile.range[1]
