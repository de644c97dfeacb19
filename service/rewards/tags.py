"""Tags: how a completion is cut at them, and whether they stand as the grammar wants.

``strict``: at most one think block, then one answer block, only blanks beside them. ``released``,
for the profile that reproduces rbio's released total, whose format checks price untidiness
themselves: several think blocks and prose before the answer (no HTML comment), still nothing
after it. Tags count in any letter case. One that is written otherwise (``< answer >``,
``<answer x=1>``, ``</ think>``, ``<answer/>``) is MALFORMED wherever it stands, so that no second
answer hides in one; special tokens (``<|answer_start|>``) likewise. Other tags are plain text.

Sections are further blocks that a profile admits by name. The rule: each is closed, holds no other
tag of the profile, and stands before the think block, in it, or between it and the answer; any
number of them, also of one name, in any order. Anywhere else — in the answer or after it — they are
MALFORMED, and unclosed or nested ones too. They are taken out before the rest is read: a section
in the think block is no part of the reasoning, so that a list of facts is no prose that mentions
the genes.

Linear in the text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from service.rewards.core import Reason
from service.rewards.rules import Extraction, Tag, ends_of

TAG: Final = re.compile(r"<(/?(?:think|answer))>", re.IGNORECASE)
"""The tags of a profile that names none."""
_BETWEEN: Final = r"[\s/\\|\0\u00ad\u200b-\u200f\u2060\ufeff]*"
LOOSE: Final = re.compile(rf"<{_BETWEEN}(?:think|answer)(?![a-z])", re.IGNORECASE)
"""What a reader may take for a tag, tags themselves included."""
LOOSE_ANSWER: Final = re.compile(rf"<{_BETWEEN}answer(?![a-z])", re.IGNORECASE)
TIDY: Final = ["think", "/think", "answer", "/answer"]
Sections = tuple[tuple[str, str], ...]


class Marks(NamedTuple):
    """The tags of a profile, compiled."""

    scan: re.Pattern[str]
    """Splits a text at its tags, which are the one group."""
    loose: re.Pattern[str]
    """What a reader may take for one of them."""
    blocks: re.Pattern[str]
    """The same without sections, which may stand in reasoning that is kept apart."""
    names: Mapping[str, str]
    """Each tag in lower case → ``think``, ``/think``, ``answer``, ``/answer``, or a section's."""
    sections: frozenset[str]
    """Names of the sections' tags, closing ones included."""


class Cut(NamedTuple):
    """A completion cut at its tags."""

    reason: Reason
    parts: list[str]
    """Text and tag name in turn, sections taken out."""
    tags: list[str]
    """The tag names, in lower case."""
    sections: Sections = ()


@functools.lru_cache(maxsize=256)
def marks_of(tag: Tag | None, think_tag: Tag, sections: tuple[str, ...]) -> Marks:
    """The tags of a profile; ``tag`` is None where the answer stands in none."""
    blocks: list[tuple[str, Tag]] = [("think", think_tag)]
    if tag is not None:
        blocks.append(("answer", tag))
    blocks += [(name, name) for name in sections]
    names = {}
    for name, block in blocks:
        opening, closing = ends_of(block)
        names[opening.lower()], names[closing.lower()] = name, "/" + name
    return Marks(
        re.compile("(" + "|".join(map(re.escape, names)) + ")", re.IGNORECASE | re.ASCII),
        _loosely([block for _, block in blocks]),
        _loosely([block for name, block in blocks if name not in sections]),
        names,
        frozenset(name for section in sections for name in (section, "/" + section)),
    )


def _loosely(blocks: Sequence[Tag]) -> re.Pattern[str]:
    """What a reader may take for the ends of these blocks."""
    tokens = [token for block in blocks for token in ends_of(block)]
    firsts = "".join(sorted({re.escape(token[0]) for token in tokens}))
    words = "|".join(sorted({re.escape(token[1:-1].strip("|/ ")) for token in tokens}))
    return re.compile(rf"[{firsts}]{_BETWEEN}(?:{words})(?![a-z])", re.IGNORECASE)


def marks_for(rules: Extraction) -> Marks:
    """The tags of a profile."""
    tag = rules.tag if rules.answer == "tag" else None
    return marks_of(tag, rules.think_tag, rules.sections)


def plain(rules: Extraction) -> bool:
    """Whether a profile has the tags ``TAG`` and no others, so that cutting is one split."""
    return (
        rules.answer == "tag"
        and not rules.sections
        and rules.tag == "answer"
        and rules.think_tag == "think"
    )


