"""What an answer looks like: a form reads the text of one answer as a claim, or says why it cannot.

Every task type has a form (``form_of`` in ``answers``); a ``Vocabulary`` is the form of tasks with
classes. A form is closed: what it does not read entirely is no answer. Nothing is searched for.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from service.rewards.core import Reason, Value

BLANKS: Final = " \t\r\n"
"""The only characters that may stand around an answer inside its tags."""


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


def blank(text: str) -> bool:
    """Whether an answer is empty."""
    return not text.strip(BLANKS)
