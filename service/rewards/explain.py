"""What is wrong with an invalid completion, in words: what was found and what the grammar wants.

For whoever debugs a prompt or a chat template; trainers go by ``reason``. Only invalid answers are
looked at, and a second time at that, so that valid ones cost nothing. A message shows at most
``SHOWN`` characters of the completion, escaped, and says nothing of the truth. Linear in the
completion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from service.rewards.compose import Part
from service.rewards.core import INVALID, Answer, Component, Item, Reason
from service.rewards.extract import prefilled
from service.rewards.forms import MAX_NAME, Claim, Form
from service.rewards.messages import text_of
from service.rewards.molecules.tokens import Token
from service.rewards.names import Names
from service.rewards.probability import Probability
from service.rewards.quantities import Quantity
from service.rewards.rules import Extraction, Method, ends_of
from service.rewards.tags import LOOSE, cut, marks_for, plain
from service.rewards.vocabulary import Vocabulary
from service.rewards.words import count_words

SHOWN: Final = 60
_CLASSES: Final = 8
"""Classes that a message lists."""
_LETTER: Final = re.compile(r"[^\W_]")
_CUT_OFF: Final = "the completion may have been cut off"
_PLACES: Final[Mapping[Method, str]] = {
    "after-think": "all that follows the reasoning",
    "boxed": "in one \\boxed{…}, with nothing but punctuation after it",
    "letter": "one option's letter, alone on the last line",
    "json": "in one JSON object after the reasoning, alone or in a code fence",
    "last-line": "on the last line",
    "pattern": "where the profile's pattern matches, with nothing but punctuation after it",
    "tool": "in the arguments of the one call of the tool",
}
_FOUND: Final[Mapping[Reason, str]] = {
    Reason.NO_ANSWER: "no answer found",
    Reason.SEVERAL_ANSWERS: "more than one answer found, the reasoning included",
    Reason.MALFORMED: "text, a comment, a code fence or a tag stands where none may, or the place "
    "of the answer is not written as it should be",
}


def explain(item: Item, answer: Answer, rules: Extraction, form: Form) -> str:
    """Why an answer is invalid.

    Args:
        item: what was read.
        answer: what ``extract.read`` gave for it; its reason is not OK.
        rules: the profile's.
        form: of the item's task.
    """
    if answer.reason is Reason.CONTRADICTION:
        return f"the reasoning concludes another class than the answer, {quoted(answer.claimed)}"
    if not answer.parts:
        return _unread(item, answer, rules)
    found = _structure(item, answer, rules)
    if found is not None:
        return found
    if rules.answer != "tag" and not answer.claimed.strip():
        wanted = _PLACES[rules.answer]
        if rules.answer in ("json", "tool"):
            wanted += f", under the key {rules.field or 'answer'!r}"
        return f"{_FOUND[answer.reason]}; the answer stands {wanted}"
    return _content(answer.claimed, answer.reason, form)


def quoted(text: str) -> str:
    """The beginning of a text in quotes, on one line, with what nobody sees escaped."""
    shown = repr(" ".join(text[: SHOWN * 4].split()))
    if len(shown) <= SHOWN - 2 and len(text) <= SHOWN * 4:
        return shown
    return f"{shown[: SHOWN - 2].rstrip(shown[0])}…{shown[0]}"


def judged(parts: Sequence[Part], components: Sequence[Component], claimed: str) -> str | None:
    """Why a readable answer was made invalid by a component, as far as its figures tell."""
    pairs = list(zip(parts, components, strict=True))
    for part, component in pairs:
        score = component.score
        if part.role == "gate" and score is not None and score < part.at_least:
            return f"gate {component.name!r}: {score:g}, at_least = {part.at_least:g}"
    for part, component in pairs:
        if part.role != "report" and component.status in INVALID:
            return f"{component.name!r} cannot judge {quoted(claimed)}: {component.status}"
    return None


def _unread(item: Item, answer: Answer, rules: Extraction) -> str:
    """Of a completion that was not cut at its tags: its length, or what no tag has to do with."""
    text = answer.text
    if answer.reason is not Reason.TOO_LONG:
        if text:
            return "a tag of the grammar stands in the reasoning that messages keep apart"
        return "more than 30 combining marks follow each other"
    if text:
        return f"{count_words(text):,} words, at most {rules.max_words:,} (max_words)"
    length = len(text_of(item.completion, ends_of(rules.think_tag)))
    return f"{length:,} characters, at most {rules.max_chars:,} (max_chars)"


def _structure(item: Item, answer: Answer, rules: Extraction) -> str | None:
    """What is wrong with the tags and what stands beside them; None: nothing is."""
    if not answer.text.strip():
        return "the completion is empty"
    if cut(answer.text, rules).reason is not Reason.OK:
        return _variant(answer, rules) or (
            "a section is not closed, holds another tag, or stands in the answer or after it; "
            f"sections are {', '.join(rules.sections)}"
        )
    parts = answer.parts
    tags = [tag.lower() for tag in parts[1::2]]
    opening, closing = ends_of(rules.think_tag)
    if "think" not in tags and prefilled(item, rules):
        return f"the prompt has opened the reasoning, and no {closing} ends it; {_CUT_OFF}"
    found = _answer_tags(tags, rules) if rules.answer == "tag" else None
    found = found or _think_tags(tags, rules)
    if found is not None:
        return found
    for gap, where, allowed in _gaps(parts, rules):
        if gap.strip():
            return f"text {where}: {quoted(gap)}; only blanks may stand there{allowed}"
    think = [parts[2 * at + 2] for at, tag in enumerate(tags) if tag == "think"]
    if rules.think == "required" and not any(map(_LETTER.search, think)):
        return (
            f'no letter and no digit between {opening} and {closing}; think = "optional" allows it'
        )
    return None


def _variant(answer: Answer, rules: Extraction) -> str | None:
    """The first thing that looks like a tag and is written otherwise."""
    loose = LOOSE if plain(rules) else marks_for(rules).loose
    for piece in cut(answer.text, rules).parts[::2]:
        if found := loose.search(piece):
            shown = quoted(piece[found.start() : found.start() + 24])
            blocks = [rules.think_tag, *([rules.tag] if rules.answer == "tag" else [])]
            tags = " ".join(token for block in blocks for token in ends_of(block))
            return f"{shown} looks like a tag and is written otherwise; the tags are {tags}"
    return None


def _answer_tags(tags: Sequence[str], rules: Extraction) -> str | None:
    opening, closing = ends_of(rules.tag)
    count = tags.count("answer")
    if count > 1:
        return f"{count} answer blocks ({opening}); exactly one may stand"
    if count == 0:
        if tags.count("think") > tags.count("/think"):
            return _think_tags(tags, rules)
        if "/answer" in tags:
            return f"{closing} without {opening}"
        return f"no {opening}…{closing}; the answer stands there"
    if "/answer" not in tags:
        return f"{opening} is not closed with {closing}; {_CUT_OFF}"
    if tags[-2:] != ["answer", "/answer"]:
        return f"a tag stands in the answer or after it; {opening}…{closing} comes last"
    return None


def _think_tags(tags: Sequence[str], rules: Extraction) -> str | None:
    opening, closing = ends_of(rules.think_tag)
    opened, closed = tags.count("think"), tags.count("/think")
    if opened > closed:
        return f"{opening} is not closed with {closing}; {_CUT_OFF}"
    if closed > opened == 0:
        return f"no opening {opening}: set prefilled_think, or send the prompt that ends with it"
    if opened == closed == 0:
        if rules.think == "optional":
            return None
        return f'no {opening}…{closing} before the answer; think = "optional" allows it'
    if opened > 1 and rules.grammar == "strict":
        return f"{opened} blocks of reasoning ({opening}); one may stand"
    expected = ["think", "/think"] * opened
    if list(tags[: 2 * opened]) != expected or closed > opened:
        return f"the tags are out of order: {opening}…{closing} comes first, the answer after it"
    return None


def _gaps(parts: Sequence[str], rules: Extraction) -> Iterator[tuple[str, str, str]]:
    """Where only blanks may stand: the text there, where that is, and what allows it."""
    think, after_think = ends_of(rules.think_tag)
    if rules.answer != "tag":
        if len(parts) > 1:
            yield parts[0], f"before {think}", ""
        return
    opening, closing = ends_of(rules.tag)
    if rules.grammar == "strict":
        allowed = ' (grammar = "released" allows it)'
        yield parts[0], f"before {think if len(parts) > 5 else opening}", allowed
        for gap in parts[4:-1:4]:
            yield gap, f"between {after_think} and {opening}", allowed
    elif comment := next((gap for gap in parts[:-1:4] if "<!--" in gap), None):
        yield comment[comment.index("<!--") :], "that is a comment, outside the tags", ""
    yield parts[-1], f"after {closing}", ""


def _content(claimed: str, reason: Reason, form: Form) -> str:
    """Why the text of the answer is none under its form."""
    shown = f"the answer, {quoted(claimed)},"
    if reason is Reason.NO_ANSWER:
        return "the answer is empty"
    if isinstance(form, Names):
        return _names(claimed, form)
    if reason is Reason.TOO_LONG:
        return f"the answer has {len(claimed):,} characters; one of this task is shorter"
    if reason is Reason.SEVERAL_ANSWERS:
        return f"{shown} holds several names; one is asked for"
    if isinstance(form, Vocabulary):
        if form.options:
            return f"{shown} is none of {_listed(map(str.upper, form.options))}, nor one's text"
        return f"{shown} is none of {_listed(form.labels)}"
    if isinstance(form, Probability):
        return f"{shown} is no probability: a decimal from 0 to 1, or per cent with its sign"
    if isinstance(form, Quantity):
        unit = f"in {quoted(form.unit)} or what converts to it" if form.unit else "without a unit"
        return f"{shown} is not exactly one number {unit}"
    if isinstance(form, Token):
        return f"{shown} is not one token: printable ASCII without blanks, quotes or prose"
    return f"{shown} holds a line break, a comment, or characters that no reader sees"


def _names(claimed: str, form: Names) -> str:
    """Which name is none, or what is wrong with all of them."""
    written = form.written(claimed)
    if isinstance(written, Claim):
        return (
            f"the names, {quoted(claimed)}, are written neither as a JSON list of strings, nor on "
            "lines all marked alike, nor with one of | ; , between them"
        )
    count = 0
    for name in written:
        count += 1
        if count > form.most:
            return f"more than {form.most:,} names"
        known = form.name(name)
        if not isinstance(known, Reason):
            continue
        if known is Reason.ANSWER_NOT_IN_VOCABULARY:
            return f"{quoted(name)} is none of {_listed(dict.fromkeys(form.forms.values()))}"
        if known is Reason.TOO_LONG:
            return f"a name of {len(name):,} characters, at most {MAX_NAME}"
        return f"the name {quoted(name)} is empty, or holds characters that no reader sees"
    if form.exactly is not None and count != form.exactly:
        return f"{count:,} names, {form.exactly:,} are asked for"
    return f"a name stands twice among {count:,}"


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    listed = ", ".join(name if len(name) <= 40 else name[:39] + "…" for name in known[:_CLASSES])
    return f"{listed}, … ({len(known):,} in all)" if len(known) > _CLASSES else listed
