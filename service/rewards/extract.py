"""From a completion to the one answer it claims, or to the reason why it claims none.

The grammar is closed: ``<think>…</think> <answer>…</answer>``, one final answer that the task's
form reads entirely (see ``forms``), and nothing that could be a second one. Whatever is ambiguous
is invalid; nothing is searched for in prose. What tags and sections may stand where is in ``tags``,
the rules that a profile sets in ``rules``.

The text is brought to NFC, never NFKC (which would turn "ｙｅｓ" and "ʸᵉˢ" into answers).

Reasoning that a server keeps apart (``reasoning_content``, thinking parts) becomes the think block
in front of the answer; a tag in it is malformed, as it would be there.

What the chat template writes is not the policy's doing: a leading byte-order mark and a trailing
run of end tokens (``END_TOKENS``, letter for letter) are taken away, and blanks between tags are
Unicode's.

Limits: a completion longer than ``max_chars`` is refused unread, so that the work per item is
bounded; it is linear below that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from service.rewards.contradiction import contradicts
from service.rewards.core import Answer, ContentPart, Item, Message, Reason
from service.rewards.forms import Form
from service.rewards.rules import Extraction, ends_of
from service.rewards.tags import LOOSE, TAG, TIDY, Sections, cut, fault_of_tags, marks_for, plain
from service.rewards.vocabulary import Vocabulary
from service.rewards.words import count_words

__all__ = ["END_TOKENS", "TAG", "Extraction", "read", "said", "text_of"]

END_TOKENS: Final = ("<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>")
"""How chat templates end an answer (Qwen, GPT, Llama 2, Llama 3), where they are decoded too."""
_LETTER: Final = re.compile(r"[^\W_]")
_MARKS: Final = 30
"""Combining marks in a row (Unicode's Stream-Safe limit): CPython sorts longer runs in quadratic
time, 0.8 s for 32,000 characters."""
_NO_WORDS: Final = re.compile(rf"[^\w\0-\u02ff]{{{_MARKS + 1},}}")
"""Where such runs can be: no combining mark is a letter or a digit."""


def read(item: Item, rules: Extraction, form: Form) -> Answer:
    """What the completion claims. Never raises for any text."""
    completion = item.completion
    if isinstance(completion, str):
        text = completion
    else:
        text = text_of(completion, ends_of(rules.think_tag))
    if len(text) > rules.max_chars:
        return Answer(Reason.TOO_LONG)
    if text is not completion and _tags_in_reasoning(item, rules):
        return Answer(Reason.MALFORMED, text=text)
    if not text.isascii():
        if _many_marks(text):
            return Answer(Reason.MALFORMED)
        text = unicodedata.normalize("NFC", text.removeprefix("\ufeff"))
    if not text.endswith("</answer>") and text.rstrip().endswith(END_TOKENS):
        text = _without_end_tokens(text)
    if rules.max_words and count_words(text) > rules.max_words:
        return Answer(Reason.TOO_LONG, text=text)
    if rules.pattern is not None:
        return _by_pattern(text, rules, form)
    reason, parts, tags, sections = cut(text, rules)
    if reason is not Reason.OK:
        return Answer(reason, text=text, parts=parts)
    if tags != TIDY and tags[:1] == ["/think"] and "think" not in tags and _prefilled(item, rules):
        parts = ["", "think", *parts]
        tags.insert(0, "think")
    reason = fault_of_tags(tags, parts, rules)
    if reason is not Reason.OK:
        return Answer(reason, text=text, parts=parts)
    think = parts[2] if len(parts) == 9 else " ".join(parts[2:-4:4])
    if rules.think == "required" and not (think[:1].isalpha() or _LETTER.search(think)):
        return Answer(Reason.MALFORMED, text=text, parts=parts)
    return _claim(parts[-3], think, text, parts, sections, rules, form)


def text_of(
    completion: Sequence[Message] | str | None, think: tuple[str, str] = ("<think>", "</think>")
) -> str:
    """A completion as one string: of messages, the last of the assistant's; "" where none is.

    Args:
        completion: text or messages.
        think: how the block opens and closes in which reasoning stands that is kept apart.
    """
    if completion is None or isinstance(completion, str):
        return completion or ""
    opening, closing = think
    return "".join(
        f"{opening}{text}{closing}" if apart else text for apart, text in said(completion)
    )


def said(messages: Sequence[Message]) -> list[tuple[bool, str]]:
    """What the last assistant message says: (whether it is reasoning kept apart, text) in turn."""
    for message in reversed(messages):
        if message.role == "assistant":
            break
    else:
        return []
    pieces = [(True, message.reasoning_content or message.reasoning or "")]
    content = message.content
    if isinstance(content, str):
        pieces.append((False, content))
    elif content is not None:
        pieces += [_part(part) for part in content]
    joined: list[tuple[bool, str]] = []
    for apart, text in pieces:
        if text and joined and joined[-1][0] == apart:
            joined[-1] = (apart, joined[-1][1] + text)
        elif text:
            joined.append((apart, text))
    return joined


def _part(part: ContentPart) -> tuple[bool, str]:
    if part.type == "thinking":
        thinking = part.thinking
        if isinstance(thinking, list):
            thinking = "".join(inner.text or "" for inner in thinking)
        return True, thinking or ""
    return part.type == "reasoning", part.text or ""


def _tags_in_reasoning(item: Item, rules: Extraction) -> bool:
    completion = item.completion
    if completion is None or isinstance(completion, str):
        return False
    loose = LOOSE if plain(rules) else marks_for(rules).loose
    return any(apart and loose.search(text) for apart, text in said(completion))


def _without_end_tokens(text: str) -> str:
    """``text`` up to the run of end tokens, blanks between them included, that ends it."""
    end = len(text)
    while end:
        if text[end - 1].isspace():
            end -= 1
            continue
        for token in END_TOKENS:
            if text.endswith(token, 0, end):
                end -= len(token)
                break
        else:
            break
    return text[:end]


def _many_marks(text: str) -> bool:
    """Whether more than ``_MARKS`` combining marks follow each other."""
    for found in _NO_WORDS.finditer(text):
        run = 0
        for character in found.group():
            run = run + 1 if unicodedata.combining(character) else 0
            if run > _MARKS:
                return True
    return False


def _prefilled(item: Item, rules: Extraction) -> bool:
    if rules.prefilled_think:
        return True
    prompt = item.prompt
    if prompt is None:
        return False
    if not isinstance(prompt, str):
        prompt = text_of(prompt)
    return prompt[-128:].rstrip().lower().endswith(ends_of(rules.think_tag)[0].lower())


def _claim(
    claimed: str,
    think: str,
    text: str,
    parts: Sequence[str],
    sections: Sections,
    rules: Extraction,
    form: Form,
) -> Answer:
    reason, label, value = form.claim(claimed)
    contradiction = False
    if label is not None and isinstance(form, Vocabulary):
        contradiction = contradicts(think, label, form)
        if contradiction and rules.gate_contradiction:
            reason = Reason.CONTRADICTION
    return Answer(reason, label, think, text, contradiction, parts, value, claimed, sections)


def _by_pattern(text: str, rules: Extraction, form: Form) -> Answer:
    """The answer as the one match of the profile's expression; the reasoning is what precedes."""
    import re2

    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates: RE2 reads UTF-8
        return Answer(Reason.MALFORMED, text=text)
    found = None
    for match in re2.finditer(rules.pattern, text):
        if found is not None:
            return Answer(Reason.SEVERAL_ANSWERS, text=text)
        found = match
    if found is None or found.group(1) is None:
        return Answer(Reason.NO_ANSWER, text=text)
    return _claim(found.group(1), text[: found.start()], text, (), (), rules, form)
