"""Does the reasoning conclude the answer that is given? 0 where it concludes another, else 1.

What counts as a conclusion is in ``service.rewards.contradiction``: English, the last two
sentences, the class named in so many words. 1 hence says "no contradiction found", and reasoning
that concludes nothing passes; as an auxiliary weight it would pay every completion that is silent,
so make it a report, or a gate (``role = "gate"``, ``at_least = 1.0``): then the item is invalid.
``[extract] gate_contradiction`` does the same with a reason of its own (CONTRADICTION).
"""

from __future__ import annotations

import msgspec

from service.rewards.core import Answer, Component, Item, Verdict
from service.rewards.verifiers.judge import Judge


class ContradictionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``contradiction`` component has no keys of its own."""


class ContradictionJudge(Judge):
    """1 unless the reasoning concludes another class than the answer."""

    Options = ContradictionOptions
    textual = True

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """0 for a contradiction, else 1."""
        return Component(self.name, float(not answer.contradiction), self.weight)
