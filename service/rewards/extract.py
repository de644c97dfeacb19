"""From a completion to the one answer it claims, or to the reason why it claims none.

The grammar is closed: ``<think>…</think> <answer>…</answer>``, tags in any letter case, one final
answer that is a class of the task's vocabulary (see ``vocabulary``), and nothing that could be a
second one. Whatever is ambiguous is invalid; nothing is searched for in prose. The text is brought
to NFC, never NFKC (which would turn "ｙｅｓ" and "ʸᵉˢ" into answers).

Two grammars. ``strict``: only blanks outside the tags and at most one think block. ``released``,
for the profile that reproduces rbio's released total, whose format checks price untidiness
themselves: several think blocks and prose before the answer (no HTML comment), still nothing
after it.
In both, a tag written otherwise (``< answer >``, ``<answer x=1>``, ``</ think>``, ``<answer/>``)
is malformed wherever it stands, so that no second answer hides in one.

Reasoning that a server keeps apart (``reasoning_content``, thinking parts) becomes the think block
in front of the answer; a tag in it is malformed, as it would be there.

What the chat template writes is not the policy's doing: a leading byte-order mark and a trailing
run of end tokens (``END_TOKENS``, letter for letter) are taken away, and blanks between tags are
Unicode's.

Limits: a completion longer than ``max_chars`` is refused unread, so that the work per item is
bounded; it is linear below that. Other tags and other special tokens are plain text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec

from service.rewards.contradiction import contradicts
from service.rewards.core import Answer, ContentPart, Item, Message, Reason
from service.rewards.forms import Form
from service.rewards.vocabulary import Vocabulary
from service.rewards.words import count_words

TAG: Final = re.compile(r"<(/?(?:think|answer))>", re.IGNORECASE)
END_TOKENS: Final = ("<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>")
"""How chat templates end an answer (Qwen, GPT, Llama 2, Llama 3), where they are decoded too."""
_LOOSE: Final = re.compile(
    r"<[\s/\\\0\u00ad\u200b-\u200f\u2060\ufeff]*(?:think|answer)(?![a-z])", re.IGNORECASE
)
"""What a reader may take for a tag, tags themselves included."""
_TIDY: Final = ["think", "/think", "answer", "/answer"]
_LETTER: Final = re.compile(r"[^\W_]")
_BEYOND_LATIN: Final = re.compile(r"[\u0300-\U0010ffff]+")
_MARKS: Final = 30
"""Combining marks in a row (Unicode's Stream-Safe limit): CPython sorts longer runs in quadratic
time, 0.8 s for 32,000 characters."""


class Extraction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[extract]`` of a profile."""

    grammar: Literal["strict", "released"] = "strict"
    """How much may stand beside the tags; see the module."""
    think: Literal["required", "optional"] = "required"
    """Whether an answer without reasoning is valid; a think block without a letter or a digit is
    no reasoning."""
    prefilled_think: bool = False
    """Whether a completion may begin inside its think block, the chat template having written
    ``<think>``. Where the item's prompt ends with ``<think>`` it always may."""
    max_chars: Annotated[int, msgspec.Meta(ge=16, le=4_194_304)] = 32_768
    """Longer completions are TOO_LONG."""
    max_words: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Completions of more words are TOO_LONG; 0: no limit but ``max_chars``."""
    gate_contradiction: bool = False
    """Whether reasoning that concludes another class makes the item invalid."""
    pattern: str | None = None
    """RE2 expression with one group that holds the answer, in place of the tags."""


def read(item: Item, rules: Extraction, form: Form) -> Answer:
    """What the completion claims. Never raises for any text."""
    completion = item.completion
    text = completion if isinstance(completion, str) else text_of(completion)
    if len(text) > rules.max_chars:
        return Answer(Reason.TOO_LONG)
    if text is not completion and _tags_in_reasoning(item):
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
    parts = TAG.split(text)
    tags = parts[1::2]
    if text.count("<") > len(tags) and _variant_tag(parts):
        return Answer(Reason.MALFORMED, text=text, parts=parts)
    if tags != _TIDY:
        tags = [tag.lower() for tag in tags]
        if tags[:1] == ["/think"] and "think" not in tags and _prefilled(item, rules):
            parts = ["", "think", *parts]
            tags.insert(0, "think")
    reason = _structure(tags, parts, rules)
    if reason is not Reason.OK:
        return Answer(reason, text=text, parts=parts)
    think = parts[2] if len(parts) == 9 else " ".join(parts[2:-4:4])
    if rules.think == "required" and not (think[:1].isalpha() or _LETTER.search(think)):
        return Answer(Reason.MALFORMED, text=text, parts=parts)
    return _claim(parts[-3], think, text, parts, rules, form)


def text_of(completion: Sequence[Message] | str | None) -> str:
    """A completion as one string: of messages, the last of the assistant's; "" where none is.

    Reasoning that is kept apart stands in a think block of its own.
    """
    if completion is None or isinstance(completion, str):
        return completion or ""
    return "".join(f"<think>{text}</think>" if apart else text for apart, text in said(completion))


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


def _tags_in_reasoning(item: Item) -> bool:
    completion = item.completion
    if completion is None or isinstance(completion, str):
        return False
    return any(apart and _LOOSE.search(text) for apart, text in said(completion))


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
    for found in _BEYOND_LATIN.finditer(text):
        if found.end() - found.start() > _MARKS:
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
    return prompt[-64:].rstrip().lower().endswith("<think>")


def _variant_tag(parts: Sequence[str]) -> bool:
    """Whether a tag that is not written as the grammar wants it stands between the others."""
    return any(_LOOSE.search(piece) for piece in parts[::2])


def _structure(tags: list[str], parts: list[str], rules: Extraction) -> Reason:
    """Whether the tags (lower case) stand as the grammar wants them."""
    if tags != _TIDY:
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


def _claim(
    claimed: str,
    think: str,
    text: str,
    parts: Sequence[str],
    rules: Extraction,
    form: Form,
) -> Answer:
    reason, label, value = form.claim(claimed)
    contradiction = False
    if label is not None and isinstance(form, Vocabulary):
        contradiction = contradicts(think, label, form)
        if contradiction and rules.gate_contradiction:
            reason = Reason.CONTRADICTION
    return Answer(reason, label, think, text, contradiction, parts, value, claimed)


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
    return _claim(found.group(1), text[: found.start()], text, (), rules, form)
