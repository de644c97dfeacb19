"""What an answer looks like: a form reads the text of one answer as a claim, or says why it cannot.

Every task type has a form (``form_of`` in ``answers``); a ``Vocabulary`` is the form of tasks with
classes. A form is closed: what it does not read entirely is no answer. Nothing is searched for.

Truths are read by the form of their item as well, so that both sides are normalised alike.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple, Protocol

from service.rewards.core import Reason, Value

BLANKS: Final = " \t\r\n"
"""The only characters that may stand around an answer inside its tags."""
MAX_NAME: Final = 200
"""Characters of one name."""
_HIDDEN: Final = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\uffff\U000e0000-\U000e0fff]"
)
"""Characters that no reader sees: controls, zero-width ones, direction marks, lone surrogates."""
_LOOKALIKE: Final = "\u0400-\u052f\u0531-\u058f\u13a0-\u13ff\uff00-\uff5e\U0001d400-\U0001d7ff"
_MIXED: Final = re.compile(f"[A-Za-z][{_LOOKALIKE}]|[{_LOOKALIKE}][A-Za-z]")
"""Letters of scripts that pass for Latin ones, beside Latin ones in a word. Greek is not among
them: biology writes IFNγ."""
_TYPOGRAPHY: Final = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-")
    | dict.fromkeys("\u2018\u2019\u02bc", "'")
    | dict.fromkeys("\u00a0\u2007\u2009\u202f", " ")
)


class Claim(NamedTuple):
    """What an answer says, by its form."""

    reason: Reason
    label: str | None = None
    """Canonical text, for results and comparisons; None unless ``reason`` is OK."""
    value: Value = None
    """A number, names in order, a longer text; None where the label says it all."""


class Form(Protocol):
    """How the answers of one task are read. Stateless; never raises for any text."""

    def claim(self, text: str) -> Claim:
        """What the answer says; the text is in NFC and no longer than the profile allows."""
        ...


class FormFault(ValueError):
    """A task's fields make no form; the message names the field."""


def normal(text: str) -> str:
    """An answer without surrounding blanks, letter case and one final period."""
    return text.strip(BLANKS).lower().removesuffix(".")


def normal_name(text: str) -> str:
    """A name without letter case, final period, typography and runs of blanks.

    Hyphens, apostrophes and spaces of print become those of a keyboard: they are set by editors,
    not meant ("non‑small cell").
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text[: MAX_NAME * 5]).translate(_TYPOGRAPHY)
    return " ".join(normal(text).split())


def unemphasised(text: str) -> str:
    """An answer without the asterisks of Markdown around the whole of it: ``**yes**``.

    They stand at both ends and nowhere else, so that they can hide no second answer.
    """
    inside = text.strip(BLANKS)
    if inside[:2] == "**" == inside[-2:] and "*" not in (inside := inside[2:-2]):
        return inside
    return text


def blank(text: str) -> bool:
    """Whether an answer is empty."""
    return not text.strip(BLANKS)


def deceptive(text: str) -> bool:
    """Whether a text holds what readers do not see or take for something else.

    Invisible characters, and words that mix Latin letters with ones that only look Latin.
    """
    if text.isascii() and text.isprintable():
        return False
    return _HIDDEN.search(text) is not None or _MIXED.search(text) is not None
