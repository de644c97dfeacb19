"""Is the answer, the reasoning or the completion short enough? 1 up to the limit, then less.

Score: 1 for n ≤ limit, else limit/n, for words and for characters; the lesser of both. A word of
more than ``LONGEST`` characters counts as one for each ``LONGEST`` begun, so that 20,000 characters
without a blank are no short text. It judges how a completion is written, so it may be a gate.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from service.rewards.core import Answer, Component, Item, Verdict
from service.rewards.errors import ProfileFault
from service.rewards.library import Library
from service.rewards.verifiers.judge import Judge

LONGEST: Final = 40
"""Characters of one word. Names of chemistry are longer, and are several words by any count."""
Limit = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class BrevityOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``brevity`` component."""

    of: Literal["answer", "think", "completion"] = "answer"
    """What is measured; the completion includes its tags."""
    words: Limit | None = None
    """Most words."""
    chars: Limit | None = None
    """Most characters."""


class BrevityJudge(Judge):
    """How far a text keeps to its limits, in (0, 1]."""

    Options = BrevityOptions
    textual = True

    def __init__(self, name: str, weight: float, options: BrevityOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        if options.words is None and options.chars is None:
            raise ProfileFault("words: set words or chars, the most that a text may have")

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """The lesser of limit/n over words and characters."""
        options = self.options
        text = {"answer": answer.claimed, "think": answer.think, "completion": answer.text}[
            options.of
        ]
        shares = [1.0]
        if options.words is not None:
            shares.append(options.words / max(count_blocks(text), 1))
        if options.chars is not None:
            shares.append(options.chars / max(len(text.strip()), 1))
        return Component(self.name, min(shares), self.weight)


def count_blocks(text: str) -> int:
    """Words parted by blanks, long ones counted for each ``LONGEST`` characters begun."""
    return sum(-(-len(word) // LONGEST) for word in text.split())
