"""What holds for every completion: a result, in range, twice the same, at bounded cost."""

from __future__ import annotations

import math
import re
import sys
import time
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.rewards.core import Item, Verdict
from service.rewards.extract import TAG, Extraction, read
from service.rewards.vocabulary import YES_NO
from service.rewards.words import count_words
from worldmodels.core import Status

CHEAP = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PIECES = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "yes", "no", "AARS", " ", "\n", "<", "\ud800",
     "\0", "e\u0301", "\u200d", "so the answer is no.", "<THINK>", "<!--", "```"]
)  # fmt: skip
LOOSE = st.lists(PIECES | st.text(max_size=8), max_size=14).map("".join)
TEXTS = LOOSE | st.builds(
    "<think>{}</think>\n<answer>{}</answer>".format,
    st.text(max_size=40),
    st.sampled_from(["yes", "No", "maybe"]),
)
TRUTHS = st.sampled_from(["yes", "no"]) | st.floats(0, 1).map(
    lambda p: {"classes": ["no", "yes"], "confidences": [1 - p, p]}
)
VERDICTS = st.sampled_from(list(Status)[1:]).map(Verdict) | st.floats(0, 1).map(
    lambda p: Verdict(Status.OK, p, raw=p)
)


@pytest.mark.parametrize(
    "name", ["rbio-mlp", "rbio-tf", "rbio-exp", "rbio-mlp+exp", "rbio-released"]
)
@CHEAP
@given(text=TEXTS | st.text(), truth=TRUTHS, verdict=VERDICTS, some=st.booleans())
def test_total_bounded_deterministic(profiles, item, name, text, truth, verdict, some):
    profile = profiles[name]
    thing = item(None, truth=truth if some or name == "rbio-released" else None)
    thing.completion = text
    assert profile.fault(thing) is None
    answer = profile.read(thing)
    verdicts = [verdict] * len(profile.queries(thing))
    result = profile.compose(thing, answer, verdicts)
    assert result == profile.compose(thing, profile.read(thing), verdicts)
    assert all(c.score is None or 0 <= c.score <= 1 for c in result.components)
    assert 0 <= result.weight <= 1
    if result.status in ("ok", "invalid"):
        assert profile.range[0] <= result.reward <= profile.range[1]
    else:
        assert result.reward is None
    if answer.reason != "OK":
        assert (result.status, result.reward) == ("invalid", profile.composition.floor)


@CHEAP
@given(st.text())
def test_words_are_counted_as_the_expression_counts_them(text):
    assert count_words(text) == len(re.findall(r"\b\w+\b", text))


@CHEAP
@given(st.text(alphabet="abyesno<>/ \n\u0435", max_size=12))
def test_only_the_classes_are_answers(text):
    answer = read(Item(f"<think>a</think><answer>{text}</answer>"), Extraction(), YES_NO)
    assert (answer.reason == "OK") == (text.strip(" \n").lower() in {"yes", "no", "yes.", "no."})


def test_tags_are_those_of_the_expression_only():
    assert TAG.split("a<think>b</ANSWER>c<thinking>") == [
        "a",
        "think",
        "b",
        "/ANSWER",
        "c<thinking>",
    ]


HOSTILE = {
    "tags": "<think>a</think>{}<answer>yes</answer>",
    "open tags": "{}<answer>yes</answer>",
    "one word": "<think>{}</think><answer>yes</answer>",
    "blanks": "<think>a</think>{}<answer>yes</answer>",
    "keyword": "<think>{}</think><answer>yes</answer>",
    "cue": "<think>{}</think><answer>yes</answer>",
    "conclusions": "<think>{}</think><answer>yes</answer>",
    "angle brackets": "{}<think>a</think><answer>yes</answer>",
    "end tokens": "<think>a</think><answer>yes</answer>{}",
    "nearly tags": "<think>{}</think><answer>yes</answer>",
    "one long tag": "<think><{}</think><answer>yes</answer>",
    "combining marks": "<think>{}</think><answer>yes</answer>",
    "long answer": "<think>a</think><answer>{}</answer>",
}
UNITS = {
    "tags": "<think>a</think>",
    "open tags": "<think>",
    "one word": "a",
    "blanks": " \n",
    "keyword": "AARS",
    "cue": "so the answer ",
    "conclusions": "so, that, the answer is clearly no, ",
    "angle brackets": "<",
    "end tokens": "</s>\n",
    "nearly tags": "< thinking",
    "one long tag": " /",
    "combining marks": "\u0300\u0316",
    "long answer": "yes ",
}


class Lines:
    """Counts the lines of Python that run: work, whatever else the machine does."""

    def __enter__(self):
        self.lines = 0
        self.before = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def trace(self, frame, event, argument):
        self.lines += event == "line"
        return self.trace

    def __exit__(self, *error):
        sys.settrace(self.before)


@pytest.mark.parametrize("name", HOSTILE)
def test_work_grows_no_faster_than_length(profiles, item, name):
    profile = profiles["rbio-released"]
    work = []
    for length in (4_000, 32_000):
        unit = UNITS[name]
        thing = item(HOSTILE[name].format(unit * ((length - 60) // len(unit))))
        profile.compose(thing, profile.read(thing), ())  # caches of expressions are warm
        with Lines() as counted:
            profile.compose(thing, profile.read(thing), ())
        work.append(counted.lines)
    assert work[1] <= 10 * work[0]


def test_long_keywords_of_one_letter_are_cheap(profiles, item):
    profile = profiles["rbio-released"]
    keywords = ["a" * length for length in range(137, 201)]
    thing = item(f"<think>{'a' * 32_000}</think><answer>yes</answer>", keywords=keywords)
    answer = profile.read(thing)
    profile.compose(thing, answer, ())  # caches of expressions are warm
    started = time.process_time()
    result = profile.compose(thing, answer, ())
    assert time.process_time() - started < 0.35  # about 0.05 s; 1 s where each place is compared
    assert result.components[2].score == 0.0


@pytest.mark.parametrize("size", [32_769, 1_000_000], ids=["one too many", "1 MB"])
def test_what_is_too_long_is_not_even_read(profiles, item, size):
    thing = item("a" * size)
    with Lines() as counted:
        answer = profiles["rbio-mlp"].read(thing)
    assert answer.reason == "TOO_LONG"
    assert answer.text == ""
    assert counted.lines < 40


def test_long_runs_of_marks_never_reach_the_normaliser(profiles, item, monkeypatch):
    def refuse(form, text):
        raise AssertionError("normalised")

    thing = item("<think>a" + "\u0300\u0316" * 16 + "</think><answer>yes</answer>")
    with monkeypatch.context() as patched:
        patched.setattr(unicodedata, "normalize", refuse)
        answer = profiles["rbio-mlp"].read(thing)
    assert answer.reason == "MALFORMED"


def test_rounding_never_leaves_the_range(profiles, item, judge):
    result = judge("rbio-mlp", item("<think>a</think><answer>no</answer>"), p=math.nextafter(1, 0))
    assert (result.status, result.reward, result.weight) == ("ok", 0.0, 1.0)
