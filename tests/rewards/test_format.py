"""The format checks one by one, on layouts that no extraction would let through as well."""

from __future__ import annotations

import pytest

from service.rewards.core import Answer, Item, Reason
from service.rewards.extract import TAG
from service.rewards.library import Library
from service.rewards.verifiers.format import CHECKS, FormatJudge, FormatOptions, layout_of

NAMES = [name for name, _ in CHECKS]
THINK = "<think>enough reasoning</think>"
ANSWER = "<answer>no</answer>"

FAILING = {
    "tidy": (f"{THINK} {ANSWER}", []),
    "adjacent": (f"{THINK}{ANSWER}", []),
    "empty": ("", NAMES[:2] + NAMES[3:]),
    "no tags": ("so the answer is no", NAMES[:2] + NAMES[3:]),
    "no think": (ANSWER, [NAMES[0], NAMES[4], NAMES[5], NAMES[7], NAMES[10]]),
    "no answer": (THINK, [NAMES[3], NAMES[4], NAMES[9]]),
    "two answers": (f"{THINK}{ANSWER}{ANSWER}", [NAMES[3]]),
    "answer first": (f"{ANSWER}{THINK}", [NAMES[4], NAMES[9], NAMES[10]]),
    "short think": (f"<think>abc</think>{ANSWER}", [NAMES[5]]),
    "nested": (f"<think><think>enough reasoning</think></think>{ANSWER}", [NAMES[6]]),
    "answer in think": (f"<think>enough reasoning {ANSWER}</think>",
                        [NAMES[1], NAMES[4], NAMES[5], NAMES[6], NAMES[9]]),
    "four thinks": (f"{THINK * 4}{ANSWER}", [NAMES[7]]),
    "unclosed think": (f"<think>enough reasoning {ANSWER}",
                       [NAMES[1], NAMES[4], NAMES[5], NAMES[8]]),
    "closed only": (f"enough</think>{ANSWER}",
                    [NAMES[0], NAMES[1], NAMES[5], NAMES[7], NAMES[8], NAMES[10]]),
    "crossed": ("<think>enough reasoning<answer></think>no</answer>",
                [NAMES[1], NAMES[4], NAMES[5], NAMES[6], NAMES[8]]),
    "prose before": (f"Sure. {THINK}{ANSWER}", [NAMES[1], NAMES[10]]),
    "prose after": (f"{THINK}{ANSWER} indeed", [NAMES[1], NAMES[9]]),
    "upper case": (f"{THINK}{ANSWER}".upper(), [NAMES[9], NAMES[10]]),
    "201 words": (f"<think>{'word ' * 196}</think>{ANSWER}", [NAMES[2]]),
    "200 words": (f"<think>{'word ' * 195}</think>{ANSWER}", []),
    "one long word": (f"<think>{'a' * 5000}</think>{ANSWER}", [NAMES[2]]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "failing"), FAILING.values(), ids=FAILING)
def test_checks(text, failing):
    layout = layout_of(text, TAG.split(text), FormatOptions())
    scores = {name: check(layout) for name, check in CHECKS}
    assert [name for name, score in scores.items() if score != 1.0] == failing
    assert all(0.0 <= score <= 1.0 for score in scores.values())


def test_share_of_words():
    text = f"one two {THINK}{ANSWER}"
    layout = layout_of(text, TAG.split(text), FormatOptions())
    assert dict(CHECKS)["share of words inside tags"](layout) == 3 / 5


def test_the_last_check_can_be_dropped():
    judge = FormatJudge("format", 1.0, FormatOptions(starts_with_think=False), Library())
    assert [check for _, check in CHECKS[:-1]] == list(judge.checks)


@pytest.mark.parametrize("text", [text for text, _ in FAILING.values()], ids=FAILING)
def test_the_score_is_the_mean_of_the_checks_tidy_or_not(text):
    layout = layout_of(text, TAG.split(text), FormatOptions())
    judge = FormatJudge("format", 1.0, FormatOptions(), Library())
    component = judge.score(Item(text), Answer(Reason.OK, text=text), ())
    assert component.score == pytest.approx(sum(check(layout) for _, check in CHECKS) / len(CHECKS))
