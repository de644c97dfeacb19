"""From a completion to the one answer it claims, or to the reason why it claims none.

The grammar is closed: ``<think>…</think> <answer>…</answer>``, one final answer that the task's
form reads entirely (``forms``), and nothing that could be a second one. Whatever is ambiguous is
invalid; nothing is searched for in prose. What a profile may ask for instead is in ``rules``; each
place is argued where it is read:

    tags      ``answer = "tag"``, and sections that stand beside the reasoning
    places    after-think, boxed, letter, last-line, pattern
    fields    json, tool
    messages  chat messages, content parts, Responses output: what of them is the completion
    ingress   NFC, end tokens, length

Asterisks around the whole answer (``**yes**``) are Markdown's and are taken away, but for a line
of text that is compared verbatim.

Reasoning that a server keeps apart (``reasoning_content``, thinking parts) becomes the think block
in front of the answer; a tag in it is malformed, as it would be there. Blanks between tags are
Unicode's.

Limits: a completion longer than ``max_chars`` is refused unread, so that the work per item is
bounded; it is linear below that. Calls that a model writes as text (``<tool_call>``) are text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from service.rewards.contradiction import contradicts
from service.rewards.core import Answer, Item, Reason
from service.rewards.fields import in_calls, in_json
from service.rewards.forms import Form, unemphasised
from service.rewards.ingress import END_TOKENS, composed, without_end_tokens
from service.rewards.messages import calls_of, said, text_of
from service.rewards.places import (
    Place,
    after_think,
    boxed,
    by_pattern,
    hides,
    last_line,
    letter,
)
from service.rewards.probability import Probability
from service.rewards.quantities import Verbatim
from service.rewards.rules import Extraction, Method, ends_of
from service.rewards.tags import (
    LOOSE,
    TAG,
    TIDY,
    Sections,
    cut,
    fault_of_tags,
    fault_of_think,
    marks_for,
    plain,
)
from service.rewards.vocabulary import Vocabulary
from service.rewards.words import count_words

__all__ = ["END_TOKENS", "TAG", "Extraction", "read", "said", "text_of"]

_LETTER: Final = re.compile(r"[^\W_]")
_PLACES: Final[Mapping[Method, Callable[[str, str, Extraction, Form], Place]]] = {
    "after-think": after_think,
    "boxed": boxed,
    "letter": letter,
    "last-line": last_line,
    "pattern": by_pattern,
}


def read(item: Item, rules: Extraction, form: Form) -> Answer:
    """What the completion claims. Never raises for any text."""
    completion = item.completion
    text = completion if isinstance(completion, str) else _text(item, rules)
    if len(text) > rules.max_chars:
        return Answer(Reason.TOO_LONG)
    if text is not completion and _tags_in_reasoning(item, rules):
        return Answer(Reason.MALFORMED, text=text)
    if not text.isascii():
        settled = composed(text.removeprefix("\ufeff"))
        if settled is None:
            return Answer(Reason.MALFORMED)
        text = settled
    if not text.endswith("</answer>"):
        text = without_end_tokens(text)
    if rules.max_words and count_words(text) > rules.max_words:
        return Answer(Reason.TOO_LONG, text=text)
    reason, parts, tags, sections = cut(text, rules)
    if reason is not Reason.OK:
        return Answer(reason, text=text, parts=parts)
    if tags != TIDY and "think" not in tags and prefilled(item, rules):
        if tags[:1] != ["/think"]:  # reasoning that never ends, whatever stands in it
            reason = Reason.MALFORMED if tags else Reason.NO_ANSWER
            return Answer(reason, text=text, parts=parts)
        parts = ["", "think", *parts]
        tags.insert(0, "think")
    if rules.answer != "tag":
        return _elsewhere(item, text, parts, tags, sections, rules, form)
    reason = fault_of_tags(tags, parts, rules)
    if reason is not Reason.OK:
        return Answer(reason, text=text, parts=parts)
    think = parts[2] if len(parts) == 9 else " ".join(parts[2:-4:4])
    if rules.think == "required" and not (think[:1].isalpha() or _LETTER.search(think)):
        return Answer(Reason.MALFORMED, text=text, parts=parts)
    return _claim(parts[-3], think, "", text, parts, sections, rules, form)


def _elsewhere(
    item: Item,
    text: str,
    parts: Sequence[str],
    tags: Sequence[str],
    sections: Sections,
    rules: Extraction,
    form: Form,
) -> Answer:
    """The answer of a profile whose answers stand in no tag."""
    reason = fault_of_think(tags, parts, rules)
    think, rest = (parts[2], parts[4]) if len(parts) == 5 else ("", parts[0])
    if reason is Reason.OK and rules.think == "required" and not _LETTER.search(think):
        reason = Reason.MALFORMED
    if reason is not Reason.OK:
        return Answer(reason, text=text, parts=parts)
    place = _place(item, rest, think, rules, form)
    if place.reason is not Reason.OK:
        return Answer(place.reason, think=think, text=text, parts=parts)
    if rules.answer != "tool" and hides(place.prose):
        return Answer(Reason.MALFORMED, think=think, text=text, parts=parts)
    prose = place.prose
    if not tags:  # no block keeps the reasoning apart
        think, prose = prose, ""
    return _claim(place.claimed, think, prose, text, parts, sections, rules, form)


def _place(item: Item, rest: str, think: str, rules: Extraction, form: Form) -> Place:
    method = rules.answer
    field = rules.field or "answer"
    if method == "tool":
        completion = item.completion
        calls = [] if completion is None or isinstance(completion, str) else calls_of(completion)
        found = in_calls(calls, rules.tool or "", field)
        return Place(found) if isinstance(found, Reason) else Place(Reason.OK, found, rest)
    if method != "json":
        return _PLACES[method](rest, think, rules, form)
    found = in_json(rest, field)
    if isinstance(found, Reason):
        return Place(found)
    if re.search(rf'"{re.escape(field)}"\s*:', think, re.IGNORECASE):
        return Place(Reason.SEVERAL_ANSWERS)
    return Place(Reason.OK, found)


def _text(item: Item, rules: Extraction) -> str:
    """Messages as one text. Where a call is the answer, reasoning counts wherever it stands."""
    completion = item.completion
    think = ends_of(rules.think_tag)
    if rules.answer != "tool" or completion is None or isinstance(completion, str):
        return text_of(completion, think)
    pieces = said(completion)
    apart = " ".join(text for kept, text in pieces if kept)
    prose = "".join(text for kept, text in pieces if not kept)
    return f"{think[0]}{apart}{think[1]}{prose}" if apart else prose


def _tags_in_reasoning(item: Item, rules: Extraction) -> bool:
    completion = item.completion
    if completion is None or isinstance(completion, str):
        return False
    loose = LOOSE if plain(rules) else marks_for(rules).blocks
    return any(apart and loose.search(text) for apart, text in said(completion))


def prefilled(item: Item, rules: Extraction) -> bool:
    """Whether a completion may begin inside its think block."""
    if rules.prefilled_think:
        return True
    prompt = item.prompt
    if prompt is None:
        return False
    think = ends_of(rules.think_tag)
    if not isinstance(prompt, str):
        prompt = text_of(prompt, think)
    return prompt[-128:].rstrip().lower().endswith(think[0].lower())


def _claim(
    claimed: str,
    think: str,
    prose: str,
    text: str,
    parts: Sequence[str],
    sections: Sections,
    rules: Extraction,
    form: Form,
) -> Answer:
    if "*" in claimed and not isinstance(form, Verbatim):
        claimed = unemphasised(claimed)
    reason, label, value = form.claim(claimed)
    contradiction = False
    if label is not None:
        contradiction = _contradicts(think, prose, label, value, form)
        if contradiction and rules.gate_contradiction:
            reason = Reason.CONTRADICTION
    return Answer(reason, label, think, text, contradiction, parts, value, claimed, sections)


def _contradicts(think: str, prose: str, label: str, value: object, form: Form) -> bool:
    """Whether the reasoning, or the prose before the answer, concludes another class."""
    if isinstance(form, Probability):
        if not isinstance(value, float) or value == 0.5:
            return False
        form = form.vocabulary
        label = next(one for one in form.labels if (one == form.positive) == (value > 0.5))
    if not isinstance(form, Vocabulary):
        return False
    return contradicts(think, label, form) or (prose != "" and contradicts(prose, label, form))
