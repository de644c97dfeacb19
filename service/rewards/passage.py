"""A free passage as an answer: the whole text counts, and what it says is for verifiers to judge.

Nothing is closed about it but its ends. What no reader sees, characters that split words for a
matcher and not for the eye and HTML comments, is MALFORMED.
"""

from __future__ import annotations

from typing import Final

from service.rewards.core import Reason
from service.rewards.forms import BLANKS, Claim, blank, deceptive

SHOWN: Final = 200
"""Characters of the passage that results show as the answer."""


class Passage:
    """Any text; ``value`` is the text without the blanks around it, ``label`` its beginning."""

    def claim(self, text: str) -> Claim:
        """The text itself."""
        if blank(text):
            return Claim(Reason.NO_ANSWER)
        if deceptive(text) or "<!--" in text:
            return Claim(Reason.MALFORMED)
        passage = text.strip(BLANKS)
        shown = " ".join(passage[: SHOWN * 5].split())
        label = shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"
        return Claim(Reason.OK, label, passage)


PASSAGE: Final = Passage()