def cut(text: str, rules: Extraction) -> Cut:
    """A completion cut at its tags. MALFORMED: a variant of a tag, or a section astray."""
    if plain(rules):
        parts = _tidily(text)
        if parts:
            return Cut(Reason.OK, parts, TIDY)
        parts = TAG.split(text)
        tags = parts[1::2]
        if text.count("<") > len(tags) and varies(parts, LOOSE):
            return Cut(Reason.MALFORMED, parts, tags)
        return Cut(Reason.OK, parts, tags if tags == TIDY else [tag.lower() for tag in tags])
    marks = marks_for(rules)
    parts = marks.scan.split(text)
    for at in range(1, len(parts), 2):
        parts[at] = marks.names[parts[at].lower()]
    if varies(parts, marks.loose):
        return Cut(Reason.MALFORMED, parts, parts[1::2])
    if marks.sections.isdisjoint(parts[1::2]):
        return Cut(Reason.OK, parts, parts[1::2])
    return _without_sections(parts, marks)


def _tidily(text: str) -> list[str]:
    """What ``TAG`` splits most completions into, found by four searches; [] for all others.

    Four ``<`` that belong to the four tags leave none for a variant.
    """
    if not text.startswith("<think>"):
        return []
    close = text.find("<", 7)
    opened = text.find("<", close + 1)
    end = text.find("<", opened + 1)
    if (
        text.find("<", end + 1) < 0 < end  # of those not found, the next is found in front
        and text.startswith("</think>", close)
        and text.startswith("<answer>", opened)
        and text.startswith("</answer>", end)
    ):
        return [
            "",
            "think",
            text[7:close],
            "/think",
            text[close + 8 : opened],
            "answer",
            text[opened + 8 : end],
            "/answer",
            text[end + 9 :],
        ]
    return []


def varies(parts: Sequence[str], loose: re.Pattern[str]) -> bool:
    """Whether a tag that is not written as the grammar wants it stands between the others."""
    return any(loose.search(piece) for piece in parts[::2])


def _without_sections(parts: list[str], marks: Marks) -> Cut:
    """The parts without the sections, which come beside them."""
    kept: list[str] = []
    sections: list[tuple[str, str]] = []
    text = [parts[0]]
    opened = ""
    answered = False
    for tag, following in zip(parts[1::2], parts[2::2], strict=True):
        if tag not in marks.sections:
            if opened:
                return Cut(Reason.MALFORMED, parts, parts[1::2])
            kept += (" ".join(text), tag)
            text = [following]
            answered = answered or tag == "answer"
        elif opened:
            if tag != "/" + opened:
                return Cut(Reason.MALFORMED, parts, parts[1::2])
            sections.append((opened, text.pop()))
            text.append(following)
            opened = ""
        elif tag.startswith("/") or answered:
            return Cut(Reason.MALFORMED, parts, parts[1::2])
        else:
            opened = tag
            text.append(following)
    if opened:
        return Cut(Reason.MALFORMED, parts, parts[1::2])
    kept.append(" ".join(text))
    return Cut(Reason.OK, kept, kept[1::2], tuple(sections))


def fault_of_tags(tags: list[str], parts: list[str], rules: Extraction) -> Reason:
    """Whether the tags (lower case) stand as the grammar wants them."""
    if tags != TIDY:
        answers = tags.count("answer")
        if answers != 1:
            if answers:
                return Reason.SEVERAL_ANSWERS
            return Reason.MALFORMED if "/answer" in tags else Reason.NO_ANSWER
        opened, closed = tags[:-2:2], tags[1:-2:2]
        thinks = len(opened)
        if (
            tags[-2:] != ["answer", "/answer"]
            or len(closed) != thinks
            or opened.count("think") != thinks
            or closed.count("/think") != thinks
            or (thinks == 0 and rules.think == "required")
            or (thinks > 1 and rules.grammar == "strict")
        ):
            return Reason.MALFORMED
    outside = parts[::4]
    if rules.grammar == "released":
        if any("<!--" in gap for gap in outside):
            return Reason.MALFORMED
        outside = outside[-1:]
    for gap in outside:
        if gap and gap.strip():
            return Reason.MALFORMED
    return Reason.OK


def fault_of_think(tags: Sequence[str], parts: Sequence[str], rules: Extraction) -> Reason:
    """Whether nothing but one think block stands in front of what follows the reasoning.

    Reasoning that does not end, cut off or not, leaves no answer.
    """
    if not tags:
        if rules.think == "optional":
            return Reason.OK
        return Reason.MALFORMED if parts[0].strip() else Reason.NO_ANSWER
    if tags == ["think"]:
        return Reason.NO_ANSWER
    if tags != ["think", "/think"] or parts[0].strip():
        return Reason.MALFORMED
    return Reason.OK
