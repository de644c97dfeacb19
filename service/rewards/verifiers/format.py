"""How tidily a completion is written: the mean of the checks of rbio's released demo.

Formula (facts of the released code): each check earns 0 or 1, the share of words inside tags
anything between, and the score is their mean; checks that ask how thinks or tags are used earn
nothing where there is none. Departures: text is cut at the tags and words are counted on each
side, so that the share is at most 1 (repeated glued blocks earned 5 and more); an answer right
after ``</think>`` counts as after it; ``max_chars`` bounds length beside the word count, so that
one word of 20,000 characters is too long. Tags count in any letter case, but the first and the
last must be lower case, as in the demo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec

from service.rewards.core import Answer, Component, Item, Verdict
from service.rewards.extract import TAG
from service.rewards.library import Library
from service.rewards.verifiers.judge import Judge
from service.rewards.words import count_words

_TIDY: Final = ["think", "/think", "answer", "/answer"]


class FormatOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``format`` component."""

    starts_with_think: bool = True
    """Whether the last check of ``CHECKS`` counts; rbio drops it for its GO rewards."""
    max_words: Annotated[int, msgspec.Meta(ge=1)] = 200
    max_chars: Annotated[int, msgspec.Meta(ge=1)] = 4096


class Layout(NamedTuple):
    """What the checks look at, from one scan of the tags."""

    parts: Sequence[str]
    """Text and tag name in turn."""
    tags: Sequence[str]
    """Tag names in lower case."""
    think: str
    """Text of the think blocks, one space between."""
    inside: int
    """Words in think and answer blocks."""
    outside: int
    """Words elsewhere, tags not counted."""
    chars: int
    options: FormatOptions


def _has_think(layout: Layout) -> float:
    return float("think" in layout.tags)


def _share_inside(layout: Layout) -> float:
    words = layout.inside + layout.outside
    return layout.inside / words if words else 0.0


def _not_too_long(layout: Layout) -> float:
    words = layout.inside + layout.outside + len(layout.tags)  # a tag's name is a word
    return float(words <= layout.options.max_words and layout.chars <= layout.options.max_chars)


def _one_answer(layout: Layout) -> float:
    return float(layout.tags.count("answer") == 1)


def _answer_after_thinks(layout: Layout) -> float:
    tags = layout.tags
    if "answer" not in tags or "/think" not in tags:
        return 0.0
    return float("/think" not in tags[tags.index("answer") :])


def _think_has_text(layout: Layout) -> float:
    return float("think" in layout.tags and len(layout.think.strip()) > 10)


def _nothing_nested(layout: Layout) -> float:
    tags = layout.tags
    if tags == _TIDY:
        return 1.0
    last = {tag: index for index, tag in enumerate(tags)}
    at = 0
    while at < len(tags):
        closing = "/" + tags[at]
        if last.get(closing, -1) > at:
            if tags[at + 1] != closing:
                return 0.0
            at += 1
        at += 1
    return _has_tag(layout)


def _few_thinks(layout: Layout) -> float:
    return float(1 <= layout.tags.count("think") <= 3)


def _all_closed(layout: Layout) -> float:
    if layout.tags == _TIDY:
        return 1.0
    stack: list[str] = []
    for tag in layout.tags:
        if not tag.startswith("/"):
            stack.append(tag)
        elif not stack or stack.pop() != tag[1:]:
            return 0.0
    return 0.0 if stack else _has_tag(layout)


def _ends_with_answer(layout: Layout) -> float:
    parts = layout.parts
    return float(len(parts) > 1 and parts[-2] == "/answer" and not parts[-1].strip())


def _starts_with_think(layout: Layout) -> float:
    parts = layout.parts
    return float(len(parts) > 1 and parts[1] == "think" and not parts[0].strip())


def _has_tag(layout: Layout) -> float:
    return float("think" in layout.tags or "answer" in layout.tags)


CHECKS: Final[tuple[tuple[str, Callable[[Layout], float]], ...]] = (
    ("has a think", _has_think),
    ("share of words inside tags", _share_inside),
    ("not too long", _not_too_long),
    ("exactly one answer", _one_answer),
    ("answer after the last think", _answer_after_thinks),
    ("think has text", _think_has_text),
    ("nothing nested", _nothing_nested),
    ("at most three thinks", _few_thinks),
    ("all tags closed", _all_closed),
    ("ends with the answer", _ends_with_answer),
    ("starts with a think", _starts_with_think),
)


_OPEN: Final = frozenset(
    {
        "share of words inside tags",
        "not too long",
        "think has text",
        "ends with the answer",
        "starts with a think",
    }
)
"""Checks that tidy tags do not settle: they look at the text between. The others earn 1."""


def layout_of(text: str, parts: Sequence[str], options: FormatOptions) -> Layout:
    """Take a completion that is split at its tags to pieces."""
    tags = list(parts[1::2])
    if tags != _TIDY:
        return _untidy(text, parts, [tag.lower() for tag in tags], options)
    inside = count_words(parts[2]) + count_words(parts[6])
    outside = sum([count_words(gap) for gap in parts[::4] if gap and not gap.isspace()])
    return Layout(parts, tags, parts[2], inside, outside, len(text), options)


def _untidy(text: str, parts: Sequence[str], tags: list[str], options: FormatOptions) -> Layout:
    thinks: list[str] = []
    inside = outside = 0
    opened = ""
    for index, piece in enumerate(parts[::2]):
        words = count_words(piece)
        closing = tags[index] if index < len(tags) else ""
        if opened and closing == "/" + opened:
            inside += words
            if opened == "think":
                thinks.append(piece)
        else:
            outside += words
        opened = "" if closing.startswith("/") else closing
    return Layout(parts, tags, " ".join(thinks), inside, outside, len(text), options)


class FormatJudge(Judge):
    """Mean of the checks, in [0, 1]; never without an opinion."""

    Options = FormatOptions
    textual = True

    def __init__(self, name: str, weight: float, options: FormatOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        checks = CHECKS if options.starts_with_think else CHECKS[:-1]
        self.checks = tuple(check for _, check in checks)
        self.open = tuple(check for name, check in checks if name in _OPEN)

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """Mean of the checks."""
        layout = layout_of(answer.text, answer.parts or TAG.split(answer.text), self.options)
        checks = self.open if layout.tags == _TIDY else self.checks
        earned = sum([check(layout) for check in checks]) + len(self.checks) - len(checks)
        return Component(self.name, earned / len(self.checks), self.weight)
